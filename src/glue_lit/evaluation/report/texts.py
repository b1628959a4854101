"""Read the texts of the predicted rows from the run's data source; a report works without them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from glue_lit.data.rows import Rows, Split
from glue_lit.errors import DataError
from glue_lit.evaluation.predictions import Predictions
from glue_lit.tasks.glue import TaskSpec


@dataclass(frozen=True)
class Texts:
    """Texts and other columns of predicted rows."""

    texts: Sequence[tuple[str, ...]] = ()  # one or two a row; empty where unknown
    columns: dict[str, list[str]] = field(default_factory=dict)  # by name, a value for each row to group it by
    problem: str | None = None  # why there are no texts


def truncate(text: str, longest: int) -> str:
    """Cut a text to at most ``longest`` characters; a cut one ends in an ellipsis."""
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def read_texts(
    task: TaskSpec,
    open_split: Callable[[], Split],
    predicted: Predictions,
    record: Mapping[str, Any] | None,
    wanted: Sequence[str] = (),
) -> Texts:
    """Read the texts of predicted rows.

    Args:
        task: Its ``slice_columns`` are read if the data have them.
        open_split: Opens the split of the predicted rows.
        predicted: The predictions, whose gold labels must be those of the rows.
        record: The record of the predictions, with the hash of their rows.
        wanted: More columns to group by.

    Raises:
        DataError: The data lack a column in ``wanted``.
    """
    try:
        split = open_split()
        rows = split.read()
    except DataError as error:
        return Texts(problem=f"The texts cannot be read: {error}")
    if (record is not None and not _match_record(record, split, rows)) or not _match_labels(rows, predicted):
        return Texts(problem="The data have changed since the predictions were made, so their texts are not shown.")
    picked = predicted.idx.tolist()
    return Texts(
        rows.texts_at(picked),
        {name: [values[row] for row in picked] for name, values in split.columns(wanted, task.slice_columns).items()},
    )


def _match_record(record: Mapping[str, Any], split: Split, rows: Rows) -> bool:
    """Whether the predictions are of rows with this content; older records only identify the file."""
    if record.get("hash") is not None:
        return bool(record["hash"] == rows.digest(split.labels))
    return record.get("fingerprint") in (None, split.fingerprint)


def _match_labels(rows: Rows, predicted: Predictions) -> bool:
    """Whether every prediction has a row with its gold label (scores are written with six decimals)."""
    if int(predicted.idx[-1]) >= len(rows):
        return False
    labels = [rows.labels[row] for row in predicted.idx.tolist()]
    if predicted.gold.ndim == 2:
        known = ((label, gold) for label, gold in zip(labels, predicted.gold, strict=True) if label is not None)
        return all(isinstance(label, tuple) and set(label) == set(np.flatnonzero(gold)) for label, gold in known)
    return all(
        label is None or abs(label - gold) < 1e-5 for label, gold in zip(labels, predicted.gold.tolist(), strict=True)
    )
