"""GLUE's tasks, a `TaskSpec` each: the only place in the package that names them.

Tasks, metrics and sizes are from table 1 of Wang et al. 2019, "GLUE" (https://arxiv.org/abs/1804.07461); file names,
columns and most frequent labels from the official download (MNLI's classes, and QNLI's, are equally frequent but for
about ten rows); columns on the Hub and the order of labels from ``nyu-mll/glue``.
"""

from dataclasses import replace

from glue_lit.errors import UsageError, did_you_mean
from glue_lit.tasks.spec import SplitFile, TaskSpec, log_prefix, logged_names, monitor_mode

__all__ = ["TASKS", "SplitFile", "TaskSpec", "get_task", "log_prefix", "logged_names", "monitor_mode"]

_SENTENCES = ("sentence1", "sentence2")
_NLI = ("entailment", "neutral", "contradiction")
_BINARY_NLI = ("entailment", "not_entailment")
_MRPC = ("#1 String", "#2 String")
_QQP = ("question1", "question2")
_QNLI = ("question", "sentence")


def _files(
    folder: str, texts: tuple[str | int, ...], label: str | int, train: int, dev: int, test: int, short: bool = False
) -> dict[str, SplitFile]:
    """The usual layout: train, dev and test files with the same columns, the test file without labels."""
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
    """Return the GLUE task called ``name``.

    Raises:
        UsageError: There is no such task; the message lists the names.
    """
    if name not in TASKS:
        known, hint = ", ".join(TASKS), did_you_mean(name, TASKS)
        raise UsageError(f"data.task: there is no task {name!r}.{hint} The tasks are: {known}.")
    return TASKS[name]
