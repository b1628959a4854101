"""Intervals: how much a score would vary with other rows of the same kind.

Accuracy and F1 follow from a share of rows, so they have Wilson's interval, which holds for few rows and for perfect
scores, too: Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference". The other metrics have
the bootstrap's: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", resampling of rows with replacement
(chapter 6), and the percentile interval (chapter 13).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from glue_lit.evaluation.formulas import score, weighted_scores, without_score
from glue_lit.evaluation.predictions import Floats, Ints, Values

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
        found.append([[_scores(name, weights, gold, run, positive) for run in predictions] for name in names])
        left -= size
    return np.concatenate(found, axis=-1)


def _scores(name: str, weights: Ints, gold: Values, predicted: Values, positive: int) -> Floats:
    scores = weighted_scores(name, weights, gold, predicted, positive)
    return np.where(without_score(name, weights, gold, predicted, positive), math.nan, scores)


def interval(scores: Floats) -> tuple[float, float]:
    """The percentile interval of ``(resamples,)`` scores; NaN where more than a tenth of them are undefined."""
    known = scores[~np.isnan(scores)]
    if len(known) < 0.9 * len(scores):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def share(right: int, rows: int) -> Score:
    """A share of rows with Wilson's interval; NaN without rows."""
    if not rows:
        return Score(math.nan, math.nan, math.nan)
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    middle, half = right + z**2 / 2, z * math.sqrt(right * (rows - right) / rows + z**2 / 4)
    ends = ((middle - half) / (rows + z**2), (middle + half) / (rows + z**2))
    return Score(right / rows, *(min(1.0, max(0.0, end)) for end in ends))


def scores_with_intervals(names: Sequence[str], gold: Values, predicted: Values, positive: int = 1) -> dict[str, Score]:
    """Metrics by name, each with its 95 % interval; ``positive`` is the class of F1.

    An interval is NaN where the rows cannot tell it: if many resamples have no score, or if all have the same one.
    """
    drawn = [name for name in names if name not in _OF_SHARES]
    ends = dict.fromkeys(names, (math.nan, math.nan))
    for name, (scores,) in zip(
        drawn, resampled_scores(drawn, gold, [predicted], positive) if drawn else (), strict=True
    ):
        low, high = interval(scores)
        ends[name] = (low, high) if low < high else ends[name]
    for name in set(names).intersection(_OF_SHARES):
        ends[name] = _OF_SHARES[name](gold, predicted, positive)
    return {name: Score(score(name, gold, predicted, positive), *ends[name]) for name in names}


def _accuracy_interval(gold: Values, predicted: Values, positive: int) -> tuple[float, float]:
    found = share(int((gold == predicted).sum()), len(gold))
    return found.low, found.high


def _f1_interval(gold: Values, predicted: Values, positive: int) -> tuple[float, float]:
    """F1 is 2 j / (1 + j), where j is the share of hits among the rows that are gold or predicted positive."""
    either = (gold == positive) | (predicted == positive)
    found = share(int((gold == predicted)[either].sum()), int(either.sum()))
    return 2 * found.low / (1 + found.low), 2 * found.high / (1 + found.high)


_OF_SHARES = {"accuracy": _accuracy_interval, "f1": _f1_interval}
