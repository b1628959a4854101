"""`CustomTask`: the settings of a user's own task (columns, kind, labels), and the `TaskSpec` made from them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from glue_lit.errors import UsageError
from glue_lit.tasks.custom_values import ALLOWED
from glue_lit.tasks.glue import TASKS, SplitFile, TaskSpec, get_task
from glue_lit.tasks.levels import default_cut_points
from glue_lit.tasks.metric_entries import Entry, entry_of_text, entry_text, parse_metrics
from glue_lit.tasks.metrics import Kind
from glue_lit.tasks.text_inputs import TextInputs, parse_text_inputs


@dataclass(frozen=True)
class CustomTask:
    """A task of your own: which columns hold texts and labels. Settings that are null are read from the data.

    Args:
        text: The text column, or a template such as '{title} ({year}): {body}', in which {sep} is the tokenizer's
            separator. A list of two is a pair of texts; three or more are joined into one text.
        label: Name of the label column. For multi_label also a list of columns, one for each label, that hold 0 or 1.
        kind: classification, regression, multi_label for rows with any number of labels, or ordinal for labels in
            order such as ratings; null for multi_label if the column holds lists or several are named, for regression
            if all labels are numbers, with decimals or more than 20 different ones, else classification.
        labels: The labels as the data write them, in the order of the model's outputs; null for the labels of the
            training rows, in the order of the data set's ClassLabel, else sorted.
        label_names: Names to show in place of the labels, in the same order; null for the labels themselves.
        positive: The label, of two, that F1, precision and recall describe; null for the last one.
        metrics: Names of metrics, with parameters where they need some, as in [macro_f1, "fbeta(beta=2)", auroc];
            `glue-lit metrics` lists them. The first picks the checkpoint unless checkpoint.monitor names another. Null
            for accuracy with an F1, or Pearson and Spearman.
        class_weights: Factor of each label in the training loss, in the order of the labels; balanced for the inverse
            of the label's frequency; null for none.
        decimal_comma: Whether numbers are written 3,5; null to decide by the labels, which works only for files whose
            columns are not separated by commas.
        validation_file: File with the validation rows; null for that of the folder or data set. Without either, some
            training rows are held out.
        test_file: File with the test rows; null for that of the folder or data set, if there is one.
        validation_fraction: Share of the training rows to hold out if there are no validation rows.
        split_seed: Seed that decides which rows are held out, independent of the training seed.
        id: Name of a column that identifies rows; predictions, report and TensorBoard show its value beside the line
            number. Null for none.
        text_separator: Text between joined columns; given with two columns, it joins them instead of making a pair.
            Null for a blank if there are three or more. Empty columns are left out.
        sep_token: What {sep} stands for in data.custom.text and text_separator; null for the tokenizer's separator.
        label_separator: For multi_label, the character between the labels in a text such as a;b; null for the first of
            ; | and , that occurs in the training rows.
        thresholds: For multi_label, the probability from which on a label is predicted, or tuned for that of each label
            with the highest F1 on the validation rows, fitted at each validation of a fit; null for 0.5.
    """

    # `list` where there may be thousands of items: of a list[str], jsonargparse copies all items once for each item,
    # but it needs one of these for `--data.custom.labels+`.
    text: str | list[str] | None = None
    label: str | list | list[str] = "label"  # type: ignore[type-arg]
    kind: Kind | None = None
    labels: list | list[str] | None = None  # type: ignore[type-arg]
    label_names: list | list[str] | None = None  # type: ignore[type-arg]
    positive: str | None = None
    metrics: list[str | dict[str, Any]] | None = None
    class_weights: Literal["balanced"] | list | list[float] | None = None  # type: ignore[type-arg]
    decimal_comma: bool | None = None
    validation_file: str | None = None
    test_file: str | None = None
    validation_fraction: float = 0.1
    split_seed: int = 42
    id: str | None = None
    text_separator: str | None = None
    sep_token: str | None = None
    label_separator: str | None = None
    thresholds: Literal["tuned"] | float | None = None

    @property
    def inputs(self) -> TextInputs:
        """How the texts of an example are made of columns.

        Raises:
            UsageError: A template is malformed.
        """
        return parse_text_inputs(self.text_columns, self.text_separator, self.sep_token)

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The label column, or the 0/1 column of each label."""
        return (self.label,) if isinstance(self.label, str) else tuple(self.label)

    @property
    def label_column(self) -> str:
        """The label columns in a line of text."""
        columns = self.label_columns
        return ", ".join(columns[:10]) + (" ..." if len(columns) > 10 else "")

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns and templates in ``text``; empty if this describes no task."""
        return () if self.text is None else (self.text,) if isinstance(self.text, str) else tuple(self.text)

    @property
    def is_complete(self) -> bool:
        """Whether all settings are known, so that none must be read from the data."""
        has_labels = self.labels or self.kind == "regression"
        return bool(self.kind and self.metrics and has_labels and self.class_weights != "balanced")

    def settings(self) -> dict[str, Any]:
        """The settings as plain values, for checkpoints and configurations."""
        return asdict(self)

    def settings_of_model(self) -> dict[str, Any]:
        """The same with classes of metrics as text: among values of any type, jsonargparse would build them."""
        return self.settings() | {"metrics": self.metrics and [entry_text(entry) for entry in self.metrics]}


NO_TASK = CustomTask()
_SPLITS = ("train", "validation", "test")


def plain(value: Any) -> Any:
    """Convert subclasses of ``str`` and ``list`` to these, the only types that checkpoints can hold."""
    if isinstance(value, list | tuple):
        return (list if isinstance(value, list) else tuple)(map(plain, value))
    if isinstance(value, Mapping):
        return {plain(key): plain(part) for key, part in value.items()}
    return str(value) if isinstance(value, str) else value


def parse_custom_task(values: Mapping[str, Any] | CustomTask | None) -> CustomTask:
    """Build the settings from plain values.

    Raises:
        UsageError: A value is not one that its key allows.
        TypeError: A key does not exist.
    """
    if isinstance(values, CustomTask):
        return values
    if not isinstance(values, Mapping | None):
        raise UsageError(f"data.custom: got {values!r}, allowed: keys such as `text` and `label`, each with a value.")
    custom = CustomTask(**{key: plain(value) for key, value in (values or {}).items()})
    if isinstance(custom.metrics, list | tuple):
        custom = replace(custom, metrics=[entry_of_text(entry) for entry in custom.metrics])
    for key, value in custom.settings().items():
        words, is_allowed = ALLOWED[key]
        if not (is_allowed(value) or (value is None and getattr(NO_TASK, key) is None)):
            raise UsageError(f"data.custom.{key}: got {value!r}, allowed: {words}.")
    return custom


def resolve_task(name: str, custom: CustomTask, metrics: Sequence[Entry] | None = None) -> TaskSpec:
    """Return the task called ``name``: the user's own if ``custom`` names its columns, else GLUE's.

    Args:
        name: Its name.
        custom: The settings of the user's own task.
        metrics: Metrics beside the task's own (``data.metrics``).

    Raises:
        UsageError: There is no such task or metric, or the user's own task has a name that is not allowed.
    """
    if not custom.text_columns:
        try:
            task = get_task(name)
        except UsageError as error:
            raise UsageError(
                f"{error} For a task of your own, name its columns: `--data.custom.text COLUMN`."
            ) from None
        return _with_metrics(task, metrics)
    return _with_metrics(_own_task(name, custom), metrics)


def _with_metrics(task: TaskSpec, entries: Sequence[Entry] | None) -> TaskSpec:
    """The task with further metrics; those that it has already are left out."""
    if not entries:
        return task
    own = [task.metric(name) for name in task.metrics]
    added = [metric for metric in parse_metrics(entries, task.target, "data.metrics") if metric not in own]
    if taken := [metric.logged for metric in added if metric.logged in task.metrics]:
        raise UsageError(f"data.metrics: {taken[0]} is the name of another metric of the task. Leave it out.")
    names = (metric.logged for metric in added)
    return replace(task, metrics=(*task.metrics, *names), chosen=(*task.chosen, *added))


def _own_task(name: str, custom: CustomTask) -> TaskSpec:
    check_task_name(name)
    if not custom.is_complete:
        raise UsageError(
            f"Task {name}: its labels and metrics are not known yet. Let a GLUEDataModule(task, source=..., "
            "custom=...) read them from the data, and pass its `custom.settings()` on."
        )
    is_score, written = custom.kind in ("regression", "ordinal"), tuple(custom.labels or ())
    values = () if is_score else written
    positive = values.index(custom.positive) if custom.positive in values else max(len(values) - 1, 0)
    inputs = custom.inputs
    task = TaskSpec(
        name=name,
        title=f"{'An' if custom.kind == 'ordinal' else 'A'} {(custom.kind or 'task').replace('_', '-')} task",
        hub_name="",
        text_columns=inputs.names,
        own_inputs=inputs,
        labels=() if is_score else tuple(custom.label_names or ()) or values,
        file_labels=values,
        metrics=(),
        files={split: SplitFile("", inputs.columns, custom.label_column, 0) for split in _SPLITS},
        submission={},
        class_weights=tuple(custom.class_weights or ()) if custom.class_weights != "balanced" else (),
        positive=positive if len(values) == 2 else 1,
        is_multi_label=custom.kind == "multi_label",
        threshold=custom.thresholds if isinstance(custom.thresholds, float) else 0.5,
        tunes_thresholds=custom.thresholds == "tuned",
    )
    if custom.kind == "ordinal":
        levels = tuple(custom.label_names or ()) or written
        task = replace(task, levels=levels, cut_points=default_cut_points(len(levels)))
    chosen = parse_metrics(custom.metrics or (), task.target, "data.custom.metrics")
    return replace(task, metrics=tuple(metric.logged for metric in chosen), chosen=chosen)


def check_task_name(name: str) -> None:
    """Refuse a name that is not allowed for a task of the user's own.

    Raises:
        UsageError: It is the name of a GLUE task, or cannot be the name of a folder.
    """
    if name in TASKS:
        raise UsageError(
            f"data.task: {name!r} is a task of GLUE, and data.custom describes one of your own. "
            "Give it another name: `--data.task reviews`."
        )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise UsageError(
            f"data.task: {name!r} cannot be a task's name, because a folder is named after it. "
            "Allowed: up to 100 letters, digits, '-', '_' and '.'."
        )
