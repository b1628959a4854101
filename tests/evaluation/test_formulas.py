"""Weighted metrics against unweighted ones of repeated rows, and against scikit-learn."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix as sklearn_matrix
from sklearn.metrics import f1_score

from glue_lit.evaluation.formulas import confusion_matrix, metric_titles, score, weighted_scores
from glue_lit.evaluation.resampling import scores_with_intervals
from glue_lit.evaluation.task_metrics import TaskMetrics
from glue_lit.tasks.glue import get_task

CLASSES = ["accuracy", "f1", "macro_f1", "matthews_correlation"]
CORRELATIONS = ["pearson", "spearmanr"]


@pytest.mark.parametrize("positive", [0, 1])
def test_f1_is_of_the_positive_class(positive: int) -> None:
    rng = np.random.default_rng(8)
    gold, predicted = rng.integers(0, 2, 60), rng.integers(0, 2, 60)
    expected = f1_score(gold, predicted, pos_label=positive)
    assert score("f1", gold, predicted, positive) == pytest.approx(expected)
    once = np.ones((1, 60), dtype=np.int64)
    assert weighted_scores("f1", once, gold, predicted, positive) == pytest.approx([expected])
    found = scores_with_intervals(("f1",), gold, predicted, positive)["f1"]
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(expected)
    swapped = scores_with_intervals(("f1",), 1 - gold, 1 - predicted, 1 - positive)["f1"]
    assert swapped.value == pytest.approx(expected)
    assert (found.low + found.high) / 2 == pytest.approx((swapped.low + swapped.high) / 2, abs=0.01)


def test_confusion_matrix_equals_scikit_learns() -> None:
    gold, predicted = np.random.default_rng(9).integers(0, 3, (2, 80))
    found = confusion_matrix(gold, predicted, 4)  # the last label never occurs
    assert found.tolist() == sklearn_matrix(gold, predicted, labels=range(4)).tolist()


def test_title_of_f1_names_the_positive_label() -> None:
    assert metric_titles(get_task("mrpc"))["f1"] == "F1 of equivalent"
    assert metric_titles(replace(get_task("mrpc"), positive=0))["f1"] == "F1 of not_equivalent"
    assert metric_titles(get_task("mnli")) == {"accuracy": "Accuracy"}
    for letters, shown in ((40, "x" * 40), (41, "x" * 39 + "…")):
        task = replace(get_task("mrpc"), labels=("other", "x" * letters))
        assert metric_titles(task)["f1"] == f"F1 of {shown}"


@pytest.mark.parametrize("name", [*CLASSES, *CORRELATIONS])
def test_score_equals_the_metric_of_training(name: str) -> None:
    draw = np.random.default_rng(0)
    task = get_task("stsb" if name in CORRELATIONS else "sst2")
    gold, predicted = draw.normal(size=(2, 50)) if task.is_regression else draw.integers(0, 2, (2, 50))
    metrics = TaskMetrics(replace(task, metrics=(name,)))
    metrics.update(torch.from_numpy(predicted), torch.from_numpy(gold), torch.zeros(()))
    assert score(name, gold, predicted) == pytest.approx(metrics.compute()[name], abs=1e-6)


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("name", CLASSES)
def test_weighted_classification_equals_the_score_of_repeated_rows(name: str, labels: int) -> None:
    draw = np.random.default_rng(1)
    gold, predicted = draw.integers(0, labels, (2, 40))
    weights = draw.multinomial(40, np.full(40, 1 / 40), size=30)
    weights[0] = 0
    weights[0, np.flatnonzero(gold == 0)[:3]] = 5  # one gold class only
    repeated = [(np.repeat(gold, row), np.repeat(predicted, row)) for row in weights]
    assert weighted_scores(name, weights, gold, predicted) == pytest.approx([score(name, *rows) for rows in repeated])


@pytest.mark.parametrize("name", CORRELATIONS)
def test_weighted_correlation_equals_the_score_of_repeated_rows(name: str) -> None:
    draw = np.random.default_rng(2)
    gold = draw.integers(0, 5, 60) / 2  # many ties
    predicted = gold + draw.normal(size=60).round(1)
    weights = draw.multinomial(60, np.full(60, 1 / 60), size=30)
    repeated = [(np.repeat(gold, row), np.repeat(predicted, row)) for row in weights]
    assert weighted_scores(name, weights, gold, predicted) == pytest.approx([score(name, *rows) for rows in repeated])


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e9])
@pytest.mark.parametrize("name", CORRELATIONS)
def test_an_undefined_correlation_is_nan(name: str, scale: float) -> None:
    gold, predicted = np.arange(4.0) * scale, np.array([1.0, 1.0, 1.0, 2.0]) * scale
    weights = np.array([[2, 1, 1, 0], [1, 1, 1, 1]])
    found = weighted_scores(name, weights, gold, predicted)
    assert math.isnan(found[0])
    assert found[1] == pytest.approx(score(name, gold, predicted))
    assert math.isnan(score(name, gold, np.ones(4)))
    assert math.isnan(score(name, gold[:1], predicted[:1]))
