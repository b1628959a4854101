import pytest

from glue_lit.evaluation.glue_average import GLUE, figure, glue_average, task_figures, task_score
from glue_lit.tasks.custom import CustomTask, resolve_task
from glue_lit.tasks.glue import get_task


def test_the_nine_tasks_of_glue() -> None:
    assert sorted(GLUE) == ["cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb", "wnli"]


def test_task_score_is_the_mean_of_its_metrics() -> None:
    assert task_score(get_task("mrpc"), {"val/accuracy": 0.8, "val/f1": 0.9, "val/loss": 3.0}) == pytest.approx(0.85)
    mnli = {"val_matched/accuracy": 0.8, "val_mismatched/accuracy": 0.7, "val_matched/loss": 1.0}
    assert task_score(get_task("mnli"), mnli) == pytest.approx(0.75)
    assert task_score(get_task("stsb"), {"val/pearson": None, "val/spearmanr": 0.4}) is None


def test_figure_has_mean_and_deviation_over_seeds() -> None:
    found = figure("accuracy", [0.5, 0.6, 0.7])
    assert (found.mean, found.deviation, found.count) == (pytest.approx(60), pytest.approx(10), 3)  # with n - 1
    assert str(found) == "60.00 ± 10.00"
    assert str(figure("accuracy", [0.5])) == "50.00"
    results = [{"metrics": {"val/pearson": 0.8, "val/spearmanr": 0.7}}, {"metrics": {"val/pearson": None}}]
    assert [(f.name, f.mean) for f in task_figures(get_task("stsb"), results)] == [
        ("pearson", pytest.approx(40)), ("spearmanr", pytest.approx(35))
    ]  # fmt: skip


def test_glue_average_needs_every_task() -> None:
    scores = {name: [0.1 * n, 0.1 * n + 0.02] for n, name in enumerate(GLUE)}
    average = glue_average(scores)
    assert average is not None
    assert (average.mean, average.deviation, average.count) == (pytest.approx(41), pytest.approx(2**0.5), 2)
    for name in GLUE:
        assert glue_average({task: values for task, values in scores.items() if task != name}) is None
        assert glue_average(scores | {name: [0.3]}) is None
        left_out = glue_average({t: v for t, v in scores.items() if t != name}, left_out=[name])
        assert left_out is not None
        others = [values[0] for task, values in scores.items() if task != name]
        assert left_out.mean == pytest.approx(100 * (sum(others) / 8 + 0.01))


def test_more_metrics_have_figures_but_do_not_count() -> None:
    task = resolve_task("mrpc", CustomTask(), ["log_loss", "auroc"])
    metrics = {"val/accuracy": 0.8, "val/f1": 0.9, "val/log_loss": 0.5, "val/auroc": None}
    assert task_score(task, metrics) == pytest.approx(0.85)
    results = [{"metrics": metrics}, {"metrics": metrics | {"val/log_loss": None, "val/auroc": 0.5}}]
    found = {one.name: (one.mean, one.count) for one in task_figures(task, results)}
    assert found["log_loss"] == (0.5, 1)  # as it is, and without the run in which it is undefined
    assert found["auroc"] == (25.0, 2)


def test_a_run_of_an_own_task_is_ranked_by_its_first_metric() -> None:
    own = CustomTask(text="text", kind="classification", labels=["a", "b"], metrics=["brier_score", "accuracy"])
    assert task_score(resolve_task("own", own), {"val/brier_score": 0.25, "val/accuracy": 1.0}) == -0.25
