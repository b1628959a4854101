"""What a run predicted: a file of ``predictions/`` as arrays."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glue_lit.data.rows import Places
from glue_lit.errors import DataError, did_you_mean
from glue_lit.system.untrusted_text import parse_json_object, read_lines
from glue_lit.tasks.glue import TaskSpec

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Values = Ints | Floats  # classes, or scores
Line = tuple[int, int | float | None, int | float, list[float] | None, int, str]


@dataclass(frozen=True)
class Predicted:
    """Labelled rows in the order of the data, and what was predicted for each.

    Attributes:
        idx: Positions in the split, ``(rows,)``.
        gold: Classes or scores, ``(rows,)``.
        values: The same, predicted.
        probabilities: ``(rows, labels)``; nothing for regression, or where the file has none.
        unlabelled: Rows of the file that are left out, since they have no gold label.
        places: Where the rows stand in the file that they are from; ``None`` where that is not known.
    """

    idx: Ints
    gold: Values
    values: Values
    probabilities: Floats | None
    unlabelled: int = 0
    places: Places | None = None

    def __len__(self) -> int:
        return len(self.idx)


def read_predicted(path: Path, task: TaskSpec, record: Mapping[str, Any] | None = None) -> Predicted:
    """Read a file of predictions.

    Args:
        path: The file.
        task: What was predicted.
        record: What lies beside it: which file ``row`` counts lines or rows of.

    Raises:
        DataError: A line is no prediction for ``task`` (naming it), or no row has a gold label.
    """
    places: dict[int, int] = {}
    lines: list[Line] = []
    for number, text in read_lines(path):
        if not text.strip():
            continue
        place = f"{path}, line {number}"
        line = _line(parse_json_object(text, place), task, place)
        if line[0] in places:
            raise DataError(f"{place}: idx {line[0]} is that of line {places[line[0]]}, too.{_ANEW}")
        places[line[0]] = number
        lines.append(line)
    labelled = sorted((line for line in lines if line[1] is not None), key=lambda line: line[0])
    if not labelled:
        what = "the file is empty"
        if lines:
            what = f"none of its {len(lines):,} rows has a gold label, and a report compares with those"
        labelled_splits = ", ".join(task.validation_splits)
        advice = f"Choose one of {labelled_splits} with `--split SPLIT`" if labelled_splits else "Add them to the data"
        raise DataError(f"{path}: {what}. {advice}.")
    idx, gold, values, rows, numbers, ids = zip(*labelled, strict=True)
    known = [row for row in rows if row is not None]
    if known and len(known) < len(rows):
        raise DataError(f"{path}: some rows have probabilities and others have none.{_ANEW}")
    return Predicted(
        np.array(idx, dtype=np.int64),
        _values(gold, task),
        _values(values, task),
        np.array(known, dtype=np.float64) if known else None,
        len(lines) - len(labelled),
        None if 0 in numbers else _places(numbers, ids, record or {}),
    )


def _places(numbers: Sequence[int], ids: Sequence[str], record: Mapping[str, Any]) -> Places:
    unit = "line" if record.get("unit") == "line" else "row"
    return Places(str(record.get("file") or ""), unit, list(numbers), list(ids) if any(ids) else None)


_ANEW = " Delete the file, and it is made anew."
_MOST_ROWS = 1 << 62


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _values(values: Sequence[Any], task: TaskSpec) -> Values:
    return np.array(values, dtype=np.float64) if task.is_regression else np.array(values, dtype=np.int64)


def _line(values: Mapping[str, Any], task: TaskSpec, place: str) -> Line:
    idx = values.get("idx")
    if not isinstance(idx, int) or isinstance(idx, bool) or not 0 <= idx < _MOST_ROWS:
        raise DataError(f"{place}: idx is {_shown(idx)}, not the number of a row.{_ANEW}")
    number, name = values.get("row", 0), values.get("id", "")  # of older versions, and of others, a file has neither
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < _MOST_ROWS:
        raise DataError(f"{place}: row is {_shown(number)}, not the number of a row.{_ANEW}")
    if not isinstance(name, str):
        raise DataError(f"{place}: id is {_shown(name)}, not a text.{_ANEW}")
    if task.is_regression:
        gold = None if values.get("gold") is None else _number(values, "gold", place)
        return idx, gold, _number(values, "score", place), None, number, name
    gold = None if values.get("gold") is None else _class(values, "gold", task, place)
    label = _class(values, "label", task, place)
    return idx, gold, label, _probabilities(values, task, place), number, name


def _number(values: Mapping[str, Any], key: str, place: str) -> float:
    value = values.get(key)
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(number := float(value)):
            return number
    except OverflowError:  # JSON's integers have any number of digits
        pass
    raise DataError(f"{place}: {key} is {_shown(value)}, not a number.{_ANEW}")


def _class(values: Mapping[str, Any], key: str, task: TaskSpec, place: str) -> int:
    value = values.get(key)
    if not isinstance(value, str) or value not in task.labels:
        hint = did_you_mean(value, task.labels) if isinstance(value, str) else ""
        raise DataError(
            f"{place}: {key} is {value!r}, no label of task {task.name}.{hint} "
            f"Its labels are: {', '.join(task.labels[:20])}.{_ANEW}"
        )
    return task.labels.index(value)


def _probabilities(values: Mapping[str, Any], task: TaskSpec, place: str) -> list[float] | None:
    found = values.get("probabilities")
    if found is None:
        return None
    if not isinstance(found, dict) or set(found) != set(task.labels):
        raise DataError(f"{place}: probabilities need one number for each of {', '.join(task.labels[:20])}.{_ANEW}")
    row = [_number(found, label, place) for label in task.labels]
    if min(row) < 0 or abs(sum(row) - 1) > 1e-3:
        raise DataError(f"{place}: the probabilities are not 0 or more with a sum of 1.{_ANEW}")
    return row
