"""The settings of windows (``data.windows``), and what they exclude."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from glue_lit.errors import ModelError, UsageError, did_you_mean

Pooling = Literal["mean", "max"]
_SHORTEST = 4  # tokens of a window, as of data.max_length
_SAMPLE = "one two three"


@dataclass(frozen=True)
class Windows:
    """Windows of long documents, each of which is trained with its document's label; a document is scored once.

    Args:
        length: Tokens of a window, special tokens included; null for data.max_length, or the most that the model takes.
        stride: Tokens that a window shares with the one before it, as in the tokenizers of transformers (not the step
            from one window to the next).
        pooling: How the logits of a document are made of those of its windows: their mean, or for each label their
            max.
        train_windows: Train on at most this many windows of a document, spread evenly over it, so that long documents
            do not outweigh short ones; null for all. Documents are always scored by all their windows.
    """

    length: int | None = None
    stride: int = 128
    pooling: Pooling = "mean"
    train_windows: int | None = None


def parse_windows(values: Mapping[str, Any] | Windows | None) -> Windows | None:
    """Build the settings from plain values; ``None`` for no windows.

    Raises:
        UsageError: A key does not exist, or a value is not allowed.
    """
    if values is None:
        return None
    if not isinstance(values, Windows):
        names = [field.name for field in fields(Windows)]
        if not isinstance(values, Mapping):
            raise UsageError(f"data.windows: got {values!r}, allowed: keys of {', '.join(names)}, each with a value.")
        if wrong := [str(key) for key in values if key not in names]:
            raise UsageError(
                f"data.windows: there is no {wrong[0]!r}.{did_you_mean(wrong[0], names)} Allowed: {', '.join(names)}."
            )
        values = Windows(**values)
    _check_count("length", values.length, _SHORTEST)
    _check_count("train_windows", values.train_windows, 1)
    if values.pooling not in get_args(Pooling):
        raise UsageError(f"data.windows.pooling: got {values.pooling!r}, allowed: {', '.join(get_args(Pooling))}.")
    if type(values.stride) is not int or values.stride < 0:
        raise UsageError(f"data.windows.stride: got {values.stride!r}, allowed: a whole number of tokens from 0 up.")
    if values.length is not None:
        _check_stride(values.stride, values.length)
    return values


def plain_windows(values: Mapping[str, Any] | Windows | None) -> dict[str, Any] | None:
    """The settings as plain values, for checkpoints; ``None`` for no windows.

    Raises:
        UsageError: As `parse_windows`.
    """
    windows = parse_windows(values)
    return None if windows is None else asdict(windows)


def _check_count(name: str, value: Any, least: int) -> None:
    if value is not None and (type(value) is not int or value < least):
        raise UsageError(f"data.windows.{name}: got {value!r}, allowed: a whole number from {least} up, or null.")


def _check_stride(stride: int, length: int, special: int = 0) -> None:
    """Refuse a stride that leaves no new token to a window."""
    if stride >= length - special:
        beside = f", of which {special} are special" if special else ""
        raise UsageError(
            f"data.windows.stride: got {stride}, allowed: below {length - special}. It is the number of tokens that "
            f"neighbouring windows share, and a window has {length} tokens{beside}."
        )


def check_windows(values: Mapping[str, Any], columns: tuple[str, ...]) -> None:
    """Refuse windows beside settings of the data that they exclude.

    Args:
        values: The settings of a `GLUEDataModule`.
        columns: Text columns of its task.

    Raises:
        UsageError: They do not go together.
    """
    windows = parse_windows(values.get("windows"))
    if windows is None:
        return
    if len(columns) != 1:
        raise UsageError(
            f"data.windows: an example has the texts {' and '.join(columns)}, and windows are made of one text. Leave "
            "data.windows out, and the longer text is cut (data.max_length); or join columns of your own data into one "
            "text, as with `--data.custom.text_separator ' '`."
        )
    if values.get("truncation") == "head_tail":
        raise UsageError(
            "data.truncation: got head_tail, but data.windows cuts no text. Give one of them: windows read all of a "
            "document, head_tail costs less."
        )
    if windows.length is not None and values.get("max_length") is not None:
        raise UsageError(
            f"data.max_length: got {values['max_length']}, and data.windows.length {windows.length} says how long an "
            "input is. Give one of them."
        )


def window_length(windows: Windows | None, longest: int, tokenizer: Any) -> int:
    """Tokens of a window; the longest input without windows.

    Args:
        windows: The settings.
        longest: Longest input in tokens.
        tokenizer: Adds special tokens to each window.

    Raises:
        UsageError: The model takes no windows of the requested length, or the stride leaves no new token to a window.
        ModelError: The tokenizer does not put special tokens around a text.
    """
    if windows is None:
        return longest
    if windows.length is not None and windows.length > longest:
        raise UsageError(
            f"data.windows.length: got {windows.length:,}, allowed: {_SHORTEST} to {longest:,}, the most that this "
            "model takes. Shorten the windows, or take a model for longer texts."
        )
    length = longest if windows.length is None else windows.length
    _check_stride(windows.stride, length, sum(special_ends(tokenizer)))
    return length


def window_ends(windows: Windows | None, tokenizer: Any) -> tuple[int, int]:
    """Special tokens before and after each window; none without windows. Raises as `special_ends`."""
    return (0, 0) if windows is None else special_ends(tokenizer)


def special_ends(tokenizer: Any) -> tuple[int, int]:
    """How many special tokens a tokenizer puts before and after a text.

    It calls the tokenizer, which must not tokenise in another thread at that time.

    Raises:
        ModelError: It does not put a text's tokens between them.
    """
    whole = tokenizer(_SAMPLE)["input_ids"]
    text = tokenizer(_SAMPLE, add_special_tokens=False)["input_ids"]
    for first in range(len(whole) - len(text) + 1):
        if text and whole[first : first + len(text)] == text:
            return first, len(whole) - len(text) - first
    raise ModelError(
        "data.windows: the tokenizer of this model changes a text's tokens when it adds special tokens, so a document "
        "cannot be taken apart. Leave data.windows out, or take another model."
    )
