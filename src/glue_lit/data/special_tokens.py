"""Special tokens in templates: ``{sep}``, and tokens of other tokenizers, which a model would read as letters."""

import re
from dataclasses import replace
from typing import Any

from glue_lit.data.tokenizers import load_tokenizer
from glue_lit.errors import UsageError
from glue_lit.tasks.custom import CustomTask

# How tokenizers write their special tokens: [SEP], </s>, <mask>, <|endoftext|>.
_SPECIAL = re.compile(
    r"\[(?:SEP|CLS|MASK|PAD|UNK|BOS|EOS)\]|</?s>|<(?:sep|cls|mask|pad|unk|bos|eos|eod|eop)>|<\|[\w ]{1,40}\|>",
    re.IGNORECASE,
)


def fit_to_tokenizer(custom: CustomTask, name: str, revision: str, trust_remote_code: bool) -> CustomTask:
    """Complete ``sep_token`` from a model's tokenizer, and check the fixed text of templates against it.

    The tokenizer is loaded only if there is such text.

    Raises:
        UsageError: The tokenizer has no separator, or another one than a template writes.
        ModelError: The tokenizer cannot be loaded.
    """
    if not custom.inputs.fixed.strip():
        return custom
    tokenizer = load_tokenizer(name, revision, trust_remote_code)
    if custom.sep_token is None and custom.inputs.uses_sep:
        if tokenizer.sep_token is None:
            raise UsageError(
                f"data.custom.text: {{sep}} is the tokenizer's separator, and that of {name} has none. Write the "
                "separator as text, or say which token it is, as in `--data.custom.sep_token '</s>'`."
            )
        custom = replace(custom, sep_token=str(tokenizer.sep_token))
    check_fixed_text(custom, tokenizer)
    return custom


def check_fixed_text(custom: CustomTask, tokenizer: Any) -> None:
    """Refuse text of templates that looks like a special token and is none of the tokenizer's.

    Raises:
        UsageError: There is such text.
    """
    if not custom.text_columns:
        return
    found = dict.fromkeys(match[0] for match in _SPECIAL.finditer(custom.inputs.fixed))
    own = {str(token) for token in (*tokenizer.all_special_tokens, *tokenizer.get_added_vocab())}
    for token in found:
        if token not in own:
            key = "sep_token" if token == custom.sep_token else "text"
            sep = tokenizer.sep_token
            advice = "Its tokenizer has no separator" if sep is None else f"{{sep}} stands for its separator, {sep!r}"
            advice += ", if data.custom.sep_token is null" if key == "sep_token" and sep is not None else ""
            raise UsageError(
                f"data.custom.{key}: got {token!r}, which is no special token of this model: it would be read letter "
                f"by letter. {advice}. Its special tokens are: "
                f"{', '.join(sorted(map(str, tokenizer.all_special_tokens)))}."
            )
