"""The metrics of rows with any number of labels, over weighted rows as in `formulas`.

Edge cases follow scikit-learn: the macro average is over all labels, division by zero gives 0, AUROC is NaN for a label
that no or every row has, average precision is 0 for one that no row has.
"""

import math
from collections.abc import Callable

import numpy as np

from glue_lit.evaluation.counted_scores import ratio, score_of_class
from glue_lit.evaluation.predictions import Floats, Ints, Values
from glue_lit.evaluation.probability_formulas import MOST_LOG_LOSS, ranking_of_label
from glue_lit.tasks.chosen_metrics import Metric


def of_one_label(metric: Metric, values: Values) -> Ints:
    """Whether each row has the label that the metric names, ``(rows,)``, from ``(rows, labels)``."""
    return values[:, metric.positive or 0].astype(np.int64)


def weighted_multi_label_scores(
    metric: Metric, weight: Floats, gold: Values, predicted: Values, probabilities: Floats | None
) -> Floats:
    """A metric of each resample, ``(resamples,)``; NaN where undefined, or without the probabilities that it needs.

    Args:
        metric: The metric; none of torchmetrics.
        weight: How often each row occurs in each resample, ``(resamples, rows)``.
        gold: 1 where a row has a label, else 0, ``(rows, labels)``.
        predicted: The same of the predicted labels.
        probabilities: ``(rows, labels)``.
    """
    needs_probabilities = metric.needs in ("means", "ranking")
    if needs_probabilities and (probabilities is None or np.isnan(probabilities).any()):
        return np.full(len(weight), math.nan)
    if metric.needs == "ranking" and probabilities is not None:
        labels = range(gold.shape[1]) if metric.positive is None else [metric.positive]
        of_labels = (ranking_of_label(metric, weight, gold[:, at] > 0, probabilities[:, at]) for at in labels)
        return np.asarray(sum(of_labels)) / len(labels)
    if metric.needs == "counts":
        counts = _weighted_counts(metric, weight, gold, predicted)
        return multi_label_score_of_counts(metric, *counts)
    values = row_means(metric, gold, predicted, probabilities)
    mean: Floats = weight @ values / weight.sum(axis=1)
    return mean


def _weighted_counts(metric: Metric, weight: Floats, gold: Values, predicted: Values) -> tuple[Floats, Floats, Floats]:
    """How often each label is gold, predicted and both; one column for the micro average, or for one label."""
    both = gold * predicted
    if metric.average == "micro":
        gold, predicted, both = (part.sum(axis=1, keepdims=True, dtype=np.int64) for part in (gold, predicted, both))
    elif metric.positive is not None:
        gold, predicted, both = (part[:, [metric.positive]] for part in (gold, predicted, both))
    of_gold, of_predicted, of_both = (weight @ part.astype(np.float64) for part in (gold, predicted, both))
    return of_gold, of_predicted, of_both


def multi_label_score_of_counts(metric: Metric, gold: Floats, predicted: Floats, both: Floats) -> Floats:
    """Precision, recall, F1 or F-beta from how often each label is gold, predicted, and both, each ``(..., labels)``.

    A single column is that of the one label that the metric names.
    """
    if metric.positive is not None:
        at = 0 if gold.shape[-1] == 1 else metric.positive
        return score_of_class(metric, gold[..., at], predicted[..., at], both[..., at])
    if metric.average == "micro":
        return score_of_class(metric, gold.sum(axis=-1), predicted.sum(axis=-1), both.sum(axis=-1))
    of_label = score_of_class(metric, gold, predicted, both)
    if metric.average == "weighted":
        return ratio((of_label * gold).sum(axis=-1), gold.sum(axis=-1))
    mean: Floats = of_label.mean(axis=-1)
    return mean


def row_means(metric: Metric, gold: Values, predicted: Values, probabilities: Floats | None) -> Floats:
    """The value of each row whose mean is the metric, ``(rows,)``; see `weighted_multi_label_scores`."""
    if metric.needs == "rows":
        return _OF_ROW[metric.name](metric, gold, predicted)
    assert probabilities is not None
    values = _OF_PROBABILITIES[metric.name](gold, probabilities)
    return np.where(np.isnan(probabilities).any(axis=1), math.nan, values)


def _of_samples(metric: Metric, gold: Values, predicted: Values) -> Floats:
    sums = (part.sum(axis=1).astype(np.float64) for part in (gold, predicted, gold * predicted))
    return score_of_class(metric, *sums)


def _subset_accuracy(metric: Metric, gold: Values, predicted: Values) -> Floats:
    right: Floats = (gold == predicted).all(axis=1).astype(np.float64)
    return right


def _hamming_loss(metric: Metric, gold: Values, predicted: Values) -> Floats:
    shares: Floats = (gold != predicted).mean(axis=1)
    return shares


def _log_loss(gold: Values, probabilities: Floats) -> Floats:
    of_gold = np.where(gold > 0, probabilities, 1 - probabilities)
    with np.errstate(divide="ignore"):
        losses: Floats = np.minimum(-np.log(of_gold), MOST_LOG_LOSS).mean(axis=1)
    return losses


def _brier_score(gold: Values, probabilities: Floats) -> Floats:
    squares: Floats = ((probabilities - gold) ** 2).mean(axis=1)
    return squares


def _label_ranking(gold: Values, probabilities: Floats) -> Floats:
    """Of each gold label, the share of gold ones among the labels that are at least as probable; their mean."""
    return np.array([_label_ranking_of_row(row > 0, of) for row, of in zip(gold, probabilities, strict=True)])


def _label_ranking_of_row(is_gold: Ints, probabilities: Floats) -> float:
    if is_gold.all() or not is_gold.any():
        return 1.0
    of_gold = probabilities[is_gold]
    ranks = (np.searchsorted(np.sort(-part), -of_gold, side="right") for part in (of_gold, probabilities))
    return float(np.divide(*ranks).mean())


_OF_ROW: dict[str, Callable[[Metric, Values, Values], Floats]] = {
    "subset_accuracy": _subset_accuracy, "hamming_loss": _hamming_loss, "precision": _of_samples,
    "recall": _of_samples, "f1": _of_samples, "fbeta": _of_samples,
}  # fmt: skip
_OF_PROBABILITIES: dict[str, Callable[[Values, Floats], Floats]] = {
    "log_loss": _log_loss, "brier_score": _brier_score, "label_ranking_average_precision": _label_ranking,
}  # fmt: skip
