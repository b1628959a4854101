"""Read what a model card quotes of a run's ``metrics.json``, which may have been edited by hand."""

from collections.abc import Mapping
from typing import Any

from glue_lit.errors import RunError
from glue_lit.runs.reading import read_record
from glue_lit.runs.run import Run

# The type of each value that a card uses: a mapping names its keys, and its only key `*` stands for every key.
_OPTIONAL_TEXT = (str, type(None))
_OPTIONAL_MAPPING = (dict, type(None))
_CARD: Mapping[str, Any] = {
    "model": _OPTIONAL_TEXT,
    "model_commit": _OPTIONAL_TEXT,
    "metrics": {"*": (int, float, type(None))},
    "data": {"splits": {"*": {"origin": str, "rows": int, "commit": _OPTIONAL_TEXT}}},
    "versions": {"*": str},
    "device": _OPTIONAL_MAPPING,
    "recipe": _OPTIONAL_MAPPING,
    "config": _OPTIONAL_MAPPING,
}
_REQUIRED = {"origin", "rows"}


def read_card_record(run: Run) -> dict[str, Any]:
    """Read ``metrics.json``; empty before the run has finished.

    Raises:
        RunError: It is damaged, or a value that a card uses has another type.
    """
    record = read_record(run)
    if wrong := _wrong_key(record, _CARD):
        raise RunError(f"damaged {run.metrics.name} ({wrong} is missing or has a wrong type)")
    return record


def _wrong_key(value: Any, shape: Any, key: str = "") -> str:
    """The first key, as in ``data.splits``, whose value is not of its type; empty if there is none."""
    if not isinstance(shape, Mapping):
        return "" if isinstance(value, shape) and not isinstance(value, bool) else key
    if not isinstance(value, Mapping):
        return key
    inner = dict.fromkeys(value, shape["*"]) if "*" in shape else shape
    given = (name for name in inner if name in value or name in _REQUIRED)
    found = (_wrong_key(value.get(name), inner[name], f"{key}.{name}".lstrip(".")) for name in given)
    return next(filter(None, found), "")
