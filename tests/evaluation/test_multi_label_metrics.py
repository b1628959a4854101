"""Metrics of rows with any number of labels against scikit-learn, on random and degenerate input, and over processes."""

import json
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import warm
from scipy import stats
from sklearn import metrics as sk
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from glue_lit.errors import UsageError
from glue_lit.evaluation.formulas import score, weighted_scores
from glue_lit.evaluation.predictions import Predictions
from glue_lit.evaluation.resampling import resampled_scores, scores_with_intervals, why_no_interval
from glue_lit.evaluation.significance import compare
from glue_lit.evaluation.task_metrics import SplitMetrics
from glue_lit.tasks.metric_entries import Target, parse_metric, parse_metrics
from glue_lit.tasks.metrics import metrics_for
from glue_lit.tasks.spec import SplitFile, TaskSpec

Array = np.ndarray
Reference = Callable[[Array, Array, Array], float]  # of gold labels, predicted labels and probabilities


def _averages(name: str, function: Callable[..., Any], **more: Any) -> dict[str, Reference]:
    def of(average: str) -> Reference:
        return lambda g, p, q: function(g, p, average=average, zero_division=0, **more)

    return {f"{average}_{name}": of(average) for average in ("micro", "macro", "weighted", "samples")} | {
        f"{name}(positive=1)": lambda g, p, q: function(g[:, 1], p[:, 1], zero_division=0, **more)
    }


def _mean_of_labels(function: Callable[..., Any]) -> Reference:
    return lambda g, p, q: float(np.mean([function(g[:, at], q[:, at]) for at in range(g.shape[1])]))


REFERENCES: dict[str, Reference] = {
    **_averages("precision", sk.precision_score),
    **_averages("recall", sk.recall_score),
    **_averages("f1", sk.f1_score),
    "fbeta(beta=2, average=samples)": lambda g, p, q: sk.fbeta_score(g, p, beta=2, average="samples", zero_division=0),
    "fbeta(beta=0.5, average=macro)": lambda g, p, q: sk.fbeta_score(g, p, beta=0.5, average="macro", zero_division=0),
    "fbeta(beta=2, average=micro)": lambda g, p, q: sk.fbeta_score(g, p, beta=2, average="micro", zero_division=0),
    "average_precision": lambda g, p, q: sk.average_precision_score(g, q, average="macro"),
    "average_precision(positive=0)": lambda g, p, q: sk.average_precision_score(g[:, 0], q[:, 0]),
    "auroc": _mean_of_labels(sk.roc_auc_score),
    "auroc(positive=1)": lambda g, p, q: sk.roc_auc_score(g[:, 1], q[:, 1]),
    "label_ranking_average_precision": lambda g, p, q: sk.label_ranking_average_precision_score(g, q),
    "subset_accuracy": lambda g, p, q: sk.accuracy_score(g, p),
    "hamming_loss": lambda g, p, q: sk.hamming_loss(g, p),
    "log_loss": _mean_of_labels(lambda g, q: sk.log_loss(g, np.stack([1 - q, q], axis=1), labels=[0, 1])),
    "brier_score": _mean_of_labels(lambda g, q: float(((q - g) ** 2).mean())),
}


def task_of(labels: int, *metrics: Any, **settings: Any) -> TaskSpec:
    names = tuple(str(label) for label in range(labels))
    chosen = parse_metrics(metrics, Target("multi_label", names, names), "data.custom.metrics")
    files = {split: SplitFile("", ("text",), "label", 0) for split in ("train", "validation", "test")}
    return TaskSpec(
        name="own", title="Own", hub_name="", text_columns=("text",), labels=names, file_labels=names,
        metrics=tuple(one.logged for one in chosen), files=files, submission={}, chosen=chosen, is_multi_label=True,
        **settings,
    )  # fmt: skip


def rows_of(labels: int) -> Iterator[tuple[Array, Array, Array]]:
    """Gold labels, logits and probabilities: random, tied, constant, a label that no or every row has, no labels."""
    rng = np.random.default_rng(labels)
    for size in (1, 7, 40):
        for case in range(7):
            gold = (rng.random((size, labels)) < rng.random(labels)).astype(np.int8)
            logits = rng.normal(size=(size, labels)).astype(np.float32) * 3
            if case == 1:
                logits = logits.round()  # ties, of which some are at the threshold
            if case == 2:
                logits[:] = logits[0]
            if case == 3:
                gold[:, 0] = 0
            if case == 4:
                gold[:, 1], gold[0] = 1, 0
            if case == 5:
                gold[:], logits[:] = 0, -1
            if case == 6:
                logits = np.where(gold > 0, 30, -30).astype(np.float32) + logits.round(1)
            yield gold, logits, torch.from_numpy(logits).double().sigmoid().numpy()


def reference_of(function: Reference, *values: Array) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rows that define no score
        try:
            return float(function(*values))
        except ValueError:
            return math.nan


def mean_loss(logits: Tensor, labels: Tensor) -> Tensor:
    known = (labels[:, 0] >= 0)[:, None]
    losses = binary_cross_entropy_with_logits(logits, labels.clamp(min=0), reduction="none").where(known, 0)
    return losses.sum() / known.sum() / labels.shape[1]


def in_batches(task: TaskSpec, gold: Array, logits: Array, batches: Sequence[int]) -> dict[str, float]:
    metrics = SplitMetrics(task)
    for part, of_part in zip(np.split(logits, batches), np.split(gold, batches), strict=True):
        metrics.of("validation").add(torch.from_numpy(part), torch.from_numpy(of_part).float(), mean_loss)
    scores, _ = metrics.compute(["validation"])
    return {name.removeprefix("val/"): value for name, value in scores.items()}


def test_every_metric_is_compared() -> None:
    names = {parse_metric(entry, Target(None, is_known=False)).name for entry in REFERENCES}
    assert names == set(metrics_for("multi_label"))


@pytest.mark.parametrize("labels", [2, 3, 5])
def test_metrics_equal_scikit_learn(labels: int) -> None:
    task = task_of(labels, *REFERENCES)
    for gold, logits, probabilities in rows_of(labels):
        predicted = (logits >= 0).astype(np.int8)
        found = in_batches(task, gold, logits, [1, 3] if len(gold) > 3 else [])
        for entry, metric in zip(REFERENCES, task.scoring, strict=True):
            expected = reference_of(REFERENCES[entry], gold, predicted, probabilities)
            exact = score(metric, gold, predicted, probabilities=probabilities)
            assert exact == pytest.approx(expected, abs=1e-9, nan_ok=True), (entry, gold, logits)
            assert found[metric.logged] == pytest.approx(exact, abs=2e-6, nan_ok=True), (entry, gold, logits)


def test_resamples_equal_repeated_rows() -> None:
    task = task_of(4, *REFERENCES)
    *_, (gold, logits, _), _, _, _, _, _ = rows_of(4)
    gold, logits = gold.copy(), logits.copy()
    gold[3], gold[5] = 0, 1
    probabilities, predicted = torch.from_numpy(logits).double().sigmoid().numpy(), (logits >= 0).astype(np.int8)
    weights = np.random.default_rng(1).multinomial(len(gold), np.full(len(gold), 1 / len(gold)), size=3)
    for metric in task.scoring:
        found = weighted_scores(metric, weights, gold, predicted, probabilities=probabilities)
        for weight, value in zip(weights, found, strict=True):
            rows = np.repeat(np.arange(len(gold)), weight)
            assert value == pytest.approx(
                score(metric, gold[rows], predicted[rows], probabilities=probabilities[rows]), abs=1e-9, nan_ok=True
            ), metric.logged


def test_unlabelled_rows_are_not_scored() -> None:
    task = task_of(3, *REFERENCES)
    gold, logits, _ = list(rows_of(3))[7]
    hidden = np.concatenate([gold, np.full((2, 3), -1, dtype=np.int8)])
    more = np.concatenate([logits, np.full((2, 3), 5, dtype=np.float32)])
    expected = in_batches(task, gold, logits, [])
    for batches in ([], [5], [len(gold)]):
        assert in_batches(task, hidden, more, batches) == pytest.approx(expected, abs=1e-6, nan_ok=True)
    assert in_batches(task, hidden[-2:], more[-2:], []) == {}


def test_the_loss_and_the_number_of_predictions() -> None:
    gold, logits, probabilities = list(rows_of(3))[7]
    task = task_of(3, "micro_f1")
    metrics = SplitMetrics(task)
    metrics.of("test").add(torch.from_numpy(logits), torch.from_numpy(gold).float(), mean_loss)
    scores, predicted = metrics.compute(["test"])
    assert scores["test/loss"] == pytest.approx(REFERENCES["log_loss"](gold, gold, probabilities), abs=1e-6)
    assert predicted == {"test": dict(zip("012", (logits >= 0).sum(axis=0).tolist(), strict=True))}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("f1", "'f1' is not a metric for 3 labels, since it describes one. Allowed: macro_f1, micro_f1, samples_f1 "
               "and weighted_f1 for all of them, f1(positive=LABEL) for one."),
        ("accuracy", "'accuracy' is not a metric for any number of labels a row (multi_label)."),
        ("matthews_correlation", "Allowed: precision, recall"),
        ("f1(average=binary)", "average is 'binary', allowed: micro, macro or weighted"),
        ("f1(positive=9)", "'9' is not a label"),
        ({"class_path": "torchmetrics.classification.MultilabelAccuracy", "init_args": {"num_labels": 7}},
         "MultilabelAccuracy does not take the probabilities of 3 labels"),
    ],
)  # fmt: skip
def test_refused_metrics(entry: Any, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        SplitMetrics(task_of(3, entry))


def test_samples_is_no_average_of_single_labels() -> None:
    with pytest.raises(UsageError, match="average is 'samples', allowed"):
        parse_metric("samples_f1", Target("classification", ("a", "b", "c")))


def test_titles() -> None:
    task = task_of(3, "samples_f1", "f1(positive=1)", "label_ranking_average_precision", "average_precision")
    titles = [one.title(task.labels) for one in task.scoring]
    assert titles == ["Samples F1", "F1 of 1", "Label-ranking average precision", "Average precision"]


def test_metrics_of_torchmetrics() -> None:
    entry = {
        "class_path": "torchmetrics.classification.MultilabelCoverageError",
        "init_args": {"num_labels": 4}, "mode": "min",
    }  # fmt: skip
    gold, logits, probabilities = list(rows_of(4))[7]
    found = in_batches(task_of(4, entry), gold, logits, [3])
    assert found["MultilabelCoverageError"] == pytest.approx(sk.coverage_error(gold, probabilities), abs=1e-6)


def test_classes_of_torchmetrics_score_the_labels_that_are_predicted() -> None:
    gold, _, probabilities = list(rows_of(4))[7]
    predicted = (probabilities >= 0.3).astype(np.int8)
    arguments = {"num_labels": 4, "average": "micro"}
    path = "torchmetrics.classification.MultilabelF1Score"
    given: list[dict[str, Any]] = [
        {"class_path": path, "init_args": arguments},
        {"class_path": path, "init_args": {**arguments, "threshold": 0.5}, "name": "own"},
    ]
    first, second = task_of(4, *given).scoring
    for metric, expected in ((first, predicted), (second, probabilities >= 0.5)):
        found = score(metric, gold, predicted, probabilities=probabilities)
        assert found == pytest.approx(sk.f1_score(gold, expected, average="micro"), abs=1e-6)


def test_intervals() -> None:
    rng = np.random.default_rng(0)
    gold = (rng.random((300, 3)) < 0.3).astype(np.int8)
    probabilities = np.clip(0.35 * gold + rng.random((300, 3)) * 0.7, 0.01, 0.99)
    predicted = (probabilities >= 0.5).astype(np.int8)
    task = task_of(3, *REFERENCES)
    found = scores_with_intervals(task.scoring, gold, predicted, probabilities=probabilities)
    for name, one in found.items():
        assert one.low < one.value < one.high, name
    right = int((gold == predicted).all(axis=1).sum())
    wilson = stats.binomtest(right, 300).proportion_ci(method="wilson")
    assert (found["subset_accuracy"].low, found["subset_accuracy"].high) == pytest.approx((wilson.low, wilson.high))
    # the plain bootstrap, row by row
    metric = task.metric("micro_f1")
    drawn = [score(metric, gold[rows], predicted[rows]) for rows in (rng.integers(0, 300, 300) for _ in range(2000))]
    assert (found["micro_f1"].low, found["micro_f1"].high) == pytest.approx(
        np.quantile(drawn, [0.025, 0.975]), abs=0.01
    )


def test_intervals_that_would_take_long_are_left_out() -> None:
    metric = parse_metric("macro_f1", Target("multi_label", is_known=False))
    assert why_no_interval(metric, 100_000, None, labels=10_000) == "to resample so many rows takes too long"
    assert not why_no_interval(metric, 1000, None, labels=100)
    assert not why_no_interval(parse_metric("micro_f1", Target("multi_label", is_known=False)), 100_000, None, 10_000)


def test_equal_rows_are_drawn_together() -> None:
    rng = np.random.default_rng(3)
    gold, predicted = (rng.integers(0, 2, (200, 2)).astype(np.int8) for _ in range(2))
    metrics = task_of(2, "micro_f1", "macro_f1", "samples_f1", "hamming_loss").scoring
    found = resampled_scores(metrics, gold, [predicted, gold])
    assert found.shape[:2] == (4, 2)
    assert found[0, 1].min() == 1
    for of_metric, metric in zip(found[:, 0], metrics, strict=True):
        assert of_metric.mean() == pytest.approx(score(metric, gold, predicted), abs=0.01)


def test_runs_are_compared() -> None:
    rng = np.random.default_rng(5)
    gold = rng.integers(0, 2, (400, 3)).astype(np.int8)
    good, bad = (np.where(rng.random((400, 3)) < rate, 1 - gold, gold) for rate in (0.05, 0.3))
    first, second = (Predictions(np.arange(400), gold, values.astype(np.int8), None) for values in (bad, good))
    for name in ("micro_f1", "subset_accuracy", "hamming_loss"):
        found = compare(task_of(3, name).scoring[0], first, second)
        assert found.is_more_than_chance, name
        assert found.mcnemar is not None
        assert found.mcnemar.both + found.mcnemar.only_second == (good == gold).all(axis=1).sum()
    assert found.lower_is_better
    assert found.difference.value < 0


PROCESS = """
import importlib.util, json, sys
import torch
sys.path.insert(0, {tests!r})
spec = importlib.util.spec_from_file_location("this_test", {this!r})
this = importlib.util.module_from_spec(spec)
spec.loader.exec_module(this)
rank, world = int(sys.argv[1]), int(sys.argv[2])
store = f"file://{store}-{{world}}"
torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
print(json.dumps(this.with_both_thresholds(rank, world)))
torch.distributed.destroy_process_group()
"""


def with_both_thresholds(rank: int = 0, world: int = 1) -> list[list[Any]]:
    """Thresholds, scores and counts of this process's share of the rows, with thresholds of 0.5 and tuned ones."""
    gold, logits, _ = list(rows_of(4))[14]
    found: list[list[Any]] = []
    for tunes in (False, True):
        metrics = SplitMetrics(task_of(4, *REFERENCES, tunes_thresholds=tunes))
        for start in range(rank, len(gold), world * 3):
            part = slice(start, start + world * 3, world)
            metrics.of("validation").add(
                torch.from_numpy(logits[part]), torch.from_numpy(gold[part]).float(), mean_loss
            )
        metrics.tune_thresholds()
        found.append([metrics.thresholds, *metrics.compute(["validation"])])
    return found


def test_two_and_three_processes_give_the_values_of_one(tmp_path: Path) -> None:
    script = PROCESS.format(this=__file__, tests=str(Path(warm.__file__).parent), store=str(tmp_path / "store"))
    ranks = [warm.start("-c", script, rank, world) for world in (2, 3) for rank in range(world)]
    done = [rank.wait(120) for rank in ranks]
    assert [rank.returncode for rank in done] == [0] * 5, done
    results = [json.loads(rank.stdout.splitlines()[-1]) for rank in done]
    for result in results:
        for (thresholds, scores, counts), alone in zip(result, with_both_thresholds(), strict=True):
            assert (thresholds, counts) == (alone[0], alone[2])
            assert scores == pytest.approx(alone[1], abs=1e-6, nan_ok=True)
    assert results[0] == results[1]  # or the processes would pick different checkpoints
