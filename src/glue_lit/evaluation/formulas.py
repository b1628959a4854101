"""Each metric as one formula over weighted rows, in float64 and with NumPy alone.

Training, the report and the bootstrap share these formulas: the weight of a row is 1 in a split, and the number of
times it was drawn in a resample. Edge cases follow scikit-learn and SciPy: division by zero gives 0; the correlation of
values that are constant, or of which one is NaN, is NaN.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from glue_lit.evaluation.predictions import Floats, Values
from glue_lit.tasks.glue import TaskSpec

TITLES = {
    "accuracy": "Accuracy",
    "f1": "F1",
    "macro_f1": "Macro F1",
    "matthews_correlation": "Matthews correlation",
    "pearson": "Pearson correlation",
    "spearmanr": "Spearman correlation",
}


def metric_titles(task: TaskSpec) -> dict[str, str]:
    """Titles by metric; with two labels, the title of F1 names the positive label."""
    label = task.positive_label
    return TITLES if label is None else TITLES | {"f1": f"F1 of {label if len(label) <= 40 else label[:39] + '…'}"}


def score(name: str, gold: Values, predicted: Values, positive: int = 1) -> float:
    """A metric of ``(rows,)`` gold and predicted values; NaN where undefined. ``positive`` is the class of F1."""
    return float(weighted_scores(name, np.ones((1, len(gold)), dtype=np.int64), gold, predicted, positive)[0])


@np.errstate(invalid="ignore", over="ignore")  # a diverged model predicts infinite scores
def weighted_scores(
    name: str, weights: NDArray[np.int64], gold: Values, predicted: Values, positive: int = 1
) -> Floats:
    """A metric of each resample, ``(resamples,)``; NaN where undefined.

    Args:
        name: The metric.
        weights: How often each row occurs in each resample, ``(resamples, rows)``.
        gold: Classes or scores, ``(rows,)``.
        predicted: Predicted classes or scores, ``(rows,)``.
        positive: The class of F1.
    """
    weight = weights.astype(np.float64)
    if name == "pearson":
        return _pearson(weight, _standardized(gold), _standardized(predicted))
    if name == "spearmanr":
        return _pearson(weight, _ranks(weight, gold), _ranks(weight, predicted))
    # Only classes that occur are numbered, so that the cost grows with the rows and not with the number of labels.
    _, codes = np.unique(np.concatenate([gold, predicted, [positive]]), return_inverse=True)
    gold, predicted, positive = codes[: len(gold)], codes[len(gold) : -1], int(codes[-1])
    right = gold == predicted
    size = int(codes.max()) + 1
    return score_of_counts(
        name,
        _per_class(weight, gold, size),
        _per_class(weight, predicted, size),
        _per_class(weight[:, right], gold[right], size),
        positive,
    )


def score_of_counts(name: str, gold: Floats, predicted: Floats, right: Floats, positive: int) -> Floats:
    """A classification metric from how often each class is gold, predicted, and both, each ``(..., classes)``."""
    if name == "f1":
        return _f1(gold[..., positive], predicted[..., positive], right[..., positive])
    return _OVER_CLASSES[name](gold, predicted, right)


def without_score(
    name: str, weights: NDArray[np.int64], gold: Values, predicted: Values, positive: int = 1
) -> NDArray[np.bool_]:
    """Resamples whose F1 or correlation of classes is 0 / 0, ``(resamples,)``; `weighted_scores` gives 0 there."""
    found: NDArray[np.bool_] = np.zeros(len(weights), dtype=np.bool_)
    if name == "f1":
        found = weights[:, (gold == positive) | (predicted == positive)].sum(axis=1) == 0
    if name == "matthews_correlation":
        pairs, codes = np.unique(np.stack([gold, predicted]), axis=1, return_inverse=True)
        of_pairs = _per_class(weights.astype(np.float64), codes.ravel(), pairs.shape[1])
        found = (of_pairs > 0).sum(axis=1) == 1
    return found


def confusion_matrix(gold: Values, predicted: Values, labels: int) -> NDArray[np.int64]:
    """Number of rows for each gold class (first axis) and predicted class (second), ``(labels, labels)``."""
    pairs = gold.astype(np.int64) * labels + predicted.astype(np.int64)
    return np.bincount(pairs, minlength=labels**2).reshape(labels, labels)


def _per_class(weight: Floats, classes: NDArray[np.int64], size: int) -> Floats:
    """Total weight of each class, ``(resamples, size)``, computed without a matrix of rows by classes."""
    sums = np.zeros((len(weight), size))
    order = np.argsort(classes, kind="stable")
    present, starts = np.unique(classes[order], return_index=True)
    if len(present):
        sums[:, present] = np.add.reduceat(weight[:, order], starts, axis=1)
    return sums


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    quotient = np.zeros_like(numerator)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient


def _accuracy(gold: Floats, predicted: Floats, right: Floats) -> Floats:
    return _ratio(right.sum(axis=-1), gold.sum(axis=-1))


def _f1(gold: Floats, predicted: Floats, right: Floats) -> Floats:
    """Twice the true positives over gold plus predicted positives."""
    return _ratio(2 * right, gold + predicted)


def _macro_f1(gold: Floats, predicted: Floats, right: Floats) -> Floats:
    """Mean F1 over the classes that occur among gold or predicted labels."""
    occurs = (gold + predicted > 0).sum(axis=-1).astype(np.float64)
    return _ratio(_f1(gold, predicted, right).sum(axis=-1), occurs)


def _matthews_correlation(gold: Floats, predicted: Floats, right: Floats) -> Floats:
    """R_K of Gorodkin 2004 (https://doi.org/10.1016/j.compbiolchem.2004.09.006), in -1 to 1, for two or more classes.

    Exactly 0 if all gold labels or all predictions are the same class. torchmetrics returns up to 0.03 or -0.03 there,
    enough to pick the checkpoint of a collapsed model.
    """
    total = gold.sum(axis=-1)
    covariance = right.sum(axis=-1) * total - (gold * predicted).sum(axis=-1)
    spread = (total**2 - (predicted**2).sum(axis=-1)) * (total**2 - (gold**2).sum(axis=-1))
    return _ratio(covariance, np.sqrt(spread))


_OVER_CLASSES: dict[str, Callable[[Floats, Floats, Floats], Floats]] = {
    "accuracy": _accuracy, "macro_f1": _macro_f1, "matthews_correlation": _matthews_correlation
}  # fmt: skip


def _pearson(weight: Floats, x: Floats, y: Floats) -> Floats:
    """Weighted correlation along the last axis; ``x`` and ``y`` are ``(rows,)`` or ``(resamples, rows)``."""
    total = weight.sum(axis=1, keepdims=True)
    x = x - (weight * x).sum(axis=1, keepdims=True) / total
    y = y - (weight * y).sum(axis=1, keepdims=True) / total
    spread = (weight * x**2).sum(axis=1) * (weight * y**2).sum(axis=1)
    correlation: Floats = np.full(len(weight), math.nan)
    np.divide((weight * x * y).sum(axis=1), np.sqrt(spread), out=correlation, where=spread > 1e-20)
    return np.clip(correlation, -1, 1)


def _standardized(values: Values) -> Floats:
    """Values with mean 0 and standard deviation 1, so that `_pearson` detects constant values of any scale."""
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
