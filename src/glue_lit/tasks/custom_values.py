"""The values that each setting of a user's own task allows."""

from collections.abc import Callable
from typing import Any, get_args

from glue_lit.tasks.metrics import Kind


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_list(value: Any, *types: type) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, types) for item in value)


def _is_columns(value: Any) -> bool:
    return _is_list(value, str) and bool(value)


def _are_labels(value: Any) -> bool:
    return _is_list(value, str, int, float)


# The values that each key allows: in words, and as a check. A key whose default is null also allows null.
ALLOWED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "text": ("a column, a quoted template, or a list of them", lambda value: _is_text(value) or _is_list(value, str)),
    "label": ("a column, or a list of columns for multi_label", lambda value: _is_text(value) or _is_columns(value)),
    "kind": ("classification, multi_label, ordinal, regression", lambda value: value in get_args(Kind)),
    "labels": ("a list of texts", _are_labels),
    "label_names": ("a list of texts", _are_labels),
    "positive": ("one of two labels", _is_text),
    "metrics": ("a list of names, as `glue-lit metrics` lists them", lambda value: _is_list(value, str, dict)),
    "class_weights": (
        "balanced, or a list of numbers", lambda value: value == "balanced" or _is_list(value, int, float)
    ),
    "decimal_comma": ("true, false", lambda value: isinstance(value, bool)),
    "validation_file": ("a file", _is_text),
    "test_file": ("a file", _is_text),
    "validation_fraction": ("a number", _is_number),
    "split_seed": ("a whole number from 0 up", lambda value: type(value) is int and value >= 0),
    "id": ("a column", _is_text),
    "text_separator": ("a text", _is_text),
    "sep_token": ("a text", _is_text),
    "label_separator": ("one character", lambda value: _is_text(value) and len(value) == 1 and not value.isalnum()),
    "thresholds": (
        "tuned, or a number above 0 and below 1",
        lambda value: value == "tuned" or (isinstance(value, float) and 0 < value < 1),
    ),
}  # fmt: skip
