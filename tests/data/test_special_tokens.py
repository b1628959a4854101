"""`{sep}` and special tokens in templates, with tokenizers that write them differently."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from glue_lit.data.special_tokens import check_fixed_text, fit_to_tokenizer
from glue_lit.errors import UsageError
from glue_lit.tasks.custom import CustomTask

Make = Callable[..., str]


@pytest.fixture
def tokenizer(tmp_path: Path) -> Make:
    """Writes a tokenizer with some special tokens, and returns its folder."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    def make(**special: str) -> str:
        words = ["<unk>", "word", *special.values()]
        backend = Tokenizer(WordLevel({word: at for at, word in enumerate(words)}, unk_token="<unk>"))
        PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", **special).save_pretrained(tmp_path)
        (tmp_path / "config.json").write_text('{"model_type": "bert"}')
        return str(tmp_path)

    return make


def fitted(custom: CustomTask, folder: str) -> CustomTask:
    return fit_to_tokenizer(custom, folder, "main", False)


def test_sep_is_the_separator_of_the_tokenizer(tokenizer: Make) -> None:
    roberta = tokenizer(sep_token="</s>", pad_token="<pad>")
    custom = fitted(CustomTask(text="{a} {sep} {b}"), roberta)
    assert custom.sep_token == "</s>"
    assert custom.inputs.fixed.strip() == "</s>"
    joined = fitted(CustomTask(text=["a", "b"], text_separator=" {sep} "), roberta)
    assert joined.inputs.separator == " </s> "
    assert fitted(CustomTask(text="a"), "no folder") == CustomTask(text="a")  # needs no tokenizer


@pytest.mark.parametrize(
    ("settings", "special", "words"),
    [
        ({"text": "{a} [SEP] {b}"}, {"sep_token": "</s>"}, "data.custom.text: got '[SEP]', which is no special token"),
        ({"text": "{a} [SEP] {b}"}, {"sep_token": "</s>"}, "{sep} stands for its separator, '</s>'"),
        ({"text": "{a} </s> {b}"}, {"sep_token": "[SEP]"}, "got '</s>', which is no special token"),
        ({"text": ["a", "b"], "text_separator": "[sep]"}, {"sep_token": "[SEP]"}, "got '[sep]'"),
        ({"text": "{a} {sep} {b}"}, {"eos_token": "<|end|>"}, "and that of {folder} has none. Write the separator"),
        ({"text": "{a} {sep} {b}", "sep_token": "[SEP]"}, {"sep_token": "</s>"}, "data.custom.sep_token: got '[SEP]'"),
        (
            {"text": "{a} {sep}", "sep_token": "[SEP]"},
            {"sep_token": "</s>"},
            "'</s>', if data.custom.sep_token is null",
        ),
        ({"text": "{a} <|end|> {b}"}, {"pad_token": "<pad>"}, "Its tokenizer has no separator"),
    ],
)
def test_a_token_of_another_tokenizer_is_refused(
    tokenizer: Make, settings: dict[str, Any], special: dict[str, str], words: str
) -> None:
    folder = tokenizer(**special)
    with pytest.raises(UsageError) as caught:
        fitted(CustomTask(**settings), folder)
    assert words.replace("{folder}", folder) in str(caught.value)


def test_the_own_tokens_may_be_written_out_and_sep_may_be_chosen(tokenizer: Make) -> None:
    folder = tokenizer(sep_token="[SEP]", mask_token="[MASK]", eos_token="<|end|>")
    assert fitted(CustomTask(text="{a} [SEP] It is [MASK]. {b}"), folder).sep_token is None
    chosen = fitted(CustomTask(text="{a} {sep} {b}", sep_token="<|end|>"), folder)
    assert chosen.inputs.fixed.strip() == "<|end|>"
    check_fixed_text(CustomTask(text="{a} [see below] <b>{b}</b>"), PreTrainedTokenizerFast.from_pretrained(folder))
