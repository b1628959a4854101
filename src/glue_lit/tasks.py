"""What a task is: a `TaskSpec`, one for each of GLUE's, and nothing else in the package knows more.

Sources: Wang et al. 2019, "GLUE" (https://arxiv.org/abs/1804.07461), table 1, for tasks, metrics and
sizes; the official download for file names and columns, and for the commonest labels (MNLI's three classes and
QNLI's two lie within some ten rows of each other); ``nyu-mll/glue`` for Hub columns and label order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from glue_lit.errors import UsageError, did_you_mean


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
    """One task, as data; of GLUE's in `TASKS`, or made from the user's settings (`custom.task_of`).

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
    slice_columns: tuple[str, ...] = ()

    @property
    def is_regression(self) -> bool:
        """Whether the label is a number rather than a class."""
        return not self.labels

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


def best_is(monitor: str) -> Literal["max", "min"]:
    """Which value of a logged name is best, unless ``checkpoint.mode`` says so: the lowest loss, the highest metric."""
    return "min" if monitor.endswith("loss") else "max"


def log_prefix(split: str) -> str:
    """Prefix of a split's metrics in logs and results: ``validation_matched`` becomes ``val_matched``."""
    return split.replace("validation", "val", 1)


_SENTENCES = ("sentence1", "sentence2")
_NLI = ("entailment", "neutral", "contradiction")
_BINARY_NLI = ("entailment", "not_entailment")
_MRPC = ("#1 String", "#2 String")
_QQP = ("question1", "question2")
_QNLI = ("question", "sentence")


def _files(
    folder: str, texts: tuple[str | int, ...], label: str | int, train: int, dev: int, test: int, short: bool = False
) -> dict[str, SplitFile]:
    """The common layout: train, dev and test files with the same columns, test without a label."""
    return {
        "train": SplitFile(f"{folder}/train.tsv", texts, label, train, short),
        "validation": SplitFile(f"{folder}/dev.tsv", texts, label, dev, short),
        "test": SplitFile(f"{folder}/test.tsv", texts, label, test),
    }


_MNLI = TaskSpec(
    name="mnli",
    title="Multi-Genre Natural Language Inference",
    hub_name="mnli",
    text_columns=("premise", "hypothesis"),
    labels=_NLI,
    file_labels=_NLI,
    metrics=("accuracy",),
    monitored_split="validation_matched",
    files={
        "train": SplitFile("MNLI/train.tsv", _SENTENCES, "gold_label", 392_702),
        "validation_matched": SplitFile("MNLI/dev_matched.tsv", _SENTENCES, "gold_label", 9_815),
        "validation_mismatched": SplitFile("MNLI/dev_mismatched.tsv", _SENTENCES, "gold_label", 9_832),
        "test_matched": SplitFile("MNLI/test_matched.tsv", _SENTENCES, "gold_label", 9_796),
        "test_mismatched": SplitFile("MNLI/test_mismatched.tsv", _SENTENCES, "gold_label", 9_847),
    },
    submission={"test_matched": "MNLI-m.tsv", "test_mismatched": "MNLI-mm.tsv"},
    most_common="contradiction",
    slice_columns=("genre",),
)

_ALL = (
    TaskSpec(
        name="cola",
        title="Corpus of Linguistic Acceptability",
        hub_name="cola",
        text_columns=("sentence",),
        labels=("unacceptable", "acceptable"),
        metrics=("matthews_correlation",),
        files={
            "train": SplitFile("CoLA/train.tsv", (3,), 1, 8_551),
            "validation": SplitFile("CoLA/dev.tsv", (3,), 1, 1_043),
            "test": SplitFile("CoLA/test.tsv", ("sentence",), "label", 1_063),
        },
        submission={"test": "CoLA.tsv"},
        most_common="1",
    ),
    TaskSpec(
        name="sst2",
        title="Stanford Sentiment Treebank",
        hub_name="sst2",
        text_columns=("sentence",),
        labels=("negative", "positive"),
        metrics=("accuracy",),
        files=_files("SST-2", ("sentence",), "label", 67_349, 872, 1_821),
        submission={"test": "SST-2.tsv"},
        most_common="1",
    ),
    TaskSpec(
        name="mrpc",
        title="Microsoft Research Paraphrase Corpus",
        hub_name="mrpc",
        text_columns=_SENTENCES,
        labels=("not_equivalent", "equivalent"),
        metrics=("accuracy", "f1"),
        files=_files("MRPC", _MRPC, "Quality", 3_668, 408, 1_725),
        submission={"test": "MRPC.tsv"},
        most_common="1",
    ),
    TaskSpec(
        name="qqp",
        title="Quora Question Pairs",
        hub_name="qqp",
        text_columns=_QQP,
        labels=("not_duplicate", "duplicate"),
        metrics=("accuracy", "f1"),
        files=_files("QQP", _QQP, "is_duplicate", 363_846, 40_430, 390_965, short=True),
        submission={"test": "QQP.tsv"},
        most_common="0",
    ),
    TaskSpec(
        name="stsb",
        title="Semantic Textual Similarity Benchmark",
        hub_name="stsb",
        text_columns=_SENTENCES,
        labels=(),
        file_labels=(),
        metrics=("pearson", "spearmanr"),
        files=_files("STS-B", _SENTENCES, "score", 5_749, 1_500, 1_379),
        submission={"test": "STS-B.tsv"},
        most_common="2.701",
        score_range=(0.0, 5.0),
    ),
    _MNLI,
    replace(_MNLI, name="mnli-mm", monitored_split="validation_mismatched"),
    TaskSpec(
        name="qnli",
        title="Question-answering Natural Language Inference",
        hub_name="qnli",
        text_columns=_QNLI,
        labels=_BINARY_NLI,
        file_labels=_BINARY_NLI,
        metrics=("accuracy",),
        files=_files("QNLI", _QNLI, "label", 104_743, 5_463, 5_463),
        submission={"test": "QNLI.tsv"},
        most_common="not_entailment",
    ),
    TaskSpec(
        name="rte",
        title="Recognizing Textual Entailment",
        hub_name="rte",
        text_columns=_SENTENCES,
        labels=_BINARY_NLI,
        file_labels=_BINARY_NLI,
        metrics=("accuracy",),
        files=_files("RTE", _SENTENCES, "label", 2_490, 277, 3_000),
        submission={"test": "RTE.tsv"},
        most_common="entailment",
    ),
    TaskSpec(
        name="wnli",
        title="Winograd Natural Language Inference",
        hub_name="wnli",
        text_columns=_SENTENCES,
        labels=("not_entailment", "entailment"),
        metrics=("accuracy",),
        files=_files("WNLI", _SENTENCES, "label", 635, 71, 146),
        submission={"test": "WNLI.tsv"},
        most_common="0",
    ),
    TaskSpec(
        name="ax",
        title="Diagnostic set, predicted by an MNLI model",
        hub_name="ax",
        text_columns=("premise", "hypothesis"),
        labels=_NLI,
        file_labels=_NLI,
        metrics=("matthews_correlation",),
        monitored_split=None,
        files={"test": SplitFile("AX/AX.tsv", _SENTENCES, "label", 1_104)},
        submission={"test": "AX.tsv"},
        most_common="contradiction",
        trained_as="mnli",
        slice_columns=("Lexical Semantics", "Predicate-Argument Structure", "Logic", "Knowledge", "Domain"),
    ),
)

TASKS: dict[str, TaskSpec] = {spec.name: spec for spec in _ALL}


def get_task(name: str) -> TaskSpec:
    """Return the task called ``name``.

    Raises:
        UsageError: No such task; the message lists the names.
    """
    try:
        return TASKS[name]
    except KeyError:
        known = ", ".join(TASKS)
        hint = did_you_mean(name, TASKS)
        raise UsageError(f"data.task: there is no task {name!r}.{hint} The tasks are: {known}.") from None
