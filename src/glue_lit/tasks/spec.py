"""What there is to know of a task: a `TaskSpec`, and the names under which its scores are logged."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

CLASSIFICATION_METRICS = ("accuracy", "f1", "macro_f1", "matthews_correlation")
REGRESSION_METRICS = ("pearson", "spearmanr")


@dataclass(frozen=True)
class SplitFile:
    """Where the official download keeps one split.

    Attributes:
        path: File below the GLUE folder.
        texts: Columns of the one or two texts; numbers (from 0) where the file has no header.
        label: Column of the label; ``None`` where the file never has one.
        rows: Rows in the official file.
        skip_short: Leave out rows with too few columns, as GLUE itself does for QQP, whose
            train file holds three rows that a line break cut in two.
    """

    path: str
    texts: tuple[str | int, ...]
    label: str | int | None
    rows: int
    skip_short: bool = False


@dataclass(frozen=True)
class TaskSpec:
    """One task, as data; of GLUE's in `TASKS`, or made from the user's settings (`custom.resolve_task`).

    Attributes:
        name: The name that ``data.task`` takes.
        title: What the task is called in the paper.
        hub_name: Configuration of ``nyu-mll/glue``.
        text_columns: The one or two text columns on the Hub.
        labels: Label names in GLUE's order; empty for regression.
        file_labels: The same labels as the official files write them.
        metrics: Every metric that GLUE names, the monitored one first.
        files: Split name to file, for ``train``, ``validation...`` and ``test...``.
        monitored_split: The validation split whose metric picks the checkpoint; ``None``
            for a task that is only tested.
        submission: File name that the leaderboard takes, for each test split.
        score_range: Lowest and highest score of a regression task.
        trained_as: The task whose runs predict this one, where it has no training data of its own.
        most_common: The label that most training rows have, as the official files write it, or the mean score.
        class_weights: Factors on the training loss of each label; none are all 1.
        positive: Of two labels, the number of the one that F1, precision and recall are of.
        slice_columns: Columns that put rows into groups, by which a report scores them, where a file has them. AX's are
            those of the annotated file that its authors publish beside the official one.
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

    @property
    def is_regression(self) -> bool:
        """Whether the label is a number rather than a class."""
        return not self.labels

    @property
    def positive_label(self) -> str | None:
        """Of two labels, the one that F1, precision and recall are of."""
        return self.labels[self.positive] if len(self.labels) == 2 else None

    @property
    def num_labels(self) -> int:
        """Outputs of the model's head."""
        return max(1, len(self.labels))

    @property
    def validation_splits(self) -> tuple[str, ...]:
        """Splits scored during training."""
        return tuple(split for split in self.files if split.startswith("validation"))

    @property
    def test_splits(self) -> tuple[str, ...]:
        """Splits whose labels GLUE keeps."""
        return tuple(split for split in self.files if split.startswith("test"))

    @property
    def monitor(self) -> str:
        """Logged name of the metric that picks the checkpoint, e.g. ``val/matthews_correlation``."""
        return f"{log_prefix(self.monitored_split or self.test_splits[0])}/{self.metrics[0]}"


def logged_names(task: TaskSpec) -> tuple[str, ...]:
    """Every value that a fit logs and a checkpoint can be picked by."""
    scores = (*task.metrics, "loss")
    return (*(f"{log_prefix(split)}/{name}" for split in task.validation_splits for name in scores), "train/loss")


def monitor_mode(monitor: str) -> Literal["max", "min"]:
    """Which value of a logged name is best, unless ``checkpoint.mode`` says so: the lowest loss, the highest metric."""
    return "min" if monitor.endswith("loss") else "max"


def log_prefix(split: str) -> str:
    """Prefix of a split's metrics in logs and results: ``validation_matched`` becomes ``val_matched``."""
    return split.replace("validation", "val", 1)
