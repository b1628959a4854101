"""A task's metrics over thousands of resamples at once, with numpy alone."""

import math

import numpy as np
from numpy.typing import NDArray

from glue_lit.evaluation.predicted import Floats, Values


def weighted(name: str, weights: NDArray[np.int64], gold: Values, predicted: Values, positive: int = 1) -> Floats:
    """A metric for each of many resamples.

    Args:
        name: The metric.
        weights: How often each row occurs in each resample, ``(resamples, rows)``.
        gold: Classes or scores, ``(rows,)``.
        predicted: The same, predicted.
        positive: The class that F1 is of.

    Returns:
        ``(resamples,)``, NaN where the metric is undefined.
    """
    often = weights.astype(np.float64)
    if name == "pearson":
        return _pearson(often, _standard(gold), _standard(predicted))
    if name == "spearmanr":
        return _pearson(often, _ranks(often, gold), _ranks(often, predicted))
    tallies = _tallies(often, gold, predicted)
    return _f1(*tallies, positive) if name == "f1" else _CLASSES[name](*tallies)


def _tallies(often: Floats, gold: Values, predicted: Values) -> tuple[Floats, Floats, Floats]:
    """Right, gold and predicted rows of each class, ``(resamples, classes)`` each."""
    classes = np.arange(max(int(gold.max()), int(predicted.max()), 1) + 1)
    is_gold, is_predicted = gold[:, None] == classes, predicted[:, None] == classes
    return often @ (is_gold & is_predicted), often @ is_gold, often @ is_predicted


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """The quotient, and 0 where scikit-learn says 0: nothing to divide by."""
    found = np.zeros_like(numerator)
    np.divide(numerator, denominator, out=found, where=denominator > 0)
    return found


def _accuracy(right: Floats, gold: Floats, predicted: Floats) -> Floats:
    return _ratio(right.sum(axis=1), gold.sum(axis=1))


def _f1(right: Floats, gold: Floats, predicted: Floats, positive: int) -> Floats:
    return _ratio(2 * right[:, positive], gold[:, positive] + predicted[:, positive])


def _macro_f1(right: Floats, gold: Floats, predicted: Floats) -> Floats:
    both = gold + predicted
    return _ratio(_ratio(2 * right, both).sum(axis=1), (both > 0).sum(axis=1).astype(np.float64))


def _matthews(right: Floats, gold: Floats, predicted: Floats) -> Floats:
    """R_K of Gorodkin 2004 (https://doi.org/10.1016/j.compbiolchem.2004.09.006)."""
    total = gold.sum(axis=1)
    covariance = right.sum(axis=1) * total - (gold * predicted).sum(axis=1)
    spread = (total**2 - (predicted**2).sum(axis=1)) * (total**2 - (gold**2).sum(axis=1))
    return _ratio(covariance, np.sqrt(np.maximum(spread, 0)))


_CLASSES = {"accuracy": _accuracy, "macro_f1": _macro_f1, "matthews_correlation": _matthews}


def _pearson(often: Floats, x: Floats, y: Floats) -> Floats:
    """Weighted correlation along the last axis; ``x`` and ``y`` are ``(rows,)`` or ``(resamples, rows)``."""
    total = often.sum(axis=1, keepdims=True)
    x = x - (often * x).sum(axis=1, keepdims=True) / total
    y = y - (often * y).sum(axis=1, keepdims=True) / total
    spread = (often * x**2).sum(axis=1) * (often * y**2).sum(axis=1)
    found: Floats = np.full(len(often), math.nan)
    np.divide((often * x * y).sum(axis=1), np.sqrt(spread), out=found, where=spread > 1e-20)
    return found


def _standard(values: Values) -> Floats:
    """Values about 0 and of spread 1, so that what is as good as constant shows, whatever the scale."""
    standard: Floats = (values - values.mean()) / (values.std() or 1.0)
    return standard


def _ranks(often: Floats, values: Values) -> Floats:
    """Rank of each row in each resample, ``(resamples, rows)``; equal values share their mean rank."""
    distinct, place = np.unique(values, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(distinct)))
    counts = np.add.reduceat(often[:, order], starts, axis=1)
    ranks: Floats = np.cumsum(counts, axis=1) - (counts - 1) / 2
    return ranks[:, place]
