"""`TaskSpec`: everything the package knows about a task, and the names under which its scores are logged."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from glue_lit.tasks.chosen_metrics import Metric
from glue_lit.tasks.metric_entries import Target, parse_metric
from glue_lit.tasks.metrics import Kind
from glue_lit.tasks.text_inputs import TextInputs


@dataclass(frozen=True)
class SplitFile:
    """Where the official download keeps one split.

    Attributes:
        path: File below the GLUE folder.
        texts: Columns of the one or two texts; numbers (from 0) where the file has no header.
        label: Column of the label; ``None`` where the file never has one.
        rows: Rows in the official file.
        skip_short: Leave out rows with too few columns, as GLUE itself does for QQP: line breaks cut three rows of its
            train file in two.
    """

    path: str
    texts: tuple[str | int, ...]
    label: str | int | None
    rows: int
    skip_short: bool = False


@dataclass(frozen=True)
class TaskSpec:
    """One task, as data: one of GLUE's in `TASKS`, or the user's own (`glue_lit.tasks.custom.resolve_task`).

    Attributes:
        name: The name that ``data.task`` takes.
        title: What the task is called in the paper.
        hub_name: Configuration of ``nyu-mll/glue``.
        text_columns: The one or two text columns on the Hub; for a task of the user's own, what its texts are made of.
        labels: Label names in GLUE's order; empty for regression.
        metrics: The metrics by the names that they are logged under, first all that GLUE names; the first picks the
            checkpoint.
        files: File of each split: ``train``, ``validation...`` and ``test...``.
        submission: File name that the leaderboard expects for each test split.
        monitored_split: The validation split whose metric picks the checkpoint; ``None`` if the task has none.
        file_labels: The labels as the official files write them, in the order of ``labels``.
        score_range: Lowest and highest score of a regression task.
        trained_as: The task whose runs predict this one, if it has no training rows of its own.
        most_common: The most frequent training label as the official files write it, or the mean score.
        class_weights: Factor of each label in the training loss; empty if all are 1.
        positive: With two labels, index of the one that F1, precision and recall describe.
        slice_columns: Columns whose values divide rows into the groups that a report scores. AX's are those of the
            annotated file that its authors publish beside the official one.
        chosen: The metrics that the user has chosen, with their parameters.
        is_multi_label: Whether a row has any number of the labels rather than one.
        own_inputs: How texts are made of columns; ``None`` if each is a column.
        threshold: The probability from which on each of any number of labels is predicted.
        tunes_thresholds: Whether each of these labels gets the threshold that is best on the monitored split.
        levels: Labels in order, lowest first, of which a row has one that the model's score tells; else empty.
        cut_points: Lowest score of each level but the first; those of a trained model are its own.
    """

    name: str
    title: str
    hub_name: str
    text_columns: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    files: Mapping[str, SplitFile]
    submission: Mapping[str, str]
    monitored_split: str | None = "validation"
    file_labels: tuple[str, ...] = ("0", "1")
    score_range: tuple[float, float] | None = None
    trained_as: str | None = None
    most_common: str = ""
    class_weights: tuple[float, ...] = ()
    positive: int = 1
    slice_columns: tuple[str, ...] = ()
    chosen: tuple[Metric, ...] = ()
    is_multi_label: bool = False
    own_inputs: TextInputs | None = None
    threshold: float = 0.5
    tunes_thresholds: bool = False
    levels: tuple[str, ...] = ()
    cut_points: tuple[float, ...] = ()

    @property
    def kind(self) -> Kind:
        """What is learned of a row: one label, any number of labels, or a number (with levels, that of its level)."""
        return "multi_label" if self.is_multi_label else "classification" if self.labels else "regression"

    @cached_property
    def inputs(self) -> TextInputs:
        """How the texts of an example are made of columns."""
        return self.own_inputs or TextInputs.of_columns(self.text_columns)

    @property
    def sets_of(self) -> int | None:
        """Number of labels of which a row may have any; ``None`` if it has one."""
        return len(self.labels) if self.is_multi_label else None

    @property
    def is_regression(self) -> bool:
        """Whether the label is a number rather than a class."""
        return not self.labels

    @property
    def positive_label(self) -> str | None:
        """With two labels, the one that F1, precision and recall describe; else ``None``."""
        return self.labels[self.positive] if len(self.labels) == 2 and not self.is_multi_label else None

    @property
    def f1_label(self) -> str | None:
        """Label that F1, precision and recall are computed for; ``None`` if none of them is among the metrics."""
        return self.positive_label if any(self.metric(name).is_of_default_label for name in self.metrics) else None

    @property
    def label_metrics(self) -> str:
        """Titles of the metrics that describe the positive label, such as ``Precision and F1``."""
        return " and ".join(one.title() for one in self.scoring if one.is_of_default_label)

    @property
    def target(self) -> Target:
        """What its metrics compare."""
        kind: Kind = "ordinal" if self.levels else self.kind
        return Target(kind, self.labels, self.file_labels, self.positive)

    def metric(self, name: str) -> Metric:
        """One of its metrics, by its logged name."""
        found = (metric for metric in self.chosen if metric.logged == name)
        metric = next(found, None) or parse_metric(name, replace(self.target, is_known=False))
        return replace(metric, cut_points=self.cut_points) if self.levels and metric.cuts_scores else metric

    @property
    def scoring(self) -> tuple[Metric, ...]:
        """All its metrics, with their parameters."""
        return tuple(self.metric(name) for name in self.metrics)

    @property
    def num_labels(self) -> int:
        """Number of outputs of the model's head."""
        return max(1, len(self.labels))

    @property
    def validation_splits(self) -> tuple[str, ...]:
        """Names of the splits that are scored during training."""
        return tuple(split for split in self.files if split.startswith("validation"))

    @property
    def test_splits(self) -> tuple[str, ...]:
        """Names of the test splits, whose labels GLUE hides."""
        return tuple(split for split in self.files if split.startswith("test"))

    @property
    def monitor(self) -> str:
        """Logged name of the metric that picks the checkpoint, e.g. ``val/matthews_correlation``."""
        return f"{log_prefix(self.monitored_split or self.test_splits[0])}/{self.metrics[0]}"


def logged_names(task: TaskSpec) -> tuple[str, ...]:
    """Names of all logged values that can pick the best checkpoint."""
    scores = (*task.metrics, "loss")
    return (*(f"{log_prefix(split)}/{name}" for split in task.validation_splits for name in scores), "train/loss")


def monitor_mode(monitor: str, task: TaskSpec | None = None) -> Literal["max", "min"]:
    """Direction in which a logged value improves: ``min`` for a loss, else as the task's metric says.

    Args:
        monitor: The logged name.
        task: The task; ``None`` if it is not known.
    """
    name = monitor.rpartition("/")[2]
    if task is None or name not in task.metrics:
        return "min" if monitor.endswith("loss") else "max"
    return "min" if task.metric(name).lower_is_better else "max"


def known_cut_points(record: Mapping[str, Any], task: TaskSpec) -> tuple[float, ...]:
    """The cut points in a record or a checkpoint, for a task with labels in order; the task's own if they are damaged.

    Args:
        record: May have the entry ``cut_points``, and may come from anybody.
        task: Has the labels.
    """
    found = record.get("cut_points")
    if not isinstance(found, list) or len(found) != len(task.cut_points):
        return task.cut_points
    if not all(isinstance(cut, float | int) and math.isfinite(cut) for cut in found):
        return task.cut_points
    return tuple(map(float, found)) if sorted(found) == found else task.cut_points


def log_prefix(split: str) -> str:
    """Prefix of a split's scores in logs and results: ``validation_matched`` becomes ``val_matched``."""
    return split.replace("validation", "val")


def limit_setting(split: str) -> str:
    """The setting that limits a split's rows: ``validation_limit`` for ``validation_matched``."""
    return f"{split.partition('_')[0]}_limit"
