"""The texts behind predictions, from where the run's data come from; a report can be had without them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from glue_lit.data.rows import Rows, Split
from glue_lit.data.sources import open_split
from glue_lit.errors import DataError
from glue_lit.evaluation.predictions import Predictions
from glue_lit.tasks.custom import CustomTask
from glue_lit.tasks.glue import TaskSpec


@dataclass(frozen=True)
class Texts:
    """Texts and other columns of the rows that were predicted.

    Attributes:
        texts: One or two for each row, in the order of the predictions; nothing where they cannot be had.
        columns: Columns that put rows into groups, by name.
        problem: Why there are no texts.
    """

    texts: list[tuple[str, ...]] = field(default_factory=list)
    columns: dict[str, list[str]] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True)
class Place:
    """Where rows are.

    Attributes:
        task: The task.
        custom: Its settings, if it is the user's own.
        source: ``data.source``.
        split: The split.
    """

    task: TaskSpec
    custom: CustomTask
    source: str
    split: str


def read_texts(
    place: Place, predicted: Predictions, record: Mapping[str, Any] | None, wanted: Sequence[str] = ()
) -> Texts:
    """Read the texts of the rows that were predicted.

    Args:
        place: Where they are.
        predicted: The predictions, with which the rows' labels have to agree.
        record: What is known of the predictions, with the hash of their rows.
        wanted: Columns to group by besides the task's own.

    Raises:
        DataError: The data have no such column as is wanted.
    """
    try:
        split = open_split(place.task, place.source, place.split, place.custom)
        rows = split.read()
    except DataError as error:
        return Texts(problem=f"The texts cannot be read: {error}")
    if (record is not None and not _are_of(record, split, rows)) or not _agree(rows, predicted):
        return Texts(problem="The data have changed since the predictions were made, so their texts are not shown.")
    columns = split.columns(wanted, place.task.slice_columns)
    picked = predicted.idx.tolist()
    firsts, seconds = rows.texts_a, rows.texts_b
    return Texts(
        [(firsts[row],) if seconds is None else (firsts[row], seconds[row]) for row in picked],
        {name: [values[row] for row in picked] for name, values in columns.items()},
    )


def _are_of(record: Mapping[str, Any], split: Split, rows: Rows) -> bool:
    """Whether predictions are of these rows, wherever they lie; older records know the file only."""
    if record.get("hash") is not None:
        return bool(record["hash"] == rows.digest(split.labels))
    return record.get("fingerprint") in (None, split.fingerprint)


def _agree(rows: Rows, predicted: Predictions) -> bool:
    """Whether every prediction has a row, and its gold label is the row's (scores are written with six decimals)."""
    if int(predicted.idx[-1]) >= len(rows):
        return False
    labels = [rows.labels[row] for row in predicted.idx.tolist()]
    return all(
        label is None or abs(label - gold) < 1e-5 for label, gold in zip(labels, predicted.gold.tolist(), strict=True)
    )
