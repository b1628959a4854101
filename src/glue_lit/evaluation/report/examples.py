"""Rows that a report shows: the most confident mistakes and the least certain predictions."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from glue_lit.evaluation.predictions import Floats, Ints, Predictions
from glue_lit.evaluation.report.label_rows import label_names, least_certain_labels, most_certain_mistakes
from glue_lit.evaluation.report.texts import Texts, truncate
from glue_lit.tasks.glue import TaskSpec
from glue_lit.tasks.levels import level_of

SHOWN = 15  # rows of each kind
_LONGEST = 600  # characters of a text; longer ones are cut


@dataclass(frozen=True)
class Example:
    """A row as a report shows it."""

    idx: int  # position in the split
    texts: tuple[str, ...]  # long ones cut; empty where unknown
    gold: str  # label or score
    predicted: str  # label or score
    certainty: float | None  # probability of the predicted label, where known and where there is one
    number: int | None = None  # line or row of the data's file, from 1, where known
    unit: str = "idx"  # what `at` counts: `line`, `row` or `idx`
    id: str | None = None  # value of the id column, where there is one
    about: str = ""  # of a multi-label task, the label that the row is shown for, with its probability

    @property
    def at(self) -> int:
        """Line or row of the data's file, or else the position in the split."""
        return self.idx if self.number is None else self.number


def mistakes(task: TaskSpec, predicted: Predictions, texts: Texts) -> list[Example]:
    """Wrong predictions, the most confident first; for regression, the largest errors first."""
    if task.is_regression:
        order = np.argsort(-np.abs(predicted.values - predicted.gold), kind="stable")
    elif task.is_multi_label:
        found = most_certain_mistakes(task, predicted, SHOWN)
        return [_example(task, predicted, texts, row, about) for row, about in found]
    else:
        order = np.flatnonzero(predicted.values != predicted.gold)
        if (probabilities := predicted.probabilities) is not None:
            order = order[np.argsort(-probabilities[order].max(axis=1), kind="stable")]
    return _examples(task, predicted, texts, order)


def uncertain(task: TaskSpec, predicted: Predictions, texts: Texts) -> list[Example]:
    """Rows whose two likeliest labels are closest in probability; empty without probabilities.

    Of a multi-label task, those with a probability nearest its threshold.
    """
    if task.is_multi_label:
        found = least_certain_labels(task, predicted, SHOWN)
        return [_example(task, predicted, texts, row, about) for row, about in found]
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


def _example(task: TaskSpec, predicted: Predictions, texts: Texts, row: int, about: str = "") -> Example:
    places, probabilities = predicted.places, predicted.probabilities
    gold, value = (_in_words(task, values[row]) for values in (predicted.gold, predicted.values))
    if task.levels:
        gold = task.levels[int(predicted.gold[row])]
        value = f"{task.levels[level_of(float(predicted.values[row]), task.cut_points)]} ({value})"
    return Example(
        idx=int(predicted.idx[row]),
        texts=tuple(truncate(text, _LONGEST) for text in texts.texts[row]) if texts.texts else (),
        gold=gold,
        predicted=value,
        certainty=None if probabilities is None or task.is_multi_label else float(probabilities[row].max()),
        number=None if places is None else places.numbers[row],
        unit="idx" if places is None else places.unit,
        id=None if places is None or places.ids is None else places.ids[row] or None,
        about=about,
    )


def _in_words(task: TaskSpec, value: Any) -> str:
    if task.is_multi_label:
        return label_names(task, value)
    return f"{value:.2f}" if task.is_regression else task.labels[int(value)]
