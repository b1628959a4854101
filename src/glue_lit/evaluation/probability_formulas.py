"""The metrics of probabilities: the value of each row, or how well the rows of a label rank above the others.

Edge cases follow scikit-learn: probabilities are kept a float64 epsilon from 0 in the log loss, AUROC is NaN for a
label that no or every row has, average precision is 0 for one that no row has. NaN probabilities give NaN.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from glue_lit.evaluation.predictions import Floats, Ints
from glue_lit.tasks.chosen_metrics import Metric

MOST_LOG_LOSS = -math.log(np.finfo(np.float64).eps)  # of a row


def row_values(metric: Metric, gold: Ints, probabilities: Floats) -> Floats:
    """The value of each row whose mean is the metric, ``(rows,)``.

    Args:
        metric: One that needs means.
        gold: Classes, ``(rows,)``.
        probabilities: ``(rows, labels)``.
    """
    of_gold = np.take_along_axis(probabilities, gold[:, None], axis=1)
    if metric.name == "log_loss":
        with np.errstate(divide="ignore"):
            return np.minimum(-np.log(of_gold[:, 0]), MOST_LOG_LOSS)
    if metric.name == "brier_score":
        distances = probabilities.copy()
        np.put_along_axis(distances, gold[:, None], of_gold - 1, axis=1)
        brier: Floats = (distances**2).sum(axis=1) / (2 if probabilities.shape[1] == 2 else 1)
        return brier
    numbers = np.arange(probabilities.shape[1])
    before = (probabilities > of_gold) | ((probabilities == of_gold) & (numbers > gold[:, None]))
    is_hit = (before.sum(axis=1) < metric.k).astype(np.float64)
    return np.where(np.isnan(probabilities).any(axis=1), math.nan, is_hit)


def ranking_scores(metric: Metric, weight: Floats, gold: Ints, probabilities: Floats) -> Floats:
    """AUROC or average precision of each resample, ``(resamples,)``: that of the positive label, or the labels' mean.

    Args:
        metric: One that needs a ranking.
        weight: How often each row occurs in each resample, ``(resamples, rows)``.
        gold: Classes, ``(rows,)``.
        probabilities: ``(rows, labels)``.
    """
    if np.isnan(probabilities).any():
        return np.full(len(weight), math.nan)
    labels = range(probabilities.shape[1]) if metric.positive is None else [metric.positive]
    found = sum(ranking_of_label(metric, weight, gold == label, probabilities[:, label]) for label in labels)
    return np.asarray(found) / len(labels)


def ranking_of_label(metric: Metric, weight: Floats, is_positive: NDArray[np.bool_], scores: Floats) -> Floats:
    """AUROC or average precision of one label in each resample, ``(resamples,)``.

    Args:
        metric: One that needs a ranking.
        weight: How often each row occurs in each resample, ``(resamples, rows)``.
        is_positive: Whether each row has the label, ``(rows,)``.
        scores: The label's probability, ``(rows,)``.
    """
    return _OF_RANKING[metric.name](*_above(weight, is_positive, scores))


def _above(weight: Floats, is_positive: NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats]:
    """Positive and negative rows with at least each different score, from the highest, ``(resamples, scores)``."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    ordered, positive = weight[:, order], is_positive[order].astype(np.float64)
    hits = np.cumsum(ordered * positive, axis=1)[:, ends]
    return hits, np.cumsum(ordered, axis=1)[:, ends] - hits


def _auroc(hits: Floats, others: Floats) -> Floats:
    """Share of the pairs of a positive and another row in which the positive has the higher score; ties are half."""
    new = np.diff(others, axis=1, prepend=0.0)
    middle = hits - np.diff(hits, axis=1, prepend=0.0) / 2
    pairs = hits[:, -1] * others[:, -1]
    found: Floats = np.full(len(hits), math.nan)
    np.divide((new * middle).sum(axis=1), pairs, out=found, where=pairs > 0)
    return found


def _average_precision(hits: Floats, others: Floats) -> Floats:
    """Precision at each score, weighted by the positive rows that it adds."""
    rows = hits + others
    precision = np.divide(hits, rows, out=np.zeros_like(hits), where=rows > 0)
    total = hits[:, -1]
    found: Floats = np.zeros(len(hits))
    new = np.diff(hits, axis=1, prepend=0.0)
    np.divide((precision * new).sum(axis=1), total, out=found, where=total > 0)
    return found


_OF_RANKING: dict[str, Callable[[Floats, Floats], Floats]] = {"auroc": _auroc, "average_precision": _average_precision}
