"""Every metric against scikit-learn and SciPy, most of all in edge cases where libraries differ."""

import inspect
import json
import math
import tracemalloc
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import warm
from scipy import stats
from sklearn import metrics as sk
from torch import Tensor

from glue_lit.evaluation.formulas import score
from glue_lit.evaluation.metrics import ClassCounts, MeanLoss
from glue_lit.evaluation.resampling import scores_with_intervals
from glue_lit.evaluation.task_metrics import SplitMetrics, TaskMetrics
from glue_lit.tasks.glue import TASKS, get_task

Reference = Callable[[np.ndarray, np.ndarray], float]


def sk_f1(gold: np.ndarray, preds: np.ndarray) -> float:
    return float(sk.f1_score(gold, preds, labels=[1], average="macro", zero_division=0))


def sk_matthews(gold: np.ndarray, preds: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one class only, about which it warns
        return float(sk.matthews_corrcoef(gold, preds))


def scipy_of(function: Callable[..., Any]) -> Reference:
    def statistic(gold: np.ndarray, preds: np.ndarray) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # constant input
            return float(function(preds, gold).statistic)

    return statistic


CLASSIFICATION: list[tuple[str, Reference]] = [
    ("accuracy", lambda gold, preds: float(sk.accuracy_score(gold, preds))),
    ("f1", sk_f1),
    ("matthews_correlation", sk_matthews),
    ("macro_f1", lambda gold, preds: float(sk.f1_score(gold, preds, average="macro", zero_division=0))),
]
CORRELATIONS: list[tuple[str, Reference]] = [
    ("pearson", scipy_of(stats.pearsonr)),
    ("spearmanr", scipy_of(stats.spearmanr)),
]
REFERENCES = dict(CLASSIFICATION + CORRELATIONS)


def score_in_batches(
    metric: str, preds: np.ndarray, gold: np.ndarray, batches: Sequence[int], labels: int = 2, positive: int = 1
) -> float:
    """The metric's value after batches of these sizes and one of the remaining rows."""
    task = get_task("stsb")
    if metric not in dict(CORRELATIONS):
        task = replace(get_task("mrpc"), labels=tuple(map(str, range(labels))), positive=positive)
    metrics = TaskMetrics(replace(task, metrics=(metric,)))
    bounds = [0, *np.cumsum(batches).tolist(), len(preds)]
    for start, end in pairwise(bounds):
        metrics.update(torch.from_numpy(preds[start:end]), torch.from_numpy(gold[start:end]), torch.zeros(()))
    return metrics.compute()[metric]


# ---------------------------------------------------------------- classes


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("size", [1, 2, 7, 100, 1043])
@pytest.mark.parametrize(("metric", "reference"), CLASSIFICATION)
def test_classification_equals_scikit_learn(metric: Any, reference: Reference, size: int, classes: int) -> None:
    rng = np.random.default_rng(size * 10 + classes)
    for _ in range(5):
        gold = rng.integers(0, classes, size)
        # Half of the predictions are right, so that the values are not all near chance.
        preds = np.where(rng.random(size) < 0.5, gold, rng.integers(0, classes, size))
        assert score_in_batches(metric, preds, gold, [], classes) == pytest.approx(reference(gold, preds), abs=1e-12)


@pytest.mark.parametrize("positive", [0, 1])
def test_f1_is_of_the_positive_class(positive: int) -> None:
    rng = np.random.default_rng(8)
    gold, preds = rng.integers(0, 2, 50), rng.integers(0, 2, 50)
    expected = sk.f1_score(gold, preds, pos_label=positive)
    assert score_in_batches("f1", preds, gold, [7, 20], positive=positive) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("batches", [[], [8, 8, 8], [1, 17, 3], [0, 5], [5, 0, 0, 7], [30, 0]])
@pytest.mark.parametrize(("metric", "reference"), CLASSIFICATION)
def test_classification_does_not_depend_on_batches(metric: Any, reference: Reference, batches: list[int]) -> None:
    rng = np.random.default_rng(3)
    gold, preds = rng.integers(0, 2, 30), rng.integers(0, 2, 30)
    assert score_in_batches(metric, preds, gold, batches) == pytest.approx(reference(gold, preds), abs=1e-12)


@pytest.mark.parametrize(
    ("gold", "preds"),
    [
        ([0, 1, 0, 1, 1], [1, 1, 1, 1, 1]),
        ([0, 1, 0, 1, 1], [0, 0, 0, 0, 0]),
        ([1, 1, 1, 1, 1], [0, 1, 0, 1, 1]),
        ([0, 0, 0, 0, 0], [0, 1, 0, 1, 1]),
        ([1, 1, 1], [1, 1, 1]),
        ([0, 0, 0], [0, 0, 0]),
        ([0, 0, 0], [1, 1, 1]),
        ([1, 1, 1], [0, 0, 0]),
        ([0, 1, 1, 0], [0, 1, 1, 0]),
        ([0, 1, 1, 0], [1, 0, 0, 1]),
        ([0], [0]),
        ([1], [0]),
        ([1], [1]),
    ],
    ids=str,
)
@pytest.mark.parametrize(("metric", "reference"), CLASSIFICATION)
def test_degenerate_classification_equals_scikit_learn(
    metric: Any, reference: Reference, gold: list[int], preds: list[int]
) -> None:
    # Exactly: rounding noise of either sign on a collapsed model would pick a checkpoint.
    value = score_in_batches(metric, np.array(preds), np.array(gold), [2])
    assert value == pytest.approx(reference(np.array(gold), np.array(preds)), abs=0)


@pytest.mark.parametrize("predicted", [0, 1, 2])
def test_matthews_of_a_collapsed_three_class_model_is_zero(predicted: int) -> None:
    gold = np.random.default_rng(0).integers(0, 3, 1104)
    assert score_in_batches("matthews_correlation", np.full_like(gold, predicted), gold, [32] * 30, 3) == 0.0


def test_matthews_extremes_for_three_classes() -> None:
    gold = np.array([0, 1, 2, 0, 1, 2])
    assert score_in_batches("matthews_correlation", gold, gold, [], 3) == 1.0
    shifted = (gold + 1) % 3
    assert score_in_batches("matthews_correlation", shifted, gold, [], 3) == pytest.approx(
        sk_matthews(gold, shifted), abs=1e-12
    )


def test_matthews_is_exact_on_a_split_as_large_as_mnli() -> None:
    # The fourth power of 4e5 is too large for float32 and int64.
    rng = np.random.default_rng(1)
    gold = rng.integers(0, 3, 392_702)
    preds = np.where(rng.random(len(gold)) < 0.9, gold, rng.integers(0, 3, len(gold)))
    assert score_in_batches("matthews_correlation", preds, gold, [], 3) == pytest.approx(
        sk_matthews(gold, preds), abs=1e-9
    )


# ---------------------------------------------------------------- scores


@pytest.mark.parametrize("size", [2, 3, 10, 101, 1500])
@pytest.mark.parametrize(("metric", "reference"), CORRELATIONS)
def test_correlations_equal_scipy(metric: Any, reference: Reference, size: int) -> None:
    rng = np.random.default_rng(size)
    for noise in (0.1, 1.0, 10.0):
        gold = rng.uniform(0, 5, size).astype(np.float32)
        preds = (gold + noise * rng.standard_normal(size)).astype(np.float32)
        expected = reference(gold.astype(np.float64), preds.astype(np.float64))
        assert score_in_batches(metric, preds, gold, []) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("batches", [[], [8, 8, 8], [1, 17, 3], [0, 5], [5, 0, 0, 7], [30, 0]])
@pytest.mark.parametrize(("metric", "reference"), CORRELATIONS)
def test_correlations_do_not_depend_on_batches(metric: Any, reference: Reference, batches: list[int]) -> None:
    rng = np.random.default_rng(4)
    gold = rng.uniform(0, 5, 30).astype(np.float32)
    preds = rng.standard_normal(30).astype(np.float32)
    assert score_in_batches(metric, preds, gold, batches) == pytest.approx(reference(gold, preds), abs=1e-7)


@pytest.mark.parametrize(
    ("gold", "preds"),
    [
        ([0.0, 2.5, 2.5, 5.0], [1.0, 1.0, 1.0, 2.0]),
        ([1.0, 1.0, 2.0, 2.0, 3.0, 3.0], [3.0, 1.0, 2.0, 3.0, 1.0, 2.0]),
        ([0.0, 0.2, 0.2, 0.2, 5.0], [-1.0, 7.0, 7.0, 8.0, 8.0]),
        ([0.0, 1.0, 2.0], [0.0, -0.0, 1.0]),
        ([0.0, 1.0, 2.0, 3.0], [10.0, 20.0, 30.0, 40.0]),
        ([0.0, 1.0, 2.0, 3.0], [3.0, 2.0, 1.0, 0.0]),
        ([0.0, 5.0], [1.0, 1.1]),
        ([0.0, 1.0, 2.0, 5.0], [1e-6, 2e-6, 4e-6, 3e-6]),
        ([0.0, 1.0, 2.0, 5.0], [1e4 + 0.1, 1e4 + 0.2, 1e4 + 0.4, 1e4 + 0.3]),
    ],
    ids=str,
)
@pytest.mark.parametrize(("metric", "reference"), CORRELATIONS)
def test_ties_and_extremes_equal_scipy(
    metric: Any, reference: Reference, gold: list[float], preds: list[float]
) -> None:
    gold32, preds32 = np.array(gold, np.float32), np.array(preds, np.float32)
    expected = reference(gold32.astype(np.float64), preds32.astype(np.float64))
    assert score_in_batches(metric, preds32, gold32, [1]) == pytest.approx(expected, abs=1e-12)


def test_spearman_ties_share_their_mean_rank() -> None:
    rng = np.random.default_rng(5)
    for _ in range(10):
        gold, preds = (rng.integers(0, 6, 200).astype(np.float32) for _ in range(2))
        assert score_in_batches("spearmanr", preds, gold, [50]) == pytest.approx(stats.spearmanr(preds, gold).statistic)


@pytest.mark.parametrize(
    ("gold", "preds"),
    [
        ([0.0, 1.0, 2.0], [2.5, 2.5, 2.5]),
        ([2.0, 2.0, 2.0], [0.0, 1.0, 2.0]),
        ([2.0, 2.0, 2.0], [2.0, 2.0, 2.0]),
        ([0.1, 0.2, 0.3], [0.1, 0.1, 0.1]),
    ],
    ids=str,
)
@pytest.mark.parametrize(("metric", "reference"), CORRELATIONS)
def test_constant_scores_have_no_correlation(
    metric: Any, reference: Reference, gold: list[float], preds: list[float]
) -> None:
    gold32, preds32 = np.array(gold, np.float32), np.array(preds, np.float32)
    try:
        assert math.isnan(reference(gold32, preds32))
    except ValueError as refused:  # by older SciPy versions, of NaN
        assert "NaN" in str(refused)  # noqa: PT017
    assert math.isnan(score_in_batches(metric, preds32, gold32, [1]))


def test_a_perfect_correlation_is_no_more_than_one() -> None:
    # The arithmetic alone gives 1.0000000000000002.
    preds = np.random.default_rng(11).standard_normal(33)
    assert score("pearson", preds, 3 * preds) == score("pearson", preds, 2 * preds + 1) == 1
    assert score("pearson", preds, -3 * preds) == score("pearson", preds, 1 - 2 * preds) == -1


def test_infinite_scores_have_no_pearson_correlation() -> None:
    preds, gold = np.array([1.0, math.inf, 2.0, -math.inf], np.float32), np.arange(4, dtype=np.float32)
    assert math.isnan(score_in_batches("pearson", preds, gold, [2]))
    assert score_in_batches("spearmanr", preds, gold, [2]) == pytest.approx(stats.spearmanr(preds, gold).statistic)


def test_mean_loss_keeps_small_losses_beside_a_large_sum() -> None:
    metric = MeanLoss()
    losses = [2.0**24, *[1.0] * 1000, -0.5, *[0.125] * 16]  # float32 has no 2 ** 24 + 1
    for loss in losses:
        metric.update(torch.tensor(loss), torch.tensor(1))
    mean, examples = metric.finish(metric.compute())
    assert float(mean) == pytest.approx(math.fsum(losses) / len(losses), abs=1e-9)
    assert int(examples) == len(losses)


def test_mean_loss_keeps_a_small_loss_before_a_large_one() -> None:
    metric = MeanLoss()
    for loss in (1.0, 3e8):  # float32 has steps of 32 there
        metric.update(torch.tensor(loss), torch.tensor(1))
    assert metric.finish(metric.compute())[0] == (1 + 3e8) / 2


def test_class_counts_add_up_over_batches() -> None:
    metric = ClassCounts(4)
    for preds, gold in (([0, 2, 2], [0, 2, 1]), ([], []), ([3, 2, 0], [0, 2, 0])):
        metric.update(torch.tensor(preds, dtype=torch.int64), torch.tensor(gold, dtype=torch.int64))
    found = metric.compute().clone()
    assert found.tolist() == [[3, 1, 2, 0], [2, 0, 3, 1], [2, 0, 2, 0]]  # gold, predicted, both
    metric.update(torch.tensor([1]), torch.tensor([1]))
    assert found.tolist() == [[3, 1, 2, 0], [2, 0, 3, 1], [2, 0, 2, 0]]  # unchanged by a later batch


def test_class_counts_ignore_unlabelled_rows() -> None:
    metric = ClassCounts(3)
    metric.update(torch.tensor([0, 2, 1, 1]), torch.tensor([0, -1, 1, -1]))
    assert metric.compute().tolist() == [[1, 1, 0]] * 3
    metric.update(torch.tensor([2]), torch.tensor([-1]))
    assert metric.compute().tolist() == [[1, 1, 0]] * 3


@pytest.mark.parametrize("metric", ["pearson", "spearmanr"])
def test_one_example_has_no_correlation(metric: Any) -> None:
    assert math.isnan(score_in_batches(metric, np.array([1.0], np.float32), np.array([2.0], np.float32), []))


@pytest.mark.parametrize(
    "preds", [[math.nan] * 5, [1.0, math.nan, 2.0, 3.0, 0.0], [1.0, 2.0, 3.0, 4.0, math.nan]], ids=str
)
@pytest.mark.parametrize(
    ("metric", "reference"),
    CORRELATIONS,
)
def test_scores_of_a_diverged_model_have_no_correlation(metric: Any, reference: Reference, preds: list[float]) -> None:
    # If NaN had a rank, a model that predicts only NaN would look perfect.
    gold32, preds32 = np.arange(5, dtype=np.float32), np.array(preds, np.float32)
    try:
        assert math.isnan(reference(gold32, preds32))
    except ValueError as refused:  # by older SciPy versions, of NaN
        assert "NaN" in str(refused)  # noqa: PT017
    assert math.isnan(score_in_batches(metric, preds32, gold32, [2]))


def test_half_precision_scores_are_accepted() -> None:
    metrics = TaskMetrics(get_task("stsb"))
    preds, gold = torch.tensor([0.5, 1.5, 4.0], dtype=torch.bfloat16), torch.tensor([0.0, 2.0, 5.0])
    metrics.update(preds, gold, torch.zeros(()))
    assert metrics.compute()["pearson"] == pytest.approx(stats.pearsonr([0.5, 1.5, 4.0], [0.0, 2.0, 5.0]).statistic)


# ---------------------------------------------------------------- all metrics of a task


def examples_of(task_name: str, size: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Predictions, gold labels and losses of so many examples."""
    task, rng = get_task(task_name), np.random.default_rng(seed)
    if task.is_regression:
        gold = rng.uniform(0, 5, size).astype(np.float32)
        preds = (gold + rng.standard_normal(size)).astype(np.float32)
    else:
        gold, preds = (rng.integers(0, task.num_labels, size) for _ in range(2))
    return torch.from_numpy(preds), torch.from_numpy(gold), torch.from_numpy(rng.random(size).astype(np.float32))


def feed(metrics: TaskMetrics, examples: tuple[Tensor, Tensor, Tensor], batches: Sequence[int]) -> None:
    """Update with batches of these sizes; an empty batch comes with the mean loss of nothing, NaN."""
    preds, gold, losses = (part.split(list(batches)) for part in examples)
    for p, g, loss in zip(preds, gold, losses, strict=True):
        metrics.update(p, g, loss.mean())


def test_every_metric_of_a_task_has_a_reference() -> None:
    assert {name for task in TASKS.values() for name in task.metrics} == set(REFERENCES) - {
        "macro_f1"
    }  # only for own data


@pytest.mark.parametrize("name", TASKS)
def test_task_metrics_compute_the_metrics_of_the_task(name: str) -> None:
    examples = examples_of(name, 53, seed=7)
    metrics = TaskMetrics(get_task(name))
    feed(metrics, examples, [16, 16, 16, 0, 5])
    preds, gold, losses = (part.numpy() for part in examples)
    expected = {metric: REFERENCES[metric](gold, preds) for metric in get_task(name).metrics}
    values = metrics.compute()
    assert list(values) == [*get_task(name).metrics, "loss"]
    assert all(type(value) is float for value in values.values())
    assert values == pytest.approx({**expected, "loss": losses.mean()}, abs=1e-6)


def test_loss_counts_examples_not_batches() -> None:
    metrics = TaskMetrics(get_task("cola"))
    zeros = torch.zeros(10, dtype=torch.int64)
    metrics.update(zeros[:9], zeros[:9], torch.tensor(1.0))
    metrics.update(zeros[:1], zeros[:1], torch.tensor(11.0))
    assert metrics.compute()["loss"] == 2.0  # (9 * 1 + 1 * 11) / 10, and not (1 + 11) / 2


def test_mean_of_a_diverged_loss_is_nan() -> None:
    metrics = TaskMetrics(get_task("cola"))
    two = torch.zeros(2, dtype=torch.int64)
    metrics.update(two, two, torch.tensor(0.5))
    metrics.update(two, two, torch.tensor(math.nan))
    metrics.update(two, two, torch.tensor(0.5))
    values = metrics.compute()
    assert math.isnan(values["loss"])
    assert values["matthews_correlation"] == 0.0


@pytest.mark.parametrize("name", ["cola", "mrpc", "stsb"])
@pytest.mark.parametrize("batches", [0, 1])
@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
def test_no_examples_give_no_scores(name: str, batches: int) -> None:
    # An accuracy of 0 over nothing would look like a score.
    metrics = TaskMetrics(get_task(name))
    none = torch.zeros(0, dtype=torch.float32 if get_task(name).is_regression else torch.int64)
    for _ in range(batches):
        metrics.update(none, none, torch.tensor(math.nan))
    assert metrics.compute() == {}


@pytest.mark.parametrize("name", ["mrpc", "stsb"])
def test_reset_forgets_everything(name: str) -> None:
    # Neither scores nor a diverged loss may reach into the next epoch.
    metrics = TaskMetrics(get_task(name))
    feed(metrics, examples_of(name, 20, seed=1), [20])
    metrics.update(*(part[:1] for part in examples_of(name, 1, seed=2)[:2]), torch.tensor(math.nan))
    metrics.compute()
    metrics.reset()
    feed(metrics, examples_of(name, 30, seed=3), [15, 15])
    fresh = TaskMetrics(get_task(name))
    feed(fresh, examples_of(name, 30, seed=3), [15, 15])
    assert metrics.compute() == fresh.compute()


def test_metrics_of_two_tasks_share_no_state() -> None:
    one, other = TaskMetrics(get_task("cola")), TaskMetrics(get_task("cola"))
    feed(one, examples_of("cola", 8, seed=1), [8])
    feed(other, examples_of("cola", 9, seed=2), [9])
    expected = TaskMetrics(get_task("cola"))
    feed(expected, examples_of("cola", 9, seed=2), [9])
    assert other.compute() == expected.compute()


# ---------------------------------------------------------------- two processes

RANK = """
import json, sys
import numpy as np, torch
import torch.distributed as dist
from collections.abc import Sequence
from torch import Tensor
from glue_lit.evaluation.task_metrics import SplitMetrics, TaskMetrics
from glue_lit.tasks.glue import TASKS, get_task

{functions}

rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + {store!r}, rank=rank, world_size=2)
results = {{}}
for case, shares in {cases!r}.items():
    for name in TASKS:
        preds, gold, losses = examples_of(name, sum(map(sum, shares)), seed=11)
        start = sum(map(sum, shares[:rank]))
        mine = slice(start, start + sum(shares[rank]))
        metrics = TaskMetrics(get_task(name))
        feed(metrics, (preds[mine], gold[mine], losses[mine]), shares[rank])
        results[f"{{case}} {{name}}"] = metrics.compute()
dist.destroy_process_group()
print(json.dumps(results))
"""
# "filler": the second process has one batch whose only example is never scored, so it adds nothing.
CASES = {"uneven": [[5, 3], [4]], "filler": [[6, 2, 1], [0]]}


def test_two_processes_give_the_values_of_one(tmp_path: Path) -> None:
    # As source, since importing this module would load scikit-learn and SciPy in each process.
    functions = inspect.getsource(examples_of) + inspect.getsource(feed)
    script = RANK.format(functions=functions, store=str(tmp_path / "store"), cases=CASES)
    ranks = [done.wait(60) for done in [warm.start("-c", script, rank) for rank in range(2)]]
    assert [rank.returncode for rank in ranks] == [0, 0], ranks
    results = [json.loads(rank.stdout.splitlines()[-1]) for rank in ranks]
    assert results[0] == results[1]  # or the processes would pick different checkpoints
    expected = {}
    for case, shares in CASES.items():
        for name in TASKS:
            batches = [size for share in shares for size in share]
            metrics = TaskMetrics(get_task(name))
            feed(metrics, examples_of(name, sum(batches), seed=11), batches)
            expected[f"{case} {name}"] = metrics.compute()
    assert results[0].keys() == expected.keys()
    for key, values in expected.items():
        assert results[0][key] == pytest.approx(values, abs=1e-6), key


def test_ten_thousand_classes_need_no_confusion_matrix() -> None:
    # which would take 800 MB
    assert sum(value.numel() for value in ClassCounts(10_000)._defaults.values()) == 30_000
    draw = np.random.default_rng(0)
    gold, preds = draw.integers(0, 10_000, (2, 300))
    preds = np.where(draw.random(300) < 0.5, gold, preds)
    gold[0] = preds[0] = 1  # the positive class, without which F1 has no interval
    tracemalloc.start()
    values = {name: score_in_batches(name, preds, gold, [], 10_000) for name, _ in CLASSIFICATION}
    found = scores_with_intervals(tuple(values), gold, preds)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 300e6
    for name, reference in CLASSIFICATION:
        assert values[name] == pytest.approx(reference(gold, preds), abs=1e-12)
        assert found[name].low <= values[name] <= found[name].high


# ---------------------------------------------------------------- several splits


def squares(logits: Tensor, gold: Tensor) -> Tensor:
    known = ~gold.isnan() if gold.is_floating_point() else gold >= 0
    return (logits.float().sum(dim=1) - gold)[known].square().mean()


def test_each_split_is_scored_alone_and_reset_by_compute() -> None:
    metrics = SplitMetrics(get_task("mnli"))
    names = get_task("mnli").labels
    both = ["validation_matched", "validation_mismatched"]
    for _ in range(2):  # the second time starts empty
        metrics.of(both[0]).add(torch.eye(3)[[0, 1, 1, 2]], torch.tensor([0, 1, 2, -1]), squares)  # the last is hidden
        metrics.of(both[1]).add(torch.eye(3)[[2, 2]], torch.tensor([-1, -1]), squares)
        scores, predicted = metrics.compute(both)
        assert scores == {"val_matched/accuracy": pytest.approx(2 / 3), "val_matched/loss": pytest.approx(2 / 3)}
        assert predicted == {both[0]: {names[0]: 1, names[1]: 2, names[2]: 0}}


def test_unlabelled_scores_are_ignored() -> None:
    metrics = SplitMetrics(get_task("stsb"))
    gold = torch.tensor([1.0, math.nan, 2.0, 4.5])
    metrics.of("validation").add(torch.tensor([[0.5], [9.0], [2.5], [3.0]]), gold, squares)
    scores, predicted = metrics.compute(["validation"])
    assert scores["val/pearson"] == pytest.approx(stats.pearsonr([0.5, 2.5, 3.0], [1.0, 2.0, 4.5]).statistic)
    assert scores["val/loss"] == pytest.approx((0.25 + 0.25 + 2.25) / 3)
    assert predicted == {"validation": {}}
    metrics.of("validation").add(torch.tensor([[0.5], [9.0]]), torch.tensor([1.0, 2.0]), squares)
    metrics.reset()
    metrics.of("validation").add(torch.tensor([[0.5]]), torch.tensor([math.nan]), squares)
    assert metrics.compute(["validation"]) == ({}, {})
