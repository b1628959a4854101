"""Which rows of a multi-label task a report shows, and what it says of their labels."""

from collections.abc import Iterator

import numpy as np

from glue_lit.evaluation.predictions import Ints, Predictions, Values
from glue_lit.tasks.spec import TaskSpec

_MOST = 8  # labels of a row that are named


def label_names(task: TaskSpec, has_label: Values) -> str:
    """The labels of one row, from ``(labels,)`` of 0 and 1."""
    names = [task.labels[at] for at in np.flatnonzero(has_label)]
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ("; ".join(names[:_MOST]) + more) or "(none)"


def most_certain_mistakes(task: TaskSpec, predicted: Predictions, most: int) -> Iterator[tuple[int, str]]:
    """Rows with a wrong label, that of the most certain one first, with what is wrong about it."""
    wrong, probabilities = predicted.values != predicted.gold, predicted.probabilities
    certainty = wrong.astype(np.float64)
    if probabilities is not None:
        certainty *= np.where(predicted.values > 0, probabilities, 1 - probabilities)
    labels = certainty.argmax(axis=1)
    rows = np.flatnonzero(wrong.any(axis=1))
    for row in rows[np.argsort(-certainty.max(axis=1)[rows], kind="stable")][:most].tolist():
        at = int(labels[row])
        of = "" if probabilities is None else f" ({probabilities[row, at]:.3f})"
        yield row, f"{'wrong' if predicted.values[row, at] else 'missed'}: {task.labels[at]}{of}"


def least_certain_labels(task: TaskSpec, predicted: Predictions, most: int) -> Iterator[tuple[int, str]]:
    """The rows with a probability nearest its label's threshold, as log-odds, with that label."""
    if predicted.probabilities is None:
        return
    thresholds = np.full(len(task.labels), 0.5) if predicted.thresholds is None else predicted.thresholds
    share = np.clip(predicted.probabilities, 1e-12, 1 - 1e-12)
    distance = np.abs(np.log(share / (1 - share)) - np.log(thresholds / (1 - thresholds)))
    labels: Ints = distance.argmin(axis=1)
    for row in np.argsort(distance.min(axis=1), kind="stable")[:most].tolist():
        at = int(labels[row])
        yield row, f"{task.labels[at]} {predicted.probabilities[row, at]:.3f}, threshold {thresholds[at]:.3f}"
