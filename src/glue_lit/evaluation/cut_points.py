"""Cut points of labels in order: the scores at which one label ends and the next begins."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from glue_lit.evaluation.predictions import Floats, Predictions, Values
from glue_lit.tasks.chosen_metrics import Metric
from glue_lit.tasks.glue import TaskSpec
from glue_lit.tasks.levels import default_cut_points

_LISTED = 10
_MOST_ROUNDS = 50
_GAIN = 1e-12  # of kappa; less is rounding


def fit_cut_points(gold: Floats, scores: Floats, levels: int) -> list[float]:
    """The cut points with a high quadratic weighted kappa: one at a time is moved to its best place until none moves.

    A cut lies halfway between two scores, or half a level beyond all. The search starts at the middles between the
    levels, and leaves a cut where no other place is better. The order of the rows does not matter.

    Args:
        gold: Number of each row's level, ``(rows,)``.
        scores: Predicted scores, ``(rows,)``.
        levels: Number of levels.

    Returns:
        The lowest score of each level but the first, in ascending order; the middles if kappa is undefined.
    """
    cuts = [*default_cut_points(levels)]
    if not len(gold) or np.isnan(scores).any() or len(np.unique(gold)) < 2:
        return cuts
    order = np.lexsort((gold, scores))
    gold, scores = gold[order], scores[order].astype(np.float64)
    # rows with equal scores are on one side of a cut: ends of groups of them
    starts = np.append(np.flatnonzero(np.diff(scores, prepend=-np.inf)), len(scores))
    kappa = _kappa(gold, _levels(scores, cuts))[0]
    for _ in range(_MOST_ROUNDS):
        before = kappa
        for number in range(len(cuts)):
            low = cuts[number - 1] if number else -np.inf
            high = cuts[number + 1] if number + 1 < len(cuts) else np.inf
            places = starts[(starts >= np.searchsorted(scores, low)) & (starts <= np.searchsorted(scores, high))]
            found = _kappas_at(gold, _levels(scores, cuts), number, places)
            best = int(found.argmax())
            if found[best] > kappa + _GAIN:
                kappa = float(found[best])
                cuts[number] = min(max(_cut_at(scores, int(places[best])), low), high)
        if kappa == before:
            break
    return [float(cut) for cut in cuts]


def describe_cut_points(task: TaskSpec) -> str:
    """Where the cut points come from, and those of the first labels; empty if they are not fitted."""
    if task.cut_points == default_cut_points(len(task.levels)):
        return ""
    cuts = zip(task.levels[1:], task.cut_points, strict=True)
    listed = [f"{label} from {cut:.3g}" for label, cut in cuts][:_LISTED]
    more = f" and those of {len(task.cut_points) - _LISTED:,} more" if len(task.cut_points) > _LISTED else ""
    return (
        f"Cut points are fitted on the rows of {task.monitored_split}, which makes its scores a little too good: "
        f"{', '.join(listed)}{more}."
    )


def levels_of(metric: Metric, gold: Values, predicted: Values) -> tuple[Values, Values]:
    """Gold and predicted labels where scores tell them, for a metric of labels; else both as they are.

    Args:
        metric: The metric; its cut points divide the scores.
        gold: Numbers of the levels, ``(rows,)``.
        predicted: Scores, ``(rows,)``.
    """
    if not metric.cut_points or gold.dtype.kind != "f":
        return gold, predicted
    return gold.astype(np.int64), np.searchsorted(np.array(metric.cut_points), predicted, side="right")


def with_levels(task: TaskSpec, rows: Predictions) -> Predictions:
    """Predictions with gold and predicted labels in place of the scores that tell them; others as they are."""
    if not task.levels:
        return rows
    numbers = np.searchsorted(np.array(task.cut_points), rows.values, side="right")
    return replace(rows, gold=rows.gold.astype(np.int64), values=numbers)


def _levels(scores: Floats, cuts: list[float]) -> Floats:
    return np.searchsorted(np.array(cuts), scores, side="right").astype(np.float64)


def _cut_at(scores: Floats, place: int) -> float:
    """A score between that of a row and the one before it."""
    if place == 0:
        return float(scores[0]) - 0.5
    return float(scores[-1]) + 0.5 if place == len(scores) else float(scores[place - 1] + scores[place]) / 2


def _kappas_at(gold: Floats, levels: Floats, number: int, places: NDArray[np.int64]) -> Floats:
    """Quadratic weighted kappa with one cut at each of the places, ``(places,)``: rows from there on are above it."""
    below, above = np.minimum(levels, number), np.maximum(levels, number + 1)
    sums = [
        np.concatenate([[0.0], np.cumsum(part(below))])[places]
        + np.concatenate([np.cumsum(part(above)[::-1])[::-1], [0.0]])[places]
        for part in (lambda level: level, np.square, lambda level: gold * level)
    ]
    return _of_sums(gold, *sums)


def _kappa(gold: Floats, levels: Floats) -> Floats:
    return _of_sums(gold, *(np.array([total]) for total in (levels.sum(), (levels**2).sum(), (gold * levels).sum())))


def _of_sums(gold: Floats, total: Floats, squares: Floats, products: Floats) -> Floats:
    """One minus the mean squared distance over that of independent gold and predicted levels (Cohen 1968)."""
    both = (gold**2).sum() + squares
    expected: Floats = both - 2 * gold.sum() * total / len(gold)
    found: Floats = 1 - (both - 2 * products) / expected
    return found
