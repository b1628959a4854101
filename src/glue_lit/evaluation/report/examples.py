"""Rows that a report shows: the most confident mistakes and the least certain predictions."""

from dataclasses import dataclass

import numpy as np

from glue_lit.evaluation.predictions import Floats, Ints, Predictions
from glue_lit.evaluation.report.texts import Texts, truncate
from glue_lit.tasks.glue import TaskSpec

SHOWN = 15  # rows of each kind
_LONGEST = 600  # characters of a text; longer ones are cut


@dataclass(frozen=True)
class Example:
    """A row as a report shows it."""

    idx: int  # position in the split
    texts: tuple[str, ...]  # long ones cut; empty where unknown
    gold: str  # label or score
    predicted: str  # label or score
    certainty: float | None  # probability of the predicted label, where known
    number: int | None = None  # line or row of the data's file, from 1, where known
    unit: str = "idx"  # what `at` counts: `line`, `row` or `idx`
    id: str | None = None  # value of the id column, where there is one

    @property
    def at(self) -> int:
        """Line or row of the data's file, or else the position in the split."""
        return self.idx if self.number is None else self.number


def mistakes(task: TaskSpec, predicted: Predictions, texts: Texts) -> list[Example]:
    """Wrong predictions, the most confident first; for regression, the largest errors first."""
    if task.is_regression:
        order = np.argsort(-np.abs(predicted.values - predicted.gold), kind="stable")
    else:
        order = np.flatnonzero(predicted.values != predicted.gold)
        if (probabilities := predicted.probabilities) is not None:
            order = order[np.argsort(-probabilities[order].max(axis=1), kind="stable")]
    return _examples(task, predicted, texts, order)


def uncertain(task: TaskSpec, predicted: Predictions, texts: Texts) -> list[Example]:
    """Rows whose two likeliest labels are closest in probability; empty without probabilities."""
    if predicted.probabilities is None or predicted.probabilities.shape[1] < 2:
        return []
    return _examples(task, predicted, texts, np.argsort(margins(predicted.probabilities), kind="stable"))


def margins(probabilities: Floats) -> Floats:
    """Probability of the likeliest label minus that of the second, ``(rows,)``."""
    top = np.partition(probabilities, -2, axis=1)
    lead: Floats = top[:, -1] - top[:, -2]
    return lead


def _examples(task: TaskSpec, predicted: Predictions, texts: Texts, order: Ints) -> list[Example]:
    return [_example(task, predicted, texts, int(row)) for row in order[:SHOWN]]


def _example(task: TaskSpec, predicted: Predictions, texts: Texts, row: int) -> Example:
    places, probabilities = predicted.places, predicted.probabilities
    gold, value = (
        f"{values[row]:.2f}" if task.is_regression else task.labels[int(values[row])]
        for values in (predicted.gold, predicted.values)
    )
    return Example(
        idx=int(predicted.idx[row]),
        texts=tuple(truncate(text, _LONGEST) for text in texts.texts[row]) if texts.texts else (),
        gold=gold,
        predicted=value,
        certainty=None if probabilities is None else float(probabilities[row].max()),
        number=None if places is None else places.numbers[row],
        unit="idx" if places is None else places.unit,
        id=None if places is None or places.ids is None else places.ids[row] or None,
    )
