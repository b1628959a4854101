"""Scores of each label of a multi-label task, mistakes that occur together, and the rows that are shown."""

import numpy as np
import pytest
from scipy import stats
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score

from glue_lit.evaluation.calibration import label_calibration_error
from glue_lit.evaluation.predictions import Predictions
from glue_lit.evaluation.reliability import label_reliability
from glue_lit.evaluation.report.examples import mistakes, uncertain
from glue_lit.evaluation.report.label_table import MOST_LABELS, label_findings
from glue_lit.evaluation.report.texts import Texts
from glue_lit.tasks.custom import CustomTask, resolve_task
from glue_lit.tasks.spec import TaskSpec


def task_of(labels: int) -> TaskSpec:
    names = [f"label{number}" for number in range(labels)]
    return resolve_task("own", CustomTask("text", kind="multi_label", labels=names, metrics=["micro_f1"]))


def random_rows(rows: int, labels: int, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    gold = (rng.random((rows, labels)) < np.linspace(0.5, 0.1, labels)).astype(np.int8)
    probabilities = np.clip(0.3 * gold + 0.7 * rng.random((rows, labels)), 0.001, 0.999)
    thresholds = np.linspace(0.3, 0.7, labels)
    predicted = (probabilities >= thresholds).astype(np.int8)
    return Predictions(np.arange(rows), gold, predicted, probabilities, thresholds=thresholds)


def test_scores_of_a_label_equal_scikit_learn() -> None:
    rows = random_rows(200, 4)
    found = label_findings(task_of(4), rows)
    often = np.argsort(-rows.gold.sum(axis=0), kind="stable").tolist()
    assert [one.label for one in found.labels] == [f"label{at}" for at in often]
    for at, one in zip(often, found.labels, strict=True):
        gold, predicted = rows.gold[:, at], rows.values[:, at]
        assert rows.probabilities is not None
        assert one.average_precision is not None
        of = rows.probabilities[:, at]
        assert (one.rows, one.predicted) == (gold.sum(), predicted.sum())
        assert one.threshold == pytest.approx([0.3, 0.3 + 0.4 / 3, 0.7 - 0.4 / 3, 0.7][at])
        assert one.precision.value == pytest.approx(precision_score(gold, predicted))
        assert one.recall.value == pytest.approx(recall_score(gold, predicted))
        assert one.f1.value == pytest.approx(f1_score(gold, predicted))
        assert one.average_precision.value == pytest.approx(average_precision_score(gold, of))
        wilson = stats.binomtest(int((gold * predicted).sum()), int(gold.sum())).proportion_ci(method="wilson")
        assert (one.recall.low, one.recall.high) == pytest.approx((wilson.low, wilson.high))
        for score in (one.precision, one.f1, one.average_precision):
            assert score.low < score.value <= score.high
        assert one.probability == pytest.approx(of.mean())


def test_calibration_of_labels() -> None:
    rows = random_rows(400, 3, seed=1)
    assert rows.probabilities is not None
    flat, gold = rows.probabilities.ravel(), rows.gold.ravel()
    found = label_reliability(rows.probabilities, rows.gold)
    shares, means = calibration_curve(gold, flat, n_bins=15)
    assert [one.accuracy.value for one in found.bins] == pytest.approx(shares)
    assert [one.confidence for one in found.bins] == pytest.approx(means)
    expected = sum(one.rows * abs(one.accuracy.value - one.confidence) for one in found.bins) / len(flat)
    assert found.error == pytest.approx(expected)
    assert label_calibration_error(np.array([0.2] * 5), np.array([1, 0, 0, 0, 0])) == pytest.approx(0)
    assert label_calibration_error(np.array([0.0, 1.0]), np.array([1, 0])) == 1


def test_mistakes_that_occur_together() -> None:
    gold = np.array([[1, 0, 0], [1, 0, 0], [1, 0, 1], [0, 1, 0]], dtype=np.int8)
    predicted = np.array([[0, 1, 0], [0, 1, 1], [0, 0, 1], [0, 1, 0]], dtype=np.int8)
    found = label_findings(task_of(3), Predictions(np.arange(4), gold, predicted, None)).pairs
    assert [(pair.missed, pair.predicted, pair.rows, pair.of) for pair in found] == [
        ("label0", "label1", 2, 3),
        ("label0", "label2", 1, 3),
    ]


def test_labels_without_rows_and_without_mistakes() -> None:
    gold = np.zeros((3, 2), dtype=np.int8)
    found = label_findings(task_of(2), Predictions(np.arange(3), gold, gold, np.full((3, 2), 0.1)))
    assert np.isnan(found.labels[0].precision.value)
    assert found.labels[0].f1.value == 0
    assert found.pairs == []


def test_of_many_labels_the_most_frequent_are_shown() -> None:
    rng = np.random.default_rng(2)
    gold = np.zeros((300, 5000), dtype=np.int8)
    gold[np.arange(300), rng.integers(0, 5000, 300)] = 1
    gold[:50, 4321] = 1
    found = label_findings(task_of(5000), Predictions(np.arange(300), gold, np.roll(gold, 1, axis=1), None))
    assert (len(found.labels), found.total) == (MOST_LABELS, 5000)
    assert (found.labels[0].label, found.labels[0].rows) == ("label4321", 50)
    assert (found.pairs[0].missed, found.pairs[0].predicted, found.pairs[0].rows) == ("label4321", "label4322", 50)


def test_rows_that_are_shown() -> None:
    gold = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]], dtype=np.int8)
    probabilities = np.array([[0.4, 0.1, 0.9], [0.9, 0.8, 0.1], [0.52, 0.2, 0.1]])
    task, values = task_of(3), (probabilities >= 0.5).astype(np.int8)
    rows = Predictions(np.array([5, 6, 8]), gold, values, probabilities, thresholds=np.array([0.5, 0.75, 0.5]))
    texts = Texts([("a",), ("b",), ("c",)])
    found = mistakes(task, rows, texts)
    assert [(row.idx, row.gold, row.predicted, row.about) for row in found] == [
        (5, "label0", "label2", "wrong: label2 (0.900)"),
        (8, "(none)", "label0", "wrong: label0 (0.520)"),
    ]
    assert [(row.idx, row.about) for row in uncertain(task, rows, texts)][:2] == [
        (8, "label0 0.520, threshold 0.500"),
        (6, "label1 0.800, threshold 0.750"),
    ]
