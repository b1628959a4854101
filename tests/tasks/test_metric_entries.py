"""Entries of a list of metrics: what they mean, the names that they are logged under, and what is refused."""

from typing import Any

import pytest

from glue_lit.errors import UsageError
from glue_lit.tasks.custom import CustomTask, resolve_task
from glue_lit.tasks.glue import TASKS, monitor_mode
from glue_lit.tasks.metric_entries import Target, parse_metric, parse_metrics

MAIL = Target(labels=("ham", "spam, junk"), written=("0", "1"))
THREE = Target(labels=("a", "b", "c"))


@pytest.mark.parametrize(
    ("entry", "logged", "title"),
    [
        ("accuracy", "accuracy", "Accuracy"),
        ("f1", "f1", "F1 of spam, junk"),
        ("macro_f1", "macro_f1", "Macro F1"),
        ("f1(average=macro)", "macro_f1", "Macro F1"),
        (" fbeta( beta = 2 , positive = ham ) ", "fbeta_2_ham", "F2 of ham"),
        ('precision(positive="spam, junk")', "precision_spam-junk", "Precision of spam, junk"),
        ("recall(positive=0)", "recall_0", "Recall of ham"),  # as the data write it
        ("weighted_recall", "weighted_recall", "Weighted recall"),
        ("fbeta(beta=0.5, average=micro)", "micro_fbeta_0.5", "Micro F0.5"),
        ("top_k_accuracy(k=1)", "top_k_accuracy_1", "Top-1 accuracy"),
        ({"class_path": "torchmetrics.classification.BinaryF1Score"}, "BinaryF1Score", "BinaryF1Score"),
        ({"class_path": "torchmetrics.AUROC", "name": "area"}, "area", "area"),
    ],
)
def test_names_and_titles(entry: Any, logged: str, title: str) -> None:
    metric = parse_metric(entry, MAIL)
    assert (metric.logged, metric.title(MAIL.labels)) == (logged, title)


def test_commas_within_parentheses_do_not_end_an_entry() -> None:
    split = ["f1", "fbeta(beta=2", " positive=ham)", "auroc"]  # as YAML reads [f1, fbeta(beta=2, positive=ham), auroc]
    assert [one.logged for one in parse_metrics(split, MAIL, "metrics")] == ["f1", "fbeta_2_ham", "auroc"]


@pytest.mark.parametrize(
    ("entries", "target", "message"),
    [
        (["acuracy"], MAIL, "'acuracy' is not a metric for 2 labels. Did you mean 'accuracy'? Allowed: accuracy, "),
        (["pearson"], THREE, "'pearson' is not a metric for 3 labels."),
        (["f1"], Target("regression"), "'f1' is not a metric for regression. Allowed: pearson, spearmanr, kendall"),
        (["nonsense"], Target(None, is_known=False), "'nonsense' is not a metric. Allowed: accuracy, "),
        (["f1"], THREE, "'f1' is not a metric for 3 labels, since it describes one. Allowed: macro_f1"),
        (["f1(averge=macro)"], MAIL, "'averge' is none of its parameters. Did you mean 'average'?"),
        (["accuracy(k=2)"], MAIL, "'k' is none of its parameters. Allowed: none."),
        (["f1(average=mean)"], MAIL, "average is 'mean', allowed: micro, macro or weighted"),
        (["macro_f1(average=micro)"], MAIL, "it names two averages"),
        (["f1(average=macro, positive=ham)"], MAIL, "give either positive, for one label, or average, for all."),
        (["f1(positive=sham)"], MAIL, "'sham' is not a label. Did you mean 'ham'? Allowed: ham, spam, junk."),
        (["fbeta(beta=-1)"], MAIL, "beta is '-1', allowed: a number above 0"),
        (["fbeta(beta=nan)"], MAIL, "beta is 'nan', allowed"),
        (["fbeta(beta=1, beta=2)"], MAIL, "beta is given twice"),
        (["top_k_accuracy(k=3)"], THREE, "k is '3', allowed: a whole number from 1 up, below the number of labels"),
        (["top_k_accuracy(k=1.5)"], THREE, "k is '1.5'"),
        (["f1("], MAIL, "'f1(' is not a metric"),
        ([{"class_path": 3}], MAIL, "allowed: a class_path of torchmetrics"),
        ([{"class_path": "torchmetrics.AUROC", "mode": "up"}], MAIL, "a mode (max or min is best)"),
        ([{"class_path": "torchmetrics.AUROC", "name": "loss"}], MAIL, "the name 'loss' is taken"),
        ([{"class_path": "torchmetrics.AUROC", "name": "a/b"}], MAIL, "the name 'a/b' is taken or not plain"),
        (
            [{"class_path": "torchmetrics.AUROC"}, {"class_path": "torchmetrics.AUROC", "mode": "max"}], MAIL,
            "two metrics would be logged as AUROC. Give one of them a `name`.",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(entries: list[Any], target: Target, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_metrics(entries, target, "data.custom.metrics")
    assert message in str(refused.value)
    assert str(refused.value).startswith("data.custom.metrics: ")
    assert "\n" not in str(refused.value)


def test_directions_come_from_the_registry() -> None:
    ece = {"class_path": "torchmetrics.CalibrationError", "init_args": {"task": "binary"}}
    task = resolve_task("cola", CustomTask(), ["brier_score", "auroc", ece, {**ece, "name": "other", "mode": "max"}])
    names = ("matthews_correlation", "brier_score", "auroc", "CalibrationError", "other", "loss")
    assert [monitor_mode(f"val/{name}", task) for name in names] == ["max", "min", "max", "min", "max", "min"]
    assert monitor_mode("train/loss") == "min"


def test_more_metrics_come_after_the_tasks_own() -> None:
    task = resolve_task("mrpc", CustomTask(), ["f1", "log_loss", "fbeta(beta=2)"])
    assert task.metrics == ("accuracy", "f1", "log_loss", "fbeta_2")
    assert task.metric("fbeta_2").beta == 2
    assert task.monitor == TASKS["mrpc"].monitor
    with pytest.raises(UsageError, match=r"data\.metrics: 'acc' is not a metric for 2 labels"):
        resolve_task("mrpc", CustomTask(), ["acc"])
    own = CustomTask(text="text", kind="classification", labels=["a", "b", "c"], metrics=["macro_f1"])
    with pytest.raises(UsageError, match=r"data\.metrics: macro_f1 is the name of another metric"):
        resolve_task("own", own, [{"class_path": "torchmetrics.AUROC", "name": "macro_f1"}])
