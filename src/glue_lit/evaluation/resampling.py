"""Intervals: how much a score would vary with other rows of the same kind.

Accuracy and F1 follow from a share of rows, so they have Wilson's interval, which holds for few rows and for perfect
scores, too: Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference". The other metrics have
the bootstrap's: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", resampling of rows with replacement
(chapter 6), and the percentile interval (chapter 13).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from statistics import NormalDist

import numpy as np

from glue_lit.evaluation.cut_points import levels_of
from glue_lit.evaluation.formulas import as_metric, score, weighted_scores, without_score
from glue_lit.evaluation.multi_label_formulas import of_one_label, row_means
from glue_lit.evaluation.predictions import Floats, Ints, Predictions, Values
from glue_lit.tasks.chosen_metrics import Metric
from glue_lit.tasks.glue import TaskSpec, log_prefix

LEVEL = 0.95
_MOST_RESAMPLES, _LEAST_RESAMPLES = 10_000, 1_000
_DRAWS = 20_000_000  # random numbers in all: the more distinct rows, the fewer resamples
_DRAWS_AT_ONCE = 2_000_000  # random numbers in memory at a time
_MOST_WORK = 200_000_000  # rows to resample, times their cost
_SEED = 20_180_420  # fixed, so that reports are reproducible


@dataclass(frozen=True)
class Score:
    """A score and its 95 % interval; NaN where undefined."""

    value: float
    low: float
    high: float


def resampled_scores(
    metrics: Sequence[str | Metric],
    gold: Values,
    predictions: Sequence[Values],
    positive: int = 1,
    probabilities: Sequence[Floats] = (),
) -> Floats:
    """Metrics of resamples of the rows, ``(metrics, runs, resamples)``; NaN where undefined.

    Identical rows are drawn together as one multinomial count. In classification, pairs of gold and predicted class are
    few, which makes this a thousand times faster than drawing row by row.

    Args:
        metrics: The metrics; either all or none of them need probabilities.
        gold: Classes or scores, ``(rows,)``.
        predictions: Predicted classes or scores of each run, ``(rows,)``; all runs are scored on the same resamples.
        positive: The class of F1, of metrics given by name.
        probabilities: Those of each run, ``(rows, labels)``, if the metrics need them.
    """
    chosen = [as_metric(metric, positive) for metric in metrics]
    counts = np.ones(len(gold), dtype=np.int64)
    if not probabilities:
        rows, counts = np.unique(np.stack([gold, *predictions], axis=1), axis=0, return_counts=True)
        gold, *predictions = np.ascontiguousarray(np.moveaxis(rows, 1, 0))
    runs = [*zip_longest(predictions, probabilities)]
    cost = max(_cost(metric, next(iter(probabilities), None), _labels_of(gold)) for metric in chosen)
    scorers = [[_scorer(metric, gold, *run) for run in runs] for metric in chosen]
    left = max(_LEAST_RESAMPLES, min(_MOST_RESAMPLES, _DRAWS // (cost * len(counts))))
    generator, found = np.random.default_rng(_SEED), []
    while left:
        size = min(left, max(1, _DRAWS_AT_ONCE // len(counts)))
        weights = generator.multinomial(counts.sum(), counts / counts.sum(), size=size)
        found.append([[scorer(weights) for scorer in of_runs] for of_runs in scorers])
        left -= size
    return np.concatenate(found, axis=-1)


def _scorer(metric: Metric, gold: Values, predicted: Values, probabilities: Floats | None) -> Callable[[Ints], Floats]:
    """Computes the metric of some resamples, ``(resamples,)``, from how often each row was drawn."""
    if gold.ndim == 2 and metric.needs in ("rows", "means"):  # the value of each row is the same in all resamples
        values = row_means(metric, gold, predicted, probabilities)
        return lambda weights: weights @ values / weights.sum(axis=1)

    def scores(weights: Ints) -> Floats:
        found = weighted_scores(metric, weights, gold, predicted, probabilities=probabilities)
        return np.where(without_score(metric, weights, gold, predicted), math.nan, found)

    return scores


def _labels_of(gold: Values) -> int:
    """Number of labels that are compared in each row."""
    return 1 if gold.ndim == 1 else gold.shape[1]


def why_no_interval(metric: Metric, rows: int, probabilities: Floats | None, labels: int = 1) -> str:
    """Why the rows of a metric are not resampled, in words; empty if they are.

    Args:
        metric: The metric.
        rows: Number of rows.
        probabilities: ``(rows, labels)``, if known.
        labels: Number of labels that are compared in each row.
    """
    if metric.class_path:
        return "a metric of torchmetrics is not resampled"
    if _needs_probabilities(metric) and probabilities is None:
        return "these predictions have no probabilities"
    is_much = _LEAST_RESAMPLES * rows * _cost(metric, probabilities, labels) > _MOST_WORK
    return "to resample so many rows takes too long" if is_much else ""


def _needs_probabilities(metric: Metric) -> bool:
    return metric.needs in ("means", "ranking")


def _cost(metric: Metric, probabilities: Floats | None, labels: int) -> int:
    """How many times as long as that of other metrics a resample of the rows takes, about."""
    if metric.name == "kendall":
        return 10
    if labels > 1 and metric.average in ("macro", "weighted"):
        return 1 + labels // 50
    if metric.spec.needs != "ranking" or probabilities is None:
        return 1
    return 2 * (probabilities.shape[1] if metric.positive is None else 1)


def interval(scores: Floats) -> tuple[float, float]:
    """The percentile interval of ``(resamples,)`` scores; NaN where more than a tenth of them are undefined."""
    known = scores[~np.isnan(scores)]
    if not len(known) or len(known) < 0.9 * len(scores):
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


def scores_with_intervals(
    metrics: Sequence[str | Metric], gold: Values, predicted: Values, positive: int = 1,
    probabilities: Floats | None = None,
) -> dict[str, Score]:  # fmt: skip
    """Metrics by name, each with its 95 % interval; ``positive`` is the class of F1, of metrics given by name.

    An interval is NaN where the rows cannot tell it (if many resamples have no score, or if all have the same one), or
    where `why_no_interval` says why.
    """
    chosen = [as_metric(metric, positive) for metric in metrics]
    labels = _labels_of(gold)
    drawn = [
        one for one in chosen if not _has_share(one) and not why_no_interval(one, len(gold), probabilities, labels)
    ]
    ends = {one.logged: (math.nan, math.nan) for one in chosen}
    alike: dict[tuple[bool, int], list[Metric]] = {}
    for one in drawn:
        alike.setdefault((_needs_probabilities(one), _cost(one, probabilities, labels)), []).append(one)
    for (needs, _), part in alike.items():
        given = [probabilities] if needs and probabilities is not None else []
        found = resampled_scores(part, gold, [predicted], probabilities=given)
        for one, scores in zip(part, found[:, 0], strict=True):
            low, high = interval(scores)
            ends[one.logged] = (low, high) if low < high else ends[one.logged]
    for one in filter(_has_share, chosen):
        ends[one.logged] = _share_interval(one, gold, predicted)
    return {
        one.logged: Score(score(one, gold, predicted, probabilities=probabilities), *ends[one.logged]) for one in chosen
    }


def _has_share(metric: Metric) -> bool:
    return metric.name in _OF_SHARES and metric.average is None


def _share_interval(metric: Metric, gold: Values, predicted: Values) -> tuple[float, float]:
    positive = 1 if metric.positive is None else metric.positive
    gold, predicted = levels_of(metric, gold, predicted)
    if gold.ndim == 2 and metric.positive is not None:
        gold, predicted, positive = of_one_label(metric, gold), of_one_label(metric, predicted), 1
    return _OF_SHARES[metric.name](gold, predicted, positive)


def _accuracy_interval(gold: Values, predicted: Values, positive: int) -> tuple[float, float]:
    is_right = (gold == predicted).reshape(len(gold), -1).all(axis=1)
    found = share(int(is_right.sum()), len(gold))
    return found.low, found.high


def _f1_interval(gold: Values, predicted: Values, positive: int) -> tuple[float, float]:
    """F1 is 2 j / (1 + j), where j is the share of hits among the rows that are gold or predicted positive."""
    either = (gold == positive) | (predicted == positive)
    found = share(int((gold == predicted)[either].sum()), int(either.sum()))
    return 2 * found.low / (1 + found.low), 2 * found.high / (1 + found.high)


_OF_SHARES = {"accuracy": _accuracy_interval, "subset_accuracy": _accuracy_interval, "f1": _f1_interval}


def score_intervals(task: TaskSpec, predicted: Mapping[str, Predictions]) -> dict[str, tuple[float, float]]:
    """The 95 % intervals of an evaluation's metrics by their logged names, the same as in a report.

    Args:
        task: Gives the metrics.
        predicted: The labelled rows of each split.
    """
    return {
        f"{log_prefix(split)}/{name}": (score.low, score.high)
        for split, rows in predicted.items()
        for name, score in scores_with_intervals(
            task.scoring, rows.gold, rows.values, probabilities=rows.probabilities
        ).items()
    }
