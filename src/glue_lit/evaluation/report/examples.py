"""Rows worth reading: the most confident mistakes and the least certain predictions."""

from dataclasses import dataclass, replace

import numpy as np

from glue_lit.evaluation.predictions import Floats, Predictions
from glue_lit.evaluation.report.texts import Texts
from glue_lit.tasks.glue import TaskSpec

SHOWN = 15  # rows of each kind
_LONGEST = 600  # characters of a text; what comes after is cut


@dataclass(frozen=True)
class Example:
    """A row as a report shows it.

    Attributes:
        idx: Its position in the split.
        texts: Its texts, cut where they are long; none where they cannot be had.
        gold: Its label or score.
        predicted: What was predicted.
        certainty: Probability of the predicted label; nothing where there is none.
        number: The line or row of the file that it stands on; nothing where that is not known.
        unit: Which of the two; ``idx`` where neither is known.
        id: What the id column calls it.
    """

    idx: int
    texts: tuple[str, ...]
    gold: str
    predicted: str
    certainty: float | None
    number: int | None = None
    unit: str = "idx"
    id: str | None = None

    @property
    def at(self) -> int:
        """Its line or row, else its position in the split: what ``unit`` counts."""
        return self.idx if self.number is None else self.number


def mistakes(task: TaskSpec, predicted: Predictions, texts: Texts) -> list[Example]:
    """Wrong rows, those that the model is most certain of first; for regression those furthest off."""
    if task.is_regression:
        order = np.argsort(-np.abs(predicted.values - predicted.gold), kind="stable")
    else:
        wrong = np.flatnonzero(predicted.values != predicted.gold)
        of = predicted.probabilities
        order = wrong if of is None else wrong[np.argsort(-of[wrong].max(axis=1), kind="stable")]
    return [_example(task, predicted, texts, int(row)) for row in order[:SHOWN]]


def uncertain(task: TaskSpec, predicted: Predictions, texts: Texts) -> list[Example]:
    """Rows whose two likeliest labels lie closest together; none where there are no probabilities."""
    if predicted.probabilities is None or predicted.probabilities.shape[1] < 2:
        return []
    order = np.argsort(margins(predicted.probabilities), kind="stable")
    return [_example(task, predicted, texts, int(row)) for row in order[:SHOWN]]


def margins(probabilities: Floats) -> Floats:
    """By how much the likeliest label leads the next one, ``(rows,)``."""
    top = np.partition(probabilities, -2, axis=1)
    lead: Floats = top[:, -1] - top[:, -2]
    return lead


def _example(task: TaskSpec, predicted: Predictions, texts: Texts, row: int) -> Example:
    shown = tuple(_cut(text) for text in texts.texts[row]) if texts.texts else ()
    gold, value = predicted.gold[row], predicted.values[row]
    if task.is_regression:
        found = Example(int(predicted.idx[row]), shown, f"{gold:.2f}", f"{value:.2f}", None)
    else:
        certainty = None if predicted.probabilities is None else float(predicted.probabilities[row].max())
        found = Example(int(predicted.idx[row]), shown, task.labels[int(gold)], task.labels[int(value)], certainty)
    if (places := predicted.places) is None:
        return found
    name = places.ids[row] if places.ids is not None else None
    return replace(found, number=places.numbers[row], unit=places.unit, id=name or None)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1].rstrip() + "…"
