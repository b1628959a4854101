"""The bootstrap: how much a score would vary with other rows of the same kind.

Efron and Tibshirani 1993, "An Introduction to the Bootstrap": resampling of rows with replacement (chapter 6), and the
percentile interval (chapter 13).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from glue_lit.evaluation.formulas import score, weighted_scores
from glue_lit.evaluation.predictions import Floats, Values

LEVEL = 0.95
_MOST_RESAMPLES, _LEAST_RESAMPLES = 10_000, 1_000
_DRAWS = 20_000_000  # random numbers in all: the more distinct rows, the fewer resamples
_DRAWS_AT_ONCE = 2_000_000  # random numbers in memory at a time
_SEED = 20_180_420  # fixed, so that reports are reproducible


@dataclass(frozen=True)
class Score:
    """A score and its 95 % interval; NaN where undefined."""

    value: float
    low: float
    high: float


def resampled_scores(names: Sequence[str], gold: Values, predictions: Sequence[Values], positive: int = 1) -> Floats:
    """Metrics of resamples of the rows, ``(metrics, runs, resamples)``; NaN where undefined.

    Identical rows are drawn together as one multinomial count. In classification, pairs of gold and predicted class are
    few, which makes this a thousand times faster than drawing row by row.

    Args:
        names: The metrics.
        gold: Classes or scores, ``(rows,)``.
        predictions: Predicted classes or scores of each run, ``(rows,)``; all runs are scored on the same resamples.
        positive: The class of F1.
    """
    rows, counts = np.unique(np.stack([gold, *predictions], axis=1), axis=0, return_counts=True)
    gold, *predictions = np.ascontiguousarray(rows.T)
    left = max(_LEAST_RESAMPLES, min(_MOST_RESAMPLES, _DRAWS // len(counts)))
    generator, found = np.random.default_rng(_SEED), []
    while left:
        size = min(left, max(1, _DRAWS_AT_ONCE // len(counts)))
        weights = generator.multinomial(counts.sum(), counts / counts.sum(), size=size)
        found.append([[weighted_scores(name, weights, gold, run, positive) for run in predictions] for name in names])
        left -= size
    return np.concatenate(found, axis=-1)


def interval(scores: Floats) -> tuple[float, float]:
    """The percentile interval of ``(resamples,)`` scores; NaN where more than a tenth of them are undefined."""
    known = scores[~np.isnan(scores)]
    if len(known) < 0.9 * len(scores):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def scores_with_intervals(names: Sequence[str], gold: Values, predicted: Values, positive: int = 1) -> dict[str, Score]:
    """Metrics by name, each with its 95 % interval; ``positive`` is the class of F1."""
    resampled = resampled_scores(names, gold, [predicted], positive)
    return {
        name: Score(score(name, gold, predicted, positive), *interval(scores))
        for name, (scores,) in zip(names, resampled, strict=True)
    }
