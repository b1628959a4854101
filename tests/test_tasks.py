"""The task table against what GLUE and nyu-mll/glue publish, and against the real files."""

import csv
import re
from collections import Counter
from pathlib import Path

import pytest

from glue_lit.data.sources import open_split
from glue_lit.errors import UsageError
from glue_lit.tasks import TASKS, TaskSpec, best_is, get_task, log_prefix

# Class names of nyu-mll/glue in order (its dataset card): the number that the Hub gives a class is its place here.
HUB_LABELS = {
    "cola": ("unacceptable", "acceptable"),
    "sst2": ("negative", "positive"),
    "mrpc": ("not_equivalent", "equivalent"),
    "qqp": ("not_duplicate", "duplicate"),
    "stsb": (),
    "mnli": ("entailment", "neutral", "contradiction"),
    "mnli-mm": ("entailment", "neutral", "contradiction"),
    "qnli": ("entailment", "not_entailment"),
    "rte": ("entailment", "not_entailment"),
    "wnli": ("not_entailment", "entailment"),
    "ax": ("entailment", "neutral", "contradiction"),
}

MONITORS = {
    "cola": "val/matthews_correlation",
    "sst2": "val/accuracy",
    "mrpc": "val/accuracy",
    "qqp": "val/accuracy",
    "stsb": "val/pearson",
    "mnli": "val_matched/accuracy",
    "mnli-mm": "val_mismatched/accuracy",
    "qnli": "val/accuracy",
    "rte": "val/accuracy",
    "wnli": "val/accuracy",
    "ax": "test/matthews_correlation",
}

# Wang et al. 2019, section 3 and table 1.
METRICS = {
    "cola": {"matthews_correlation"},
    "sst2": {"accuracy"},
    "mrpc": {"accuracy", "f1"},
    "qqp": {"accuracy", "f1"},
    "stsb": {"pearson", "spearmanr"},
    "mnli": {"accuracy"},
    "mnli-mm": {"accuracy"},
    "qnli": {"accuracy"},
    "rte": {"accuracy"},
    "wnli": {"accuracy"},
    "ax": {"matthews_correlation"},
}

# Names that https://gluebenchmark.com/submit asks for.
SUBMISSION = {
    "CoLA.tsv", "SST-2.tsv", "MRPC.tsv", "QQP.tsv", "STS-B.tsv", "MNLI-m.tsv", "MNLI-mm.tsv", "QNLI.tsv", "RTE.tsv",
    "WNLI.tsv", "AX.tsv",
}  # fmt: skip


def test_every_glue_task_is_there() -> None:
    assert set(TASKS) == set(HUB_LABELS)
    assert all(spec.name == name for name, spec in TASKS.items())


@pytest.mark.parametrize(("name", "labels"), HUB_LABELS.items())
def test_labels_stand_in_the_order_of_the_hub(name: str, labels: tuple[str, ...]) -> None:
    # The class number is what the model is trained on: another order would swap classes between sources.
    task = get_task(name)
    assert task.labels == labels
    assert len(task.file_labels) == len(labels)
    assert task.num_labels == (len(labels) or 1)
    assert task.is_regression == (name == "stsb")


@pytest.mark.parametrize("name", TASKS)
def test_file_labels_name_the_same_classes(name: str) -> None:
    # Where the files write words, they must be the class names themselves, in the same places.
    task = get_task(name)
    if any(not written.isdigit() for written in task.file_labels):
        assert task.file_labels == task.labels
    else:
        assert task.file_labels == tuple(str(number) for number in range(len(task.labels)))


@pytest.mark.parametrize(("name", "monitor"), MONITORS.items())
def test_the_monitored_value_is_one_of_glues_metrics(name: str, monitor: str) -> None:
    task = get_task(name)
    assert task.monitor == monitor
    assert set(task.metrics) == METRICS[name]


@pytest.mark.parametrize(
    ("split", "prefix"),
    [
        ("train", "train"),
        ("validation", "val"),
        ("validation_matched", "val_matched"),
        ("validation_mismatched", "val_mismatched"),
        ("test_mismatched", "test_mismatched"),
    ],
)
def test_log_prefix(split: str, prefix: str) -> None:
    assert log_prefix(split) == prefix


def test_splits() -> None:
    assert get_task("cola").validation_splits == ("validation",)
    assert get_task("cola").test_splits == ("test",)
    for name in ("mnli", "mnli-mm"):
        assert get_task(name).validation_splits == ("validation_matched", "validation_mismatched")
        assert get_task(name).test_splits == ("test_matched", "test_mismatched")
    assert get_task("ax").validation_splits == ()
    assert get_task("ax").test_splits == ("test",)
    assert get_task("ax").trained_as == "mnli"


def test_mnli_mm_is_mnli_watched_from_the_other_side() -> None:
    one, other = get_task("mnli"), get_task("mnli-mm")
    same = ("hub_name", "text_columns", "labels", "file_labels", "metrics", "files", "submission")
    assert all(getattr(one, name) == getattr(other, name) for name in same)
    assert one.monitored_split != other.monitored_split


@pytest.mark.parametrize("name", TASKS)
def test_every_test_split_has_a_file_to_submit(name: str) -> None:
    task = get_task(name)
    assert set(task.submission) == set(task.test_splits)
    assert task.monitored_split is None or task.monitored_split in task.validation_splits


def test_submission_is_complete() -> None:
    assert {file for task in TASKS.values() for file in task.submission.values()} == SUBMISSION


def test_unknown_task_names_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"no task 'colla'\. Did you mean 'cola'\? The tasks are: cola, .*, ax\."):
        get_task("colla")
    with pytest.raises(UsageError, match=re.escape("no task 'squad'. The tasks are:")):
        get_task("squad")


def _complete_splits() -> list[tuple[TaskSpec, str]]:
    return [(task, split) for task in TASKS.values() for split in task.files]


@pytest.mark.parametrize(
    ("task", "split"), _complete_splits(), ids=[f"{task.name}-{split}" for task, split in _complete_splits()]
)
def test_sizes_are_those_of_the_real_files(glue_dir: Path, task: TaskSpec, split: str) -> None:
    file = task.files[split]
    path = glue_dir / file.path
    if not path.is_file():
        pytest.skip(f"{file.path} is not in GLUE_DIR")
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = sum(1 for _ in csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert rows - isinstance(file.texts[0], str) == file.rows


@pytest.mark.parametrize("name", TASKS)
def test_most_common_is_counted_in_the_real_training_rows(glue_dir: Path, name: str) -> None:
    task = get_task(name)
    file = task.files.get("train")
    if file is None or not (glue_dir / file.path).is_file():
        pytest.skip(f"{name} has no training rows in GLUE_DIR")
    labels = open_split(task, str(glue_dir), "train").read().labels
    if task.is_regression:
        assert task.most_common == f"{sum(float(score or 0) for score in labels) / len(labels):.3f}"
    else:
        assert task.most_common == task.file_labels[Counter(int(label or 0) for label in labels).most_common(1)[0][0]]


def test_the_lowest_loss_and_the_highest_metric_are_best() -> None:
    assert {best_is(spec.monitor) for spec in TASKS.values()} == {"max"}
    assert best_is("val/loss") == best_is("train/loss") == "min"
