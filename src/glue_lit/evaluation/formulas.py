"""Every metric as one formula over weighted rows, in float64 and with NumPy alone.

Training, the report and the bootstrap share these formulas: a row of a split weighs 1, a row of a resample as often as
it was drawn. Edge cases follow scikit-learn and SciPy: a quotient over zero is 0; a correlation of constant values,
or with a NaN among them, is NaN.
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
    """Titles by metric; with two labels, the title of F1 names the positive one."""
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
    often = weights.astype(np.float64)
    if name == "pearson":
        return _pearson(often, _standardized(gold), _standardized(predicted))
    if name == "spearmanr":
        return _pearson(often, _ranks(often, gold), _ranks(often, predicted))
    # Only classes that occur get a number, so a task of 10,000 labels costs no more than its rows do.
    _, codes = np.unique(np.concatenate([gold, predicted, [positive]]), return_inverse=True)
    gold, predicted, positive = codes[: len(gold)], codes[len(gold) : -1], int(codes[-1])
    right = gold == predicted
    size = int(codes.max()) + 1
    return score_of_counts(
        name,
        _per_class(often, gold, size),
        _per_class(often, predicted, size),
        _per_class(often[:, right], gold[right], size),
        positive,
    )


def score_of_counts(name: str, gold: Floats, predicted: Floats, right: Floats, positive: int) -> Floats:
    """A classification metric from how often each class is gold, predicted, and both, each ``(..., classes)``."""
    if name == "f1":
        return _f1(gold[..., positive], predicted[..., positive], right[..., positive])
    return _OVER_CLASSES[name](gold, predicted, right)


def confusion_matrix(gold: Values, predicted: Values, labels: int) -> NDArray[np.int64]:
    """Rows by gold class (first axis) and predicted class, ``(labels, labels)``."""
    pairs = gold.astype(np.int64) * labels + predicted.astype(np.int64)
    return np.bincount(pairs, minlength=labels**2).reshape(labels, labels)


def _per_class(often: Floats, classes: NDArray[np.int64], size: int) -> Floats:
    """Weight of each class, ``(resamples, size)``; needs no matrix of rows by classes."""
    sums = np.zeros((len(often), size))
    order = np.argsort(classes, kind="stable")
    present, starts = np.unique(classes[order], return_index=True)
    if len(present):
        sums[:, present] = np.add.reduceat(often[:, order], starts, axis=1)
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
    """Mean F1 of the classes that are gold or predicted anywhere."""
    occurs = (gold + predicted > 0).sum(axis=-1).astype(np.float64)
    return _ratio(_f1(gold, predicted, right).sum(axis=-1), occurs)


def _matthews_correlation(gold: Floats, predicted: Floats, right: Floats) -> Floats:
    """R_K of Gorodkin 2004 (https://doi.org/10.1016/j.compbiolchem.2004.09.006), in -1 to 1, for two or more classes.

    Exactly 0 if all gold labels or all predictions are one class. torchmetrics gives up to 0.03 of either sign there,
    enough to pick the checkpoint of a collapsed model.
    """
    total = gold.sum(axis=-1)
    covariance = right.sum(axis=-1) * total - (gold * predicted).sum(axis=-1)
    spread = (total**2 - (predicted**2).sum(axis=-1)) * (total**2 - (gold**2).sum(axis=-1))
    return _ratio(covariance, np.sqrt(spread))


_OVER_CLASSES: dict[str, Callable[[Floats, Floats, Floats], Floats]] = {
    "accuracy": _accuracy, "macro_f1": _macro_f1, "matthews_correlation": _matthews_correlation
}  # fmt: skip


def _pearson(often: Floats, x: Floats, y: Floats) -> Floats:
    """Weighted correlation along the last axis; ``x`` and ``y`` are ``(rows,)`` or ``(resamples, rows)``."""
    total = often.sum(axis=1, keepdims=True)
    x = x - (often * x).sum(axis=1, keepdims=True) / total
    y = y - (often * y).sum(axis=1, keepdims=True) / total
    spread = (often * x**2).sum(axis=1) * (often * y**2).sum(axis=1)
    correlation: Floats = np.full(len(often), math.nan)
    np.divide((often * x * y).sum(axis=1), np.sqrt(spread), out=correlation, where=spread > 1e-20)
    return np.clip(correlation, -1, 1)


def _standardized(values: Values) -> Floats:
    """Values with mean 0 and deviation 1, so that one threshold finds constant values of any scale."""
    standardized: Floats = (values - values.mean()) / (values.std() or 1.0)
    return standardized


def _ranks(often: Floats, values: Values) -> Floats:
    """Rank of each row in each resample, ``(resamples, rows)``: the mean rank of equal values, NaN for NaN."""
    distinct, place = np.unique(values, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(distinct)))
    counts = np.add.reduceat(often[:, order], starts, axis=1)
    ranks = np.cumsum(counts, axis=1) - (counts - 1) / 2
    return np.where(np.isnan(values), math.nan, ranks[:, place])
