"""Read the files in a run's ``predictions/`` as arrays."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from glue_lit.data.rows import Places
from glue_lit.errors import DataError, did_you_mean
from glue_lit.system.untrusted_text import parse_json_object, read_lines
from glue_lit.tasks.glue import TaskSpec

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Values = Ints | Floats  # classes, or scores
_REMEDY = "Delete the file; `glue-lit report` then predicts again."


@dataclass(frozen=True)
class Predictions:
    """Labelled rows in the order of the data, and what was predicted for each."""

    idx: Ints  # positions in the split, ``(rows,)``
    gold: Values  # ``(rows,)``
    values: Values  # predicted classes or scores, ``(rows,)``
    probabilities: Floats | None  # ``(rows, labels)``; `None` for regression, or if the file has none
    unlabelled: int = 0  # number of rows left out because they have no gold label
    places: Places | None = None  # positions in the data's file, if known

    def __len__(self) -> int:
        return len(self.idx)


class _Row(NamedTuple):
    idx: int
    gold: float | None
    value: float
    probabilities: list[float] | None
    number: int
    id: str


def read_predictions(path: Path, task: TaskSpec, record: Mapping[str, Any] | None = None) -> Predictions:
    """Read a file of predictions.

    Args:
        path: The file.
        task: The task of the predictions.
        record: The file's record, which says whether its row numbers count lines or rows.

    Raises:
        DataError: A line is not a prediction for ``task``, or no row has a gold label.
    """
    rows = list(_rows(path, task))
    labelled = sorted((row for row in rows if row.gold is not None), key=lambda row: row.idx)
    if not labelled:
        what = f"none of its {len(rows):,} rows has a gold label, which a report needs" if rows else "the file is empty"
        splits = ", ".join(task.validation_splits)
        advice = f"Choose one of {splits} with `--split SPLIT`" if splits else "Add labels to the data"
        raise DataError(f"{path}: {what}. {advice}.")
    idx, gold, values, probabilities, numbers, ids = zip(*labelled, strict=True)
    if len({row is None for row in probabilities}) > 1:
        raise DataError(f"{path}: some rows have probabilities and others have none. {_REMEDY}")
    record, places = record or {}, None
    if 0 not in numbers:
        unit = "line" if record.get("unit") == "line" else "row"
        places = Places(str(record.get("file") or ""), unit, list(numbers), list(ids) if any(ids) else None)
    dtype: Any = np.float64 if task.is_regression else np.int64
    return Predictions(
        np.array(idx, dtype=np.int64),
        np.array(gold, dtype=dtype),
        np.array(values, dtype=dtype),
        None if probabilities[0] is None else np.array(probabilities, dtype=np.float64),
        len(rows) - len(labelled),
        places,
    )


def _rows(path: Path, task: TaskSpec) -> Iterator[_Row]:
    lines: dict[int, int] = {}
    for number, text in read_lines(path):
        if not text.strip():
            continue
        line = f"{path}, line {number}"
        values = parse_json_object(text, line)
        try:
            row = _row(values, task)
            if row.idx in lines:
                raise ValueError(f"idx {row.idx} is already on line {lines[row.idx]}.")
        except ValueError as error:
            raise DataError(f"{line}: {error} {_REMEDY}") from None
        lines[row.idx] = number
        yield row


def _row(values: Mapping[str, Any], task: TaskSpec) -> _Row:
    idx = _position(values.get("idx"), "idx")
    number = _position(values.get("row", 0), "row")  # older versions and other programs write neither row nor id
    if not isinstance(name := values.get("id", ""), str):
        raise ValueError(f"id is {_shortened(name)}, not a text.")
    read: Any = _number if task.is_regression else lambda value, key: _class(value, key, task)
    gold = None if values.get("gold") is None else read(values["gold"], "gold")
    key = "score" if task.is_regression else "label"
    probabilities = None if task.is_regression else _probabilities(values.get("probabilities"), task)
    return _Row(idx, gold, read(values.get(key), key), probabilities, number, name)


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _position(value: Any, key: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 62:
        raise ValueError(f"{key} is {_shortened(value)}, not a row number.")
    return value


def _number(value: Any, key: str) -> float:
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(number := float(value)):
            return number
    except OverflowError:  # JSON integers can have any number of digits
        pass
    raise ValueError(f"{key} is {_shortened(value)}, not a number.")


def _class(value: Any, key: str, task: TaskSpec) -> int:
    if isinstance(value, str) and value in task.labels:
        return task.labels.index(value)
    hint = did_you_mean(value, task.labels) if isinstance(value, str) else ""
    raise ValueError(
        f"{key} is {value!r}, not a label of task {task.name}.{hint} Its labels are: {', '.join(task.labels[:20])}."
    )


def _probabilities(values: Any, task: TaskSpec) -> list[float] | None:
    if values is None:
        return None
    if not isinstance(values, dict) or set(values) != set(task.labels):
        raise ValueError(f"probabilities need one number for each of {', '.join(task.labels[:20])}.")
    row = [_number(values[label], label) for label in task.labels]
    if min(row) < 0 or abs(sum(row) - 1) > 1e-3:
        raise ValueError("the probabilities must be 0 or more and sum to 1.")
    return row
