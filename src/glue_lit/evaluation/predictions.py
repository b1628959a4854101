"""Read the files in a run's ``predictions/`` as arrays."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from glue_lit.data.rows import Places
from glue_lit.errors import DataError, did_you_mean
from glue_lit.system.untrusted_text import parse_json_object, read_lines
from glue_lit.tasks.glue import TaskSpec
from glue_lit.tasks.metrics import Kind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Values = Ints | Floats  # classes, or scores
_REMEDY = "Delete the file; `glue-lit report` then predicts again."


@dataclass(frozen=True)
class Predictions:
    """Labelled rows in the order of the data, and what was predicted for each."""

    idx: Ints  # positions in the split, ``(rows,)``
    gold: Values  # ``(rows,)``; of a multi-label task 0 or 1 for each label, int8 ``(rows, labels)``
    values: Values  # predicted classes, scores or labels, of the same shape
    probabilities: Floats | None  # ``(rows, labels)``; `None` for regression, or if the file has none
    unlabelled: int = 0  # number of rows left out because they have no gold label
    places: Places | None = None  # positions in the data's file, if known
    thresholds: Floats | None = None  # probability from which on each label of a multi-label task is predicted

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """Whether all labels of each row are predicted as they are, ``(rows,)``."""
        right: NDArray[np.bool_] = (self.values == self.gold).reshape(len(self), -1).all(axis=1)
        return right

    def __len__(self) -> int:
        return len(self.idx)


class _Row(NamedTuple):
    idx: int
    gold: Any  # a class or score, or the set of gold labels; `None` if unknown
    value: Any
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
    return Predictions(
        np.array(idx, dtype=np.int64),
        _as_array(gold, task),
        _as_array(values, task),
        None if probabilities[0] is None else np.array(probabilities, dtype=np.float64),
        len(rows) - len(labelled),
        places,
        _thresholds(record, task),
    )


def _thresholds(record: Mapping[str, Any], task: TaskSpec) -> Floats | None:
    """Those that the record names, else the task's."""
    if not task.is_multi_label:
        return None
    found = record.get("thresholds")
    is_whole = isinstance(found, list) and len(found) == len(task.labels)
    if found is not None and not (is_whole and all(isinstance(value, float) and 0 < value < 1 for value in found)):
        raise DataError(f"The record of the predictions has thresholds that are not numbers between 0 and 1. {_REMEDY}")
    return np.array(found or [task.threshold] * len(task.labels), dtype=np.float64)


def _as_array(values: Sequence[Any], task: TaskSpec) -> Any:
    if not task.is_multi_label:
        return np.array(values, dtype=np.float64 if task.is_regression else np.int64)
    found = np.zeros((len(values), len(task.labels)), dtype=np.int8)
    for row, labels in zip(found, values, strict=True):
        row[list(labels)] = 1
    return found


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
    read, key = _READERS[task.kind]
    of_gold = _class if task.levels else read
    gold = None if values.get("gold") is None else of_gold(values["gold"], "gold", task)
    probabilities = None if task.is_regression else _probabilities(values.get("probabilities"), task)
    return _Row(idx, gold, read(values.get(key), key, task), probabilities, number, name)


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _position(value: Any, key: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 62:
        raise ValueError(f"{key} is {_shortened(value)}, not a row number.")
    return value


def _number(value: Any, key: str, task: TaskSpec) -> float:
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(number := float(value)):
            return number
    except OverflowError:  # JSON integers can have any number of digits
        pass
    raise ValueError(f"{key} is {_shortened(value)}, not a number.")


def _class(value: Any, key: str, task: TaskSpec) -> int:
    labels = task.levels or task.labels
    if isinstance(value, str) and value in labels:
        return labels.index(value)
    hint = did_you_mean(value, labels) if isinstance(value, str) else ""
    raise ValueError(
        f"{key} is {value!r}, not a label of task {task.name}.{hint} Its labels are: {', '.join(labels[:20])}."
    )


def _classes(value: Any, key: str, task: TaskSpec) -> set[int]:
    if not isinstance(value, list):
        raise ValueError(f"{key} is {_shortened(value)}, not a list of labels.")
    return {_class(label, key, task) for label in value}


_READERS: dict[Kind, tuple[Callable[[Any, str, TaskSpec], Any], str]] = {
    "classification": (_class, "label"), "multi_label": (_classes, "labels"), "regression": (_number, "score"),
}  # fmt: skip


def _probabilities(values: Any, task: TaskSpec) -> list[float] | None:
    if values is None:
        return None
    if not isinstance(values, dict) or set(values) != set(task.labels):
        raise ValueError(f"probabilities need one number for each of {', '.join(task.labels[:20])}.")
    row = [_number(values[label], label, task) for label in task.labels]
    if task.is_multi_label:
        if not 0 <= min(row) <= max(row) <= 1:
            raise ValueError("the probabilities must be from 0 to 1.")
        return row
    if min(row) < 0 or abs(sum(row) - 1) > 1e-3:
        raise ValueError("the probabilities must be 0 or more and sum to 1.")
    return row
