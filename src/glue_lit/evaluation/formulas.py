"""Each metric as one formula over weighted rows, in float64 and with NumPy alone.

Training, the report and the bootstrap share these formulas: the weight of a row is 1 in a split, and the number of
times it was drawn in a resample. Edge cases follow scikit-learn and SciPy: division by zero gives 0; the correlation of
values that are constant, or of which one is NaN, is NaN. `glue_lit.tasks.metrics` describes the metrics.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from glue_lit.evaluation.counted_scores import ratio, score_of_class
from glue_lit.evaluation.cut_points import levels_of
from glue_lit.evaluation.multi_label_formulas import of_one_label, weighted_multi_label_scores
from glue_lit.evaluation.predictions import Floats, Values
from glue_lit.evaluation.probability_formulas import ranking_scores, row_values
from glue_lit.evaluation.score_formulas import OF_SCORES
from glue_lit.tasks.chosen_metrics import Metric
from glue_lit.tasks.glue import TaskSpec
from glue_lit.tasks.metric_entries import Target, parse_metric


def metric_titles(task: TaskSpec) -> dict[str, str]:
    """Titles of a task's metrics by name; with two labels, that of F1, say, names the positive label."""
    return {name: task.metric(name).title(task.labels) for name in task.metrics}


def as_metric(metric: str | Metric, positive: int = 1) -> Metric:
    """A metric by its name; ``positive`` is the class of F1."""
    return parse_metric(metric, Target(None, positive=positive, is_known=False)) if isinstance(metric, str) else metric


def score(
    metric: str | Metric, gold: Values, predicted: Values, positive: int = 1, probabilities: Floats | None = None
) -> float:
    """A metric of the rows; NaN where undefined, or without the probabilities that it needs.

    Args:
        metric: The metric, or its name.
        gold: Classes or scores, ``(rows,)``; with any number of labels a row, 0 or 1 for each, ``(rows, labels)``.
        predicted: Predicted classes, scores or labels, of the same shape.
        positive: The class of F1, of a metric given by name.
        probabilities: ``(rows, labels)``.
    """
    metric = as_metric(metric, positive)
    if metric.class_path:
        from glue_lit.evaluation.torchmetrics_scores import torchmetrics_score  # imports torch

        is_missing = probabilities is None and gold.dtype.kind != "f"
        return math.nan if is_missing else torchmetrics_score(metric, gold, predicted, probabilities)
    once = np.ones((1, len(gold)), dtype=np.int64)
    return float(weighted_scores(metric, once, gold, predicted, probabilities=probabilities)[0])


@np.errstate(invalid="ignore", over="ignore")  # a diverged model predicts infinite scores
def weighted_scores(
    metric: str | Metric,
    weights: NDArray[np.int64],
    gold: Values,
    predicted: Values,
    positive: int = 1,
    probabilities: Floats | None = None,
) -> Floats:
    """A metric of each resample, ``(resamples,)``; NaN where undefined. See `score`.

    Args:
        metric: The metric, or its name; none of torchmetrics.
        weights: How often each row occurs in each resample, ``(resamples, rows)``.
        gold: Classes or scores, ``(rows,)``; with any number of labels a row, 0 or 1 for each, ``(rows, labels)``.
        predicted: Predicted classes, scores or labels, of the same shape.
        positive: The class of F1, of a metric given by name.
        probabilities: ``(rows, labels)``.
    """
    metric, weight = as_metric(metric, positive), weights.astype(np.float64)
    gold, predicted = levels_of(metric, gold, predicted)
    if gold.ndim == 2:
        return weighted_multi_label_scores(metric, weight, gold, predicted, probabilities)
    if metric.spec.needs == "scores":
        return OF_SCORES[metric.name](weight, gold, predicted)
    if metric.spec.needs in ("means", "ranking"):
        if probabilities is None:
            return np.full(len(weight), math.nan)
        gold = gold.astype(np.int64)
        if metric.spec.needs == "ranking":
            return ranking_scores(metric, weight, gold, probabilities)
        mean: Floats = weight @ row_values(metric, gold, probabilities) / weight.sum(axis=1)
        return mean
    distance = weight @ ((gold - predicted) ** 2).astype(np.float64) if metric.spec.needs == "distances" else None
    # Only classes that occur are numbered, so that the cost grows with the rows and not with the number of labels.
    place = 0 if metric.positive is None else metric.positive
    numbers, codes = np.unique(np.concatenate([gold, predicted, [place]]), return_inverse=True)
    gold, predicted, place = codes[: len(gold)], codes[len(gold) : -1], int(codes[-1])
    right = gold == predicted
    size = int(codes.max()) + 1
    of_gold, of_predicted = _per_class(weight, gold, size), _per_class(weight, predicted, size)
    if distance is not None:
        return quadratic_kappa(of_gold, of_predicted, distance, numbers.astype(np.float64))
    if metric.positive is not None:
        metric = replace(metric, positive=place)
    return score_of_counts(metric, of_gold, of_predicted, _per_class(weight[:, right], gold[right], size))


def score_of_counts(metric: str | Metric, gold: Floats, predicted: Floats, right: Floats, positive: int = 1) -> Floats:
    """A classification metric from how often each class is gold, predicted, and both, each ``(..., classes)``."""
    metric = as_metric(metric, positive)
    if metric.spec.is_of_positive:
        return _averaged(metric, gold, predicted, right)
    return _OVER_CLASSES[metric.name](gold, predicted, right)


def quadratic_kappa(gold: Floats, predicted: Floats, distance: Floats, numbers: Floats) -> Floats:
    """Quadratic weighted kappa; NaN if all gold and predicted labels are the same.

    Args:
        gold: How often each class is gold, ``(..., classes)``.
        predicted: How often each class is predicted.
        distance: Sum of the squared distances of gold and predicted class, ``(...)``.
        numbers: Number of each class.
    """
    total = gold.sum(axis=-1)
    squares = total * ((gold + predicted) @ numbers**2) - 2 * (gold @ numbers) * (predicted @ numbers)
    return _one_minus(distance * total, squares)


def without_score(
    metric: str | Metric, weights: NDArray[np.int64], gold: Values, predicted: Values, positive: int = 1
) -> NDArray[np.bool_]:
    """Resamples whose F1 or correlation of classes is 0 / 0, ``(resamples,)``; `weighted_scores` gives 0 there."""
    found: NDArray[np.bool_] = np.zeros(len(weights), dtype=np.bool_)
    metric = as_metric(metric, positive)
    gold, predicted = levels_of(metric, gold, predicted)
    if gold.ndim == 2:
        if metric.positive is None:
            return found
        one = of_one_label(metric, gold), of_one_label(metric, predicted)
        return without_score(replace(metric, positive=1), weights, *one)
    if metric.spec.is_of_positive and metric.average is None:
        is_gold, is_predicted = gold == metric.positive, predicted == metric.positive
        either = {"precision": is_predicted, "recall": is_gold}.get(metric.name, is_gold | is_predicted)
        found = weights[:, either].sum(axis=1) == 0
    if metric.name == "average_precision" and metric.positive is not None:
        found = weights[:, gold == metric.positive].sum(axis=1) == 0
    if metric.name == "matthews_correlation":
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


def _accuracy(gold: Floats, predicted: Floats, right: Floats) -> Floats:
    return ratio(right.sum(axis=-1), gold.sum(axis=-1))


def _balanced_accuracy(gold: Floats, predicted: Floats, right: Floats) -> Floats:
    """Mean recall of the classes that occur among the gold labels."""
    return ratio(ratio(right, gold).sum(axis=-1), (gold > 0).sum(axis=-1).astype(np.float64))


def _cohen_kappa(gold: Floats, predicted: Floats, right: Floats) -> Floats:
    total = gold.sum(axis=-1)
    return _one_minus((total - right.sum(axis=-1)) * total, total**2 - (gold * predicted).sum(axis=-1))


def _one_minus(observed: Floats, expected: Floats) -> Floats:
    """One minus the observed disagreement over that expected by chance; NaN where chance gives none."""
    found: Floats = np.full(np.shape(observed), math.nan)
    np.divide(observed, expected, out=found, where=np.asarray(expected) > 0)
    return 1 - found


def _averaged(metric: Metric, gold: Floats, predicted: Floats, right: Floats) -> Floats:
    """That of the positive class; or of all rows (micro), or the mean over classes, as often as they are gold or once.

    The macro average is over the classes that occur among gold or predicted labels.
    """
    if metric.average is None:
        at = metric.positive
        return score_of_class(metric, gold[..., at], predicted[..., at], right[..., at])
    if metric.average == "micro":
        return score_of_class(metric, gold.sum(axis=-1), predicted.sum(axis=-1), right.sum(axis=-1))
    of_class = score_of_class(metric, gold, predicted, right)
    if metric.average == "weighted":
        return ratio((of_class * gold).sum(axis=-1), gold.sum(axis=-1))
    return ratio(of_class.sum(axis=-1), (gold + predicted > 0).sum(axis=-1).astype(np.float64))


def _matthews_correlation(gold: Floats, predicted: Floats, right: Floats) -> Floats:
    """R_K of Gorodkin 2004 (https://doi.org/10.1016/j.compbiolchem.2004.09.006), in -1 to 1, for two or more classes.

    Exactly 0 if all gold labels or all predictions are the same class. torchmetrics returns up to 0.03 or -0.03 there,
    enough to pick the checkpoint of a collapsed model.
    """
    total = gold.sum(axis=-1)
    covariance = right.sum(axis=-1) * total - (gold * predicted).sum(axis=-1)
    spread = (total**2 - (predicted**2).sum(axis=-1)) * (total**2 - (gold**2).sum(axis=-1))
    return ratio(covariance, np.sqrt(spread))


_OVER_CLASSES: dict[str, Callable[[Floats, Floats, Floats], Floats]] = {
    "accuracy": _accuracy, "balanced_accuracy": _balanced_accuracy, "cohen_kappa": _cohen_kappa,
    "matthews_correlation": _matthews_correlation,
}  # fmt: skip
