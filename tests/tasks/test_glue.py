"""The table of tasks agrees with what GLUE and nyu-mll/glue publish, and with the real files."""

import csv
import re
from collections import Counter
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from glue_lit.data.sources import open_split
from glue_lit.errors import UsageError
from glue_lit.tasks.glue import TASKS, SplitFile, TaskSpec, get_task, log_prefix, logged_names, monitor_mode
from glue_lit.tasks.spec import limit_setting

# Class names on the data set card of nyu-mll/glue, in the order of their numbers on the Hub.
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

# Rows and text columns on the data set card of nyu-mll/glue, and names in Wang et al. 2019, section 3.
CARDS = {
    "cola": ("Corpus of Linguistic Acceptability", ("sentence",), (8551, 1043, 1063)),
    "sst2": ("Stanford Sentiment Treebank", ("sentence",), (67349, 872, 1821)),
    "mrpc": ("Microsoft Research Paraphrase Corpus", ("sentence1", "sentence2"), (3668, 408, 1725)),
    "qqp": ("Quora Question Pairs", ("question1", "question2"), (363846, 40430, 390965)),
    "stsb": ("Semantic Textual Similarity Benchmark", ("sentence1", "sentence2"), (5749, 1500, 1379)),
    "mnli": ("Multi-Genre Natural Language Inference", ("premise", "hypothesis"), (392702, 9815, 9832, 9796, 9847)),
    "qnli": ("Question-answering Natural Language Inference", ("question", "sentence"), (104743, 5463, 5463)),
    "rte": ("Recognizing Textual Entailment", ("sentence1", "sentence2"), (2490, 277, 3000)),
    "wnli": ("Winograd Natural Language Inference", ("sentence1", "sentence2"), (635, 71, 146)),
    "ax": ("Diagnostic set", ("premise", "hypothesis"), (1104,)),
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
def test_labels_have_the_order_of_the_hub(name: str, labels: tuple[str, ...]) -> None:
    # In another order, the sources would give a class different numbers.
    task = get_task(name)
    assert task.labels == labels
    assert len(task.file_labels) == len(labels)
    assert task.num_labels == (len(labels) or 1)
    assert task.is_regression == (name == "stsb")


@pytest.mark.parametrize("name", TASKS)
def test_file_labels_name_the_same_classes(name: str) -> None:
    # If the files write words, they are the class names in the same order.
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


def test_mnli_mm_is_mnli_with_the_other_split_monitored() -> None:
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


@pytest.mark.parametrize("name", TASKS)
def test_names_columns_and_sizes_are_those_of_the_data_card(name: str) -> None:
    task = get_task(name)
    title, columns, rows = CARDS[name.removesuffix("-mm")]
    assert task.hub_name == name.removesuffix("-mm")
    assert task.title.startswith(title)
    assert task.text_columns == columns
    assert tuple(file.rows for file in task.files.values()) == rows
    assert {file.skip_short for file in task.files.values()} == ({True, False} if name == "qqp" else {False})
    assert task.files.get("test", next(iter(task.files.values()))).skip_short is False  # its rows are numbered


def test_files_of_one_task_with_different_columns() -> None:
    assert get_task("cola").files["train"].texts == (3,)
    assert get_task("cola").files["test"].texts == ("sentence",)
    assert get_task("mrpc").files["test"].texts == ("#1 String", "#2 String")
    for name, file in get_task("mnli").files.items():
        middle = name.removeprefix("validation_").removeprefix("test_")
        kind = "train" if name == "train" else f"{'dev' if name.startswith('val') else 'test'}_{middle}"
        assert (file.path, file.texts, file.label) == (f"MNLI/{kind}.tsv", ("sentence1", "sentence2"), "gold_label")
    assert [file.path for file in get_task("ax").files.values()] == ["AX/AX.tsv"]


def test_logged_names_of_a_fit() -> None:
    assert logged_names(get_task("mrpc")) == ("val/accuracy", "val/f1", "val/loss", "train/loss")
    assert logged_names(get_task("mnli")) == (
        "val_matched/accuracy", "val_matched/loss", "val_mismatched/accuracy", "val_mismatched/loss", "train/loss",
    )  # fmt: skip


@pytest.mark.parametrize("table", [get_task("cola"), get_task("cola").files["train"]])
def test_the_table_cannot_be_changed(table: TaskSpec | SplitFile) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(table, next(iter(vars(table))), "other")
    assert hash(get_task("cola").files["train"])


def test_columns_that_group_rows() -> None:
    assert get_task("mnli").slice_columns == get_task("mnli-mm").slice_columns == ("genre",)
    # the annotated file of https://gluebenchmark.com/diagnostics
    assert get_task("ax").slice_columns == (
        "Lexical Semantics", "Predicate-Argument Structure", "Logic", "Knowledge", "Domain",
    )  # fmt: skip
    assert {task.slice_columns for name, task in TASKS.items() if name not in ("mnli", "mnli-mm", "ax")} == {()}


def test_an_unknown_task_lists_the_tasks() -> None:
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


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if "train" in task.files])
def test_most_common_is_counted_in_the_real_training_rows(glue_dir: Path, name: str) -> None:
    task = get_task(name)
    if not (glue_dir / task.files["train"].path).is_file():
        pytest.skip(f"{task.files['train'].path} is not in GLUE_DIR")
    labels = open_split(task, str(glue_dir), "train").read().labels
    if task.is_regression:
        assert task.most_common == f"{sum(float(score or 0) for score in labels) / len(labels):.3f}"
    else:
        assert task.most_common == task.file_labels[Counter(int(label or 0) for label in labels).most_common(1)[0][0]]


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_most_common_is_written_as_the_official_files_write_it(task: TaskSpec) -> None:
    if task.is_regression:
        assert task.score_range is not None
        assert task.score_range[0] < float(task.most_common) < task.score_range[1]
    else:
        assert task.most_common in task.file_labels


def test_the_lowest_loss_and_the_highest_metric_are_best() -> None:
    assert {monitor_mode(spec.monitor) for spec in TASKS.values()} == {"max"}
    assert monitor_mode("val/loss") == monitor_mode("train/loss") == "min"


def test_the_positive_label_is_named_for_two_labels_and_for_f1_alone() -> None:
    assert {name: spec.positive_label for name, spec in TASKS.items() if len(spec.labels) == 2} == {
        "cola": "acceptable", "sst2": "positive", "mrpc": "equivalent", "qqp": "duplicate", "qnli": "not_entailment",
        "rte": "not_entailment", "wnli": "entailment",
    }  # fmt: skip
    assert {name: spec.f1_label for name, spec in TASKS.items() if spec.f1_label is not None} == {
        "mrpc": "equivalent", "qqp": "duplicate"
    }  # fmt: skip
    assert get_task("mnli").positive_label is None
    assert get_task("stsb").positive_label is None


def test_splits_of_a_kind_share_a_limit() -> None:
    names = {split: limit_setting(split) for split in TASKS["mnli"].files}
    assert {names["validation_matched"], names["validation_mismatched"]} == {"validation_limit"}
    assert names["train"] == "train_limit"
