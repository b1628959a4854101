"""Metrics of the user's choice against scikit-learn and SciPy, on random and degenerate input, and over processes."""

import inspect
import json
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import warm
from scipy import stats
from sklearn import metrics as sk
from torch import Tensor

from glue_lit.errors import UsageError
from glue_lit.evaluation.formulas import score, weighted_scores
from glue_lit.evaluation.predictions import Predictions
from glue_lit.evaluation.resampling import scores_with_intervals, why_no_interval
from glue_lit.evaluation.significance import compare
from glue_lit.evaluation.task_metrics import SplitMetrics, TaskMetrics
from glue_lit.tasks.custom import CustomTask, resolve_task
from glue_lit.tasks.metric_entries import Target, parse_metric
from glue_lit.tasks.metrics import metrics_for
from glue_lit.tasks.spec import TaskSpec

Array = np.ndarray
Reference = Callable[[Array, Array, Array], float]  # of gold labels, predicted labels and probabilities


def _averages(name: str, function: Callable[..., Any], **more: Any) -> dict[str, Reference]:
    def of(average: str) -> Reference:
        return lambda g, p, q: function(g, p, average=average, zero_division=0, **more)

    return {f"{average}_{name}": of(average) for average in ("micro", "macro", "weighted")} | {
        f"{name}(positive=1)": lambda g, p, q: function(g, p, labels=[1], average="macro", zero_division=0, **more)
    }


def _by_label(function: Callable[..., Any]) -> Reference:
    """The mean over labels; of two, that of the second."""
    return lambda g, p, q: float(
        np.mean([function(g == label, q[:, label]) for label in (range(q.shape[1]) if q.shape[1] > 2 else [1])])
    )


OF_LABELS: dict[str, Reference] = {
    **_averages("precision", sk.precision_score),
    **_averages("recall", sk.recall_score),
    **_averages("f1", sk.f1_score),
    "fbeta(beta=2, average=macro)": lambda g, p, q: sk.fbeta_score(g, p, beta=2, average="macro", zero_division=0),
    "fbeta(beta=0.5, positive=1)": lambda g, p, q: sk.fbeta_score(
        g, p, beta=0.5, labels=[1], average="macro", zero_division=0
    ),
    "accuracy": lambda g, p, q: sk.accuracy_score(g, p),
    "balanced_accuracy": lambda g, p, q: sk.balanced_accuracy_score(g, p),
    "matthews_correlation": lambda g, p, q: sk.matthews_corrcoef(g, p),
    "cohen_kappa": lambda g, p, q: sk.cohen_kappa_score(g, p),
    "quadratic_weighted_kappa": lambda g, p, q: sk.cohen_kappa_score(
        g, p, weights="quadratic", labels=range(q.shape[1])
    ),
    "auroc": _by_label(sk.roc_auc_score),
    "average_precision": _by_label(sk.average_precision_score),
    "auroc(positive=0)": lambda g, p, q: sk.roc_auc_score(g == 0, q[:, 0]),
    "log_loss": lambda g, p, q: sk.log_loss(g, q, labels=range(q.shape[1])),
    "brier_score": lambda g, p, q: float(((q - np.eye(q.shape[1])[g]) ** 2).sum(1).mean()) / (1 + (q.shape[1] == 2)),
    "top_k_accuracy(k=1)": lambda g, p, q: sk.top_k_accuracy_score(g, q, k=1, labels=range(q.shape[1])),
    "top_k_accuracy(k=2)": lambda g, p, q: sk.top_k_accuracy_score(g, q, k=2, labels=range(q.shape[1])),
}
OF_SCORES: dict[str, Callable[[Array, Array], float]] = {
    "pearson": lambda g, p: stats.pearsonr(g, p).statistic,
    "spearmanr": lambda g, p: stats.spearmanr(g, p).statistic,
    "kendall": lambda g, p: stats.kendalltau(g, p).statistic,
    "mae": sk.mean_absolute_error,
    "mse": sk.mean_squared_error,
    "r2": sk.r2_score,
}


def task_of(labels: int, *metrics: Any) -> TaskSpec:
    """A task with so many labels, 0 for regression."""
    names = [str(label) for label in range(labels)]
    kind: Any = "classification" if labels else "regression"
    return resolve_task("own", CustomTask(text="text", kind=kind, labels=names or None, metrics=[*metrics]))


def rows_of(labels: int, seed: int) -> Iterator[tuple[Array, Array, Array]]:
    """Gold labels, logits and their probabilities: random, tied, one label, one prediction, a label that never occurs."""
    rng = np.random.default_rng(seed)
    for size in (1, 7, 40):
        for case in range(6):
            gold = rng.integers(0, labels, size)
            logits = rng.normal(size=(size, labels)).astype(np.float32) * 3
            if case == 1:
                logits = logits.round()  # ties
            if case == 2:
                gold[:] = rng.integers(0, labels)
            if case == 3:
                logits[:] = logits[0]
            if case == 4:
                gold = np.minimum(gold, labels - 2)
            if case == 5:
                logits = np.eye(labels, dtype=np.float32)[gold] * 200  # probabilities of 0 and 1
            probabilities = torch.from_numpy(logits).double().softmax(dim=1).numpy()
            yield gold, logits, probabilities


def reference_of(function: Callable[..., Any], *values: Array) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rows that define no score
        try:
            return float(function(*values))
        except ValueError:  # of older versions, or of a single row
            return math.nan


def in_batches(task: TaskSpec, gold: Array, logits: Array, batches: Sequence[int]) -> dict[str, float]:
    metrics = TaskMetrics(task)
    for part, of_part in zip(np.split(logits, batches), np.split(gold, batches), strict=True):
        metrics.add(torch.from_numpy(part), torch.from_numpy(of_part), lambda one, two: torch.zeros(()))
    return metrics.compute()


def test_every_metric_is_compared() -> None:
    entries = [parse_metric(name, Target(None, is_known=False)).name for name in (*OF_LABELS, *OF_SCORES)]
    assert set(entries) == {*metrics_for("classification"), *metrics_for("regression")}


@pytest.mark.parametrize("labels", [2, 3, 4])
def test_metrics_of_labels_equal_scikit_learn(labels: int) -> None:
    entries = [name for name in OF_LABELS if labels > 2 or "top_k" not in name]
    task = task_of(labels, *entries)
    for gold, logits, probabilities in rows_of(labels, seed=labels):
        predicted = logits.argmax(axis=1)
        found = in_batches(task, gold, logits, [1, 3] if len(gold) > 3 else [])
        for entry, metric in zip(entries, task.scoring, strict=True):
            expected = reference_of(OF_LABELS[entry], gold, predicted, probabilities)
            exact = score(metric, gold, predicted, probabilities=probabilities)
            assert exact == pytest.approx(expected, abs=1e-9, nan_ok=True), (entry, gold, logits)
            assert found[metric.logged] == pytest.approx(exact, abs=2e-6, nan_ok=True), (entry, gold, logits)


def test_metrics_of_scores_equal_scipy_and_scikit_learn() -> None:
    task, rng = task_of(0, *OF_SCORES), np.random.default_rng(0)
    for size in (2, 5, 50):
        for case in range(5):
            gold = rng.normal(size=size).round(case)
            predicted = (gold + rng.normal(size=size)).round(case + 1).astype(np.float32)
            if case == 3:
                gold[:] = 2.5
            if case == 4:
                predicted[:] = gold[0]
            found = in_batches(task, gold.astype(np.float32), predicted[:, None], [1])
            gold = gold.astype(np.float32).astype(np.float64)
            for name, function in OF_SCORES.items():
                expected = reference_of(function, gold, predicted.astype(np.float64))
                assert found[name] == pytest.approx(expected, abs=1e-9, nan_ok=True), (name, gold, predicted)


def test_weighted_rows_count_as_often_as_repeated_ones() -> None:
    rng = np.random.default_rng(1)
    for labels in (2, 3):
        entries = [name for name in OF_LABELS if labels > 2 or "top_k" not in name]
        for gold, logits, probabilities in rows_of(labels, seed=9):
            weights = rng.multinomial(len(gold), np.full(len(gold), 1 / len(gold)), size=3)
            predicted = logits.argmax(axis=1)
            for metric in task_of(labels, *entries).scoring:
                found = weighted_scores(metric, weights, gold, predicted, probabilities=probabilities)
                rows = [
                    (np.repeat(gold, w), np.repeat(predicted, w), np.repeat(probabilities, w, axis=0)) for w in weights
                ]
                expected = [score(metric, g, p, probabilities=q) for g, p, q in rows]
                assert found == pytest.approx(expected, abs=1e-9, nan_ok=True), metric
    gold = rng.normal(size=30).round(1)
    predicted = (gold + rng.normal(size=30)).round(1)
    weights = rng.multinomial(30, np.full(30, 1 / 30), size=5)
    for metric in task_of(0, *OF_SCORES).scoring:
        expected = [score(metric, np.repeat(gold, w), np.repeat(predicted, w)) for w in weights]
        assert weighted_scores(metric, weights, gold, predicted) == pytest.approx(expected, abs=1e-9)


def test_unlabelled_rows_and_nan_are_not_scored() -> None:
    names = ("log_loss", "brier_score", "top_k_accuracy(k=1)", "auroc", "average_precision", "quadratic_weighted_kappa")
    task = task_of(3, *names)
    gold, logits, _ = list(rows_of(3, seed=4))[-6]
    expected = in_batches(task, gold, logits, [])
    hidden = np.concatenate([np.full(5, -1), gold]), np.concatenate([np.full((5, 3), np.float32(9)), logits])
    assert in_batches(task, *hidden, [3, 20]) == pytest.approx(expected, abs=1e-7)
    assert in_batches(task, np.full(4, -1), logits[:4], []) == {}
    broken = logits.copy()
    broken[1] = math.nan
    found = in_batches(task, gold, broken, [])
    assert all(math.isnan(found[one.logged]) for one in task.scoring[:5])
    scores = in_batches(task_of(0, *OF_SCORES), gold.astype(np.float32), broken[:, :1], [])
    assert all(math.isnan(scores[name]) for name in OF_SCORES)


RANK = """
import json, sys
import numpy as np, torch
import torch.distributed as dist
from glue_lit.evaluation.task_metrics import TaskMetrics
from glue_lit.tasks.custom import CustomTask, resolve_task
from glue_lit.tasks.spec import TaskSpec
from collections.abc import Iterator, Sequence
from typing import Any
Array = np.ndarray

{functions}

rank, world = int(sys.argv[1]), int(sys.argv[2])
dist.init_process_group("gloo", init_method="file://" + {store!r} + str(world), rank=rank, world_size=world)
found = []
for labels, entries in {entries!r}.items():
    gold, logits, _ = list(rows_of(labels or 3, seed=5))[-6]
    if not labels:
        gold, logits = gold.astype(np.float32), logits[:, :1]
    start = [0, 7, 8, len(gold)] if world == 3 else [0, 11, len(gold)]
    mine = slice(start[rank], start[rank + 1])
    found.append(in_batches(task_of(labels, *entries), gold[mine], logits[mine], [1, 5]))
dist.destroy_process_group()
print(json.dumps(found))
"""
TORCHMETRIC = {"class_path": "torchmetrics.classification.MulticlassCalibrationError", "init_args": {"num_classes": 3}}


def test_two_and_three_processes_give_the_values_of_one(tmp_path: Path) -> None:
    entries: dict[int, list[Any]] = {3: [*OF_LABELS, TORCHMETRIC], 0: [*OF_SCORES]}
    functions = "\n".join(map(inspect.getsource, (task_of, rows_of, in_batches)))
    script = RANK.format(functions=functions, store=str(tmp_path / "store"), entries=entries)
    ranks = [warm.start("-c", script, rank, world) for world in (2, 3) for rank in range(world)]
    done = [rank.wait(120) for rank in ranks]
    assert [rank.returncode for rank in done] == [0] * 5, done
    results = [json.loads(rank.stdout.splitlines()[-1]) for rank in done]
    assert results[0] == results[1]  # or the processes would pick different checkpoints
    assert results[2] == results[3] == results[4]
    gold, logits, _ = list(rows_of(3, seed=5))[-6]
    alone = [in_batches(task_of(3, *entries[3]), gold, logits, [])]
    alone.append(in_batches(task_of(0, *entries[0]), gold.astype(np.float32), logits[:, :1], []))
    for found in (results[0], results[2]):
        for values, expected in zip(found, alone, strict=True):
            assert values == pytest.approx(expected, abs=1e-6)


def test_every_metric_has_an_interval_of_resamples() -> None:
    gold, logits, probabilities = list(rows_of(3, seed=6))[-6]
    task = task_of(3, *OF_LABELS, TORCHMETRIC)
    found = scores_with_intervals(task.scoring, gold, logits.argmax(axis=1), probabilities=probabilities)
    *usual, last = found.values()
    assert all(one.low < one.value < one.high for one in usual)
    assert math.isnan(last.low)
    assert why_no_interval(task.scoring[-1], 40, probabilities) == "a metric of torchmetrics is not resampled"
    found = scores_with_intervals(task.scoring, gold, logits.argmax(axis=1))
    assert math.isnan(found["auroc"].value)
    assert why_no_interval(task.metric("auroc"), 40, None) == "these predictions have no probabilities"
    assert "too long" in why_no_interval(task.metric("auroc"), 10**6, probabilities)
    scores = scores_with_intervals(task_of(0, *OF_SCORES).scoring, gold + 0.0, gold + logits[:, 0])
    assert all(one.low < one.value < one.high for one in scores.values())


def test_runs_are_compared_by_probabilities_and_in_the_metrics_direction() -> None:
    gold, logits, probabilities = list(rows_of(2, seed=7))[-6]
    better = torch.from_numpy(logits + 4 * np.eye(2, dtype=np.float32)[gold]).double().softmax(dim=1).numpy()
    one, two = (Predictions(np.arange(len(gold)), gold, q.argmax(axis=1), q) for q in (probabilities, better))
    by_loss = compare(task_of(2, "log_loss").scoring[0], one, two)
    assert by_loss.difference.high < 0
    assert by_loss.lower_is_better
    assert by_loss.is_more_than_chance
    by_rank = compare(task_of(2, "auroc").scoring[0], one, two)
    assert by_rank.difference.low > 0
    assert not by_rank.lower_is_better
    ece = {"class_path": "torchmetrics.classification.BinaryCalibrationError"}
    by_class = compare(task_of(2, ece).scoring[0], one, two)
    assert by_class.decided_by == ""
    assert not by_class.is_more_than_chance
    assert by_class.lower_is_better
    assert by_class.difference.value < 0


CLASSES: list[tuple[int, dict[str, Any], Callable[..., Any]]] = [
    (2, {"class_path": "torchmetrics.classification.BinaryF1Score"}, lambda g, p, q: sk.f1_score(g, p)),
    (2, {"class_path": "torchmetrics.MeanSquaredError"}, lambda g, p, q: sk.brier_score_loss(g, q[:, 1])),
    (
        3,
        {"class_path": "torchmetrics.AUROC", "init_args": {"task": "multiclass", "num_classes": 3}},
        lambda g, p, q: sk.roc_auc_score(g, q, multi_class="ovr"),
    ),
    (0, {"class_path": "torchmetrics.regression.MeanAbsoluteError"}, lambda g, p: sk.mean_absolute_error(g, p)),
]


@pytest.mark.parametrize(("labels", "entry", "reference"), CLASSES)
def test_classes_of_torchmetrics_get_what_they_take(labels: int, entry: dict[str, Any], reference: Any) -> None:
    gold, logits, probabilities = list(rows_of(labels or 3, seed=8))[-6]
    task = task_of(labels, entry)
    SplitMetrics(task)  # which checks the class
    values: tuple[Array, ...] = (gold, logits.argmax(axis=1), probabilities)
    if not labels:
        gold, logits = gold.astype(np.float32), logits[:, :1]
        values = (gold, logits[:, 0])
    assert in_batches(task, gold, logits, [9])[task.metrics[0]] == pytest.approx(reference(*values), abs=1e-6)


REFUSED = [
    ({"class_path": "os.system"}, "class_path is 'os.system', allowed: a metric of torchmetrics.classification"),
    ({"class_path": "torchmetrics.text.BLEUScore"}, "class_path is 'torchmetrics.text.BLEUScore', allowed"),
    ({"class_path": "torchmetrics.classification.NoSuch"}, "class_path is 'torchmetrics.classification.NoSuch'"),
    ({"class_path": "torchmetrics.classification.MulticlassAccuracy"}, "refuses init_args {}: "),
    (
        {
            "class_path": "torchmetrics.classification.MulticlassF1Score",
            "init_args": {"num_classes": 3, "average": None},
        },
        "gives several values, and only one can be logged",
    ),
    (
        {"class_path": "torchmetrics.classification.MultilabelF1Score", "init_args": {"num_labels": 5}},
        "does not take the probabilities of 3 labels and gold values: ",
    ),
]


@pytest.mark.parametrize(("entry", "message"), REFUSED)
def test_a_class_that_does_not_fit_is_one_line(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        SplitMetrics(task_of(3, entry))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_logits_of_all_rows_are_kept_only_for_rankings() -> None:
    sums = TaskMetrics(task_of(3, "log_loss", "brier_score", "top_k_accuracy(k=1)", "quadratic_weighted_kappa"))
    assert sums.rows is None
    assert TaskMetrics(task_of(3, "auroc")).rows is not None
    plain = TaskMetrics(replace(task_of(3, "accuracy"), chosen=()))
    assert plain.rows is plain.means is None
    assert isinstance(sums.means, torch.nn.Module)
    state = [value for value in sums.means.metric_state.values() if isinstance(value, Tensor)]
    assert sum(map(torch.numel, state)) == 9
