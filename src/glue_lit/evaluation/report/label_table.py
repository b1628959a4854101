"""Scores of each label of a multi-label task, and which labels are missed where others are wrongly predicted."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from glue_lit.evaluation.calibration import label_calibration_error
from glue_lit.evaluation.predictions import Ints, Predictions
from glue_lit.evaluation.resampling import Score, scores_with_intervals, share
from glue_lit.tasks.chosen_metrics import Metric
from glue_lit.tasks.spec import TaskSpec

MOST_LABELS = 30
_MOST_PAIRS = 15


@dataclass(frozen=True)
class LabelScores:
    """Scores of one label."""

    label: str
    rows: int  # that have it
    predicted: int  # rows that are predicted to have it
    threshold: float  # probability from which on it is predicted
    precision: Score
    recall: Score
    f1: Score
    average_precision: Score | None  # where there are probabilities
    calibration_error: float | None  # expected calibration error of its probability, in 0 to 1
    probability: float | None  # mean probability, which is the share of its rows if it is calibrated


@dataclass(frozen=True)
class MistakePair:
    """A label that is missed, and another that is wrongly predicted in the same rows."""

    missed: str
    predicted: str
    rows: int  # where both happens
    of: int  # rows where the first is missed


@dataclass(frozen=True)
class LabelFindings:
    """The labels of a multi-label task, the most frequent first, and their mistakes."""

    labels: list[LabelScores]
    total: int  # number of labels of the task, of which at most `MOST_LABELS` are here
    pairs: list[MistakePair]  # the most frequent ones


def label_findings(task: TaskSpec, predicted: Predictions) -> LabelFindings:
    """Score the most frequent labels, and count the mistakes that occur together."""
    rows = predicted.gold.sum(axis=0, dtype=np.int64)
    often = np.argsort(-rows, kind="stable")[:MOST_LABELS]
    labels = [_label_scores(task, predicted, int(at)) for at in often]
    return LabelFindings(labels, len(task.labels), _mistake_pairs(task, predicted))


def _label_scores(task: TaskSpec, predicted: Predictions, at: int) -> LabelScores:
    gold, values = predicted.gold[:, [at]], predicted.values[:, [at]]
    probabilities = None if predicted.probabilities is None else predicted.probabilities[:, [at]]
    metrics = [Metric("f1", "f1", 0)]
    if probabilities is not None:
        metrics.append(Metric("average_precision", "average_precision", 0))
    scores = scores_with_intervals(metrics, gold, values, probabilities=probabilities)
    both, has_label, has_prediction = (int(part.sum()) for part in (gold * values, gold, values))
    return LabelScores(
        task.labels[at],
        has_label,
        has_prediction,
        task.threshold if predicted.thresholds is None else float(predicted.thresholds[at]),
        share(both, has_prediction),
        share(both, has_label),
        scores["f1"],
        scores.get("average_precision"),
        None if probabilities is None else label_calibration_error(probabilities[:, 0], gold[:, 0]),
        None if probabilities is None else float(probabilities.mean()),
    )


def _mistake_pairs(task: TaskSpec, predicted: Predictions) -> list[MistakePair]:
    """The most frequent pairs; a matrix of all labels by all labels would take 800 MB for 10,000 of them."""
    missed = sparse.csc_array((predicted.gold > 0) & (predicted.values == 0), dtype=np.int32)
    wrong = sparse.csr_array((predicted.gold == 0) & (predicted.values > 0), dtype=np.int32)
    of: Ints = missed.sum(axis=0)
    pairs = (missed.T @ wrong).tocoo()
    first, second = pairs.coords
    order = np.lexsort((second, first, -pairs.data))[:_MOST_PAIRS]
    return [
        MistakePair(task.labels[first[n]], task.labels[second[n]], int(pairs.data[n]), int(of[first[n]])) for n in order
    ]
