"""The metrics of regression: correlations and errors of weighted rows.

Edge cases follow SciPy and scikit-learn: the correlation of values that are constant, or of which one is NaN, is NaN.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from glue_lit.evaluation.predictions import Floats, Ints, Values


def pearson(weight: Floats, gold: Values, predicted: Values) -> Floats:
    """Pearson's correlation of each resample, as all formulas here: ``weight`` is ``(resamples, rows)``."""
    return _correlation(weight, _standardized(gold), _standardized(predicted))


def spearman(weight: Floats, gold: Values, predicted: Values) -> Floats:
    """Spearman's correlation."""
    return _correlation(weight, _ranks(weight, gold), _ranks(weight, predicted))


def kendall(weight: Floats, gold: Values, predicted: Values) -> Floats:
    """Kendall's tau-b: Kendall 1945, "The Treatment of Ties in Ranking Problems"."""
    if np.isnan(gold).any() or np.isnan(predicted).any():
        return np.full(len(weight), math.nan)
    order = np.lexsort((predicted, gold))
    weight = weight[:, order]
    one, two = (np.unique(values[order], return_inverse=True)[1] for values in (gold, predicted))
    pairs = _pairs(weight.sum(axis=1))
    of_one, of_two = _tied_pairs(weight, one), _tied_pairs(weight, two)
    of_both = _tied_pairs(weight, one * (int(two.max()) + 1) + two)
    score = pairs - of_one - of_two + of_both - 2 * _inversions(weight, two)
    tau: Floats = np.full(len(weight), math.nan)
    free_one, free_two = pairs - of_one, pairs - of_two
    np.divide(score, np.sqrt(free_one) * np.sqrt(free_two), out=tau, where=(free_one > 0) & (free_two > 0))
    return np.clip(tau, -1, 1)


def mean_absolute_error(weight: Floats, gold: Values, predicted: Values) -> Floats:
    """Mean absolute error."""
    return _mean(weight, np.abs(predicted - gold))


def mean_squared_error(weight: Floats, gold: Values, predicted: Values) -> Floats:
    """Mean squared error."""
    return _mean(weight, (predicted - gold) ** 2)


def r2(weight: Floats, gold: Values, predicted: Values) -> Floats:
    """Coefficient of determination; as in scikit-learn, of constant gold scores 1 if all are predicted, else 0."""
    middle = _mean(weight, gold)[:, None]
    spread = (weight * (gold - middle) ** 2).sum(axis=1)
    error: Floats = weight @ (predicted - gold) ** 2
    is_constant = spread <= 1e-20 * weight.sum(axis=1) * max(1e-300, float(np.abs(gold).max(initial=0)) ** 2)
    with np.errstate(divide="ignore"):
        explained: Floats = 1 - error / spread
    found: Floats = np.where(is_constant, error == 0, explained).astype(np.float64)
    found[(weight.sum(axis=1) < 2) | np.isnan(error)] = math.nan
    return found


Formula = Callable[[Floats, Values, Values], Floats]
OF_SCORES: dict[str, Formula] = {
    "pearson": pearson, "spearmanr": spearman, "kendall": kendall, "mae": mean_absolute_error,
    "mse": mean_squared_error, "r2": r2,
}  # fmt: skip


def _mean(weight: Floats, values: Values) -> Floats:
    mean: Floats = weight @ values / weight.sum(axis=1)
    return mean


def _correlation(weight: Floats, x: Floats, y: Floats) -> Floats:
    """Weighted correlation along the last axis; ``x`` and ``y`` are ``(rows,)`` or ``(resamples, rows)``."""
    total = weight.sum(axis=1, keepdims=True)
    x = x - (weight * x).sum(axis=1, keepdims=True) / total
    y = y - (weight * y).sum(axis=1, keepdims=True) / total
    spread = (weight * x**2).sum(axis=1) * (weight * y**2).sum(axis=1)
    correlation: Floats = np.full(len(weight), math.nan)
    np.divide((weight * x * y).sum(axis=1), np.sqrt(spread), out=correlation, where=spread > 1e-20)
    return np.clip(correlation, -1, 1)


def _standardized(values: Values) -> Floats:
    """Values with mean 0 and standard deviation 1, so that `_correlation` detects constant values of any scale."""
    standardized: Floats = (values - values.mean()) / (values.std() or 1.0)
    return standardized


def _ranks(weight: Floats, values: Values) -> Floats:
    """Rank of each row in each resample, ``(resamples, rows)``; equal values share their mean rank, NaN stays NaN."""
    distinct, codes = np.unique(values, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(distinct)))
    counts = np.add.reduceat(weight[:, order], starts, axis=1)
    ranks = np.cumsum(counts, axis=1) - (counts - 1) / 2
    return np.where(np.isnan(values), math.nan, ranks[:, codes])


def _pairs(rows: Floats) -> Floats:
    return rows * (rows - 1) / 2


def _tied_pairs(weight: Floats, codes: Ints) -> Floats:
    """Pairs of rows with equal codes in each resample."""
    order = np.argsort(codes, kind="stable")
    _, starts = np.unique(codes[order], return_index=True)
    found: Floats = _pairs(np.add.reduceat(weight[:, order], starts, axis=1)).sum(axis=1)
    return found


def _inversions(weight: Floats, codes: NDArray[np.int64]) -> Floats:
    """Pairs of rows in which the first has the higher code, in each resample.

    Two codes differ first in one bit, from the highest down; at each bit, all pairs that agree above it are counted.
    """
    found = np.zeros(len(weight))
    for bit in reversed(range(int(codes.max()).bit_length())):
        order = np.argsort(codes >> (bit + 1), kind="stable")
        above, is_high = codes[order] >> (bit + 1), (codes[order] >> bit & 1).astype(np.float64)
        high = np.cumsum(weight[:, order] * is_high, axis=1)
        _, starts, block = np.unique(above, return_index=True, return_inverse=True)
        before = np.where(starts > 0, high[:, starts - 1], 0.0)  # of earlier blocks
        found += (weight[:, order] * (1 - is_high) * (high - before[:, block])).sum(axis=1)
    return found
