"""Cut points of labels in order, and the metrics of what they tell, against scikit-learn and SciPy."""

from dataclasses import replace
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics as sk

from glue_lit.errors import UsageError
from glue_lit.evaluation.cut_points import describe_cut_points, fit_cut_points, with_levels
from glue_lit.evaluation.formulas import score, weighted_scores
from glue_lit.evaluation.predictions import Predictions
from glue_lit.evaluation.resampling import scores_with_intervals
from glue_lit.evaluation.task_metrics import SplitMetrics
from glue_lit.tasks.custom import CustomTask, resolve_task
from glue_lit.tasks.levels import default_cut_points, level_of
from glue_lit.tasks.metrics import metrics_for
from glue_lit.tasks.spec import TaskSpec, known_cut_points

Array = np.ndarray
LEVELS = ("awful", "poor", "fair", "good", "great")


def task_of(*metrics: Any, cut_points: tuple[float, ...] = ()) -> TaskSpec:
    custom = CustomTask(text="text", kind="ordinal", labels=[*LEVELS], metrics=[*metrics] or ["accuracy"])
    task = resolve_task("ratings", custom)
    return replace(task, cut_points=cut_points or task.cut_points)


def rows(count: int, seed: int = 0) -> tuple[Array, Array]:
    """Gold levels, and scores that are shifted and shrunk."""
    draw = np.random.default_rng(seed)
    gold = draw.choice(5, count, p=[0.05, 0.1, 0.2, 0.4, 0.25])
    return gold.astype(float), (0.5 * gold + 1.2 + draw.normal(scale=0.5, size=count)).astype(np.float32)


def kappa(gold: Array, scores: Array, cuts: list[float] | tuple[float, ...]) -> float:
    levels = np.array([level_of(float(each), cuts) for each in scores])
    return float(sk.cohen_kappa_score(gold.astype(int), levels, weights="quadratic", labels=range(len(cuts) + 1)))


@pytest.mark.parametrize("count", [2, 7, 60, 2000])
def test_fitted_cut_points_are_better_than_the_middles(count: int) -> None:
    gold, scores = rows(count)
    cuts = fit_cut_points(gold, scores, 5)
    assert cuts == sorted(cuts)
    assert kappa(gold, scores, cuts) >= kappa(gold, scores, default_cut_points(5))
    order = np.random.default_rng(1).permutation(count)
    assert fit_cut_points(gold[order], scores[order], 5) == cuts  # as they come from any number of devices


@pytest.mark.parametrize("seed", range(5))
def test_no_single_cut_has_a_better_place(seed: int) -> None:
    gold, scores = rows(40, seed)
    cuts = fit_cut_points(gold, scores, 5)
    best = kappa(gold, scores, cuts)
    places = np.append(np.unique(scores).astype(float), scores.max() + 1.0)
    for number in range(4):
        others = [[*cuts[:number], place, *cuts[number + 1 :]] for place in places]
        assert max(kappa(gold, scores, other) for other in others if other == sorted(other)) <= best + 1e-12
    if seed == 0:  # of three levels, all pairs of places
        gold = np.minimum(gold, 2)
        pairs = combinations_with_replacement(places.tolist(), 2)
        found = kappa(gold, scores, fit_cut_points(gold, scores, 3))
        assert found >= max(kappa(gold, scores, pair) for pair in pairs) - 0.02  # one cut is moved at a time


def test_what_cannot_be_fitted_keeps_the_middles() -> None:
    middles = [0.5, 1.5, 2.5, 3.5]
    for gold, scores in (([], []), ([2.0, 2.0], [1.0, 3.0]), ([1.0, 2.0], [1.0, np.nan]), ([1.0, 2.0], [1.2, 1.9])):
        assert fit_cut_points(np.array(gold), np.array(scores, dtype=np.float32), 5) == middles
    constant = fit_cut_points(np.array([0.0, 4.0]), np.array([2.0, 2.0]), 5)
    assert len(constant) == 4  # equal scores have equal labels, whatever the cuts


def test_metrics_of_labels_and_of_scores() -> None:
    """Each metric of labels by the cut points, the others by the scores; with rows in batches, some unlabelled."""
    gold, scores = rows(50)
    cuts = tuple(fit_cut_points(gold, scores, 5))
    task = task_of(*metrics_for("ordinal"), cut_points=cuts)
    levels, whole = np.searchsorted(np.array(cuts), scores, side="right"), gold.astype(int)
    expected = {
        "accuracy": sk.accuracy_score(whole, levels),
        "balanced_accuracy": sk.balanced_accuracy_score(whole, levels),
        "cohen_kappa": sk.cohen_kappa_score(whole, levels),
        "quadratic_weighted_kappa": sk.cohen_kappa_score(whole, levels, weights="quadratic", labels=range(5)),
        "pearson": stats.pearsonr(gold, scores).statistic,
        "spearmanr": stats.spearmanr(gold, scores).statistic,
        "kendall": stats.kendalltau(gold, scores).statistic,
        "mae": sk.mean_absolute_error(gold, scores),
        "mse": sk.mean_squared_error(gold, scores),
        "r2": sk.r2_score(gold, scores),
    }
    assert set(expected) == set(metrics_for("ordinal"))
    assert {one.logged: score(one, gold, scores.astype(float)) for one in task.scoring} == pytest.approx(expected)
    metrics = SplitMetrics(replace(task, cut_points=default_cut_points(5)))
    hidden = torch.from_numpy(np.append(gold, np.nan)).float()
    logits = torch.from_numpy(np.append(scores, np.float32(9.0)))[:, None]
    for part in torch.arange(51).split(7):
        metrics.of("validation").add(logits[part], hidden[part], lambda *_: torch.zeros(()))
    assert metrics.fit_cut_points() == list(cuts)
    metrics.use_cut_points(task)
    found = metrics.compute(["validation"])[0]
    assert found == pytest.approx({f"val/{name}": value for name, value in (expected | {"loss": 0.0}).items()})


def test_classes_of_torchmetrics_compare_labels_or_scores() -> None:
    gold, scores = rows(60)
    cuts = (0.9, 1.5, 2.2, 2.9)
    five = {"num_classes": 5}
    entries: list[Any] = [
        {"class_path": "torchmetrics.classification.MulticlassCohenKappa", "init_args": five},
        {"class_path": "torchmetrics.F1Score", "init_args": {"task": "multiclass", "average": "macro", **five}},
        {"class_path": "torchmetrics.regression.MeanAbsoluteError"},
        {"class_path": "torchmetrics.R2Score"},
    ]
    task = task_of("accuracy", *entries, cut_points=cuts)
    SplitMetrics(task)
    levels, whole = np.searchsorted(np.array(cuts), scores, side="right"), gold.astype(int)
    expected = [
        sk.accuracy_score(whole, levels), sk.cohen_kappa_score(whole, levels),
        sk.f1_score(whole, levels, average="macro"), sk.mean_absolute_error(gold, scores), sk.r2_score(gold, scores),
    ]  # fmt: skip
    assert [score(one, gold, scores.astype(float)) for one in task.scoring] == pytest.approx(expected, abs=1e-6)
    with pytest.raises(UsageError, match="MulticlassAUROC does not take labels and gold values"):
        SplitMetrics(task_of({"class_path": "torchmetrics.classification.MulticlassAUROC", "init_args": five}))


def test_resamples_and_intervals_are_of_labels() -> None:
    gold, scores = rows(30)
    task = task_of("quadratic_weighted_kappa", "accuracy", cut_points=tuple(fit_cut_points(gold, scores, 5)))
    levels = with_levels(task, Predictions(np.arange(30), gold, scores.astype(float), None))
    assert levels.gold.dtype == levels.values.dtype == np.int64
    weights = np.random.default_rng(0).multinomial(30, np.full(30, 1 / 30), size=4)
    for one in task.scoring:
        plain = replace(one, cut_points=())
        expected = weighted_scores(plain, weights, levels.gold, levels.values)
        np.testing.assert_allclose(weighted_scores(one, weights, gold, scores.astype(float)), expected)
    own = scores_with_intervals(task.scoring, gold, scores.astype(float))
    right = scores_with_intervals(["accuracy"], levels.gold, levels.values)
    assert own["accuracy"] == right["accuracy"]
    kappa_score = own["quadratic_weighted_kappa"]
    assert kappa_score.low < kappa_score.value < kappa_score.high


def test_cut_points_are_told_where_they_are_fitted() -> None:
    assert describe_cut_points(task_of()) == ""
    assert describe_cut_points(task_of(cut_points=(0.5, 1.25, 2.5, 3.0001))) == (
        "Cut points are fitted on the rows of validation, which makes its scores a little too good: poor from 0.5, fair "
        "from 1.25, good from 2.5, great from 3."
    )


def test_damaged_cut_points_are_not_used() -> None:
    task = task_of()
    assert known_cut_points({"cut_points": [0, 1.25, 2.5, 3]}, task) == (0.0, 1.25, 2.5, 3.0)
    for damaged in (None, "0123", [1.0], [0.0, 1.0, "2", 3.0], [3.0, 2.0, 1.0, 0.0], [0.0, 1.0, 2.0, float("nan")]):
        assert known_cut_points({"cut_points": damaged}, task) == (0.5, 1.5, 2.5, 3.5)
    assert known_cut_points({}, task) == (0.5, 1.5, 2.5, 3.5)
