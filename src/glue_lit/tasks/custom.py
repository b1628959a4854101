"""A task of the user's own, as settings: which columns, what kind, which labels."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from glue_lit.errors import UsageError
from glue_lit.tasks.glue import TASKS, SplitFile, TaskSpec, get_task

Kind = Literal["classification", "regression"]


@dataclass(frozen=True)
class CustomTask:
    """A task of your own: what of the data is text and what is label. What is null is read from the data.

    Args:
        text: Name of the text column; a list of two for pairs of texts.
        label: Name of the label column.
        kind: classification or regression; null for regression if the labels are numbers of which one has decimals,
            or of which there are more than 20.
        labels: The labels as the data have them, in the order of the model's outputs; null for those of the training
            rows, in the order of the data set's ClassLabel, else sorted.
        label_names: What to call them, in the same order; null for what the data have.
        positive: Of two labels, the one that F1, precision and recall are of; null for the last one.
        metrics: Of accuracy, f1 (of two labels), macro_f1 and matthews_correlation, or of pearson and spearmanr; the
            first picks the checkpoint unless checkpoint.monitor names another. Null for accuracy with an F1, or both.
        class_weights: Factors on the training loss in the order of the labels; balanced for the inverse of how often
            each occurs.
        decimal_comma: Whether numbers are written 3,5; null for those of a file that no commas separate.
        validation_file: File with the validation rows; null for that of the folder or data set, else a part of the
            training rows is held out.
        test_file: File with the test rows; null for that of the folder or data set, if there is one.
        validation_fraction: Share of the training rows that is held out where there are no validation rows.
        split_seed: Decides which rows are held out; training's own seed does not.
        id: Name of a column that tells the rows apart, which predictions, report and TensorBoard then show beside the
            line; null for none.
    """

    text: str | list[str] | None = None
    label: str = "label"
    kind: Kind | None = None
    labels: list[str] | None = None
    label_names: list[str] | None = None
    positive: str | None = None
    metrics: list[str] | None = None
    class_weights: Literal["balanced"] | list[float] | None = None
    decimal_comma: bool | None = None
    validation_file: str | None = None
    test_file: str | None = None
    validation_fraction: float = 0.1
    split_seed: int = 42
    id: str | None = None

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The one or two text columns; none if this is no task."""
        return () if self.text is None else (self.text,) if isinstance(self.text, str) else tuple(self.text)

    @property
    def is_complete(self) -> bool:
        """Whether nothing has to be read from the data any more."""
        return bool(self.kind and self.metrics and (self.labels or self.kind == "regression")) and (
            self.class_weights != "balanced"
        )

    def settings(self) -> dict[str, Any]:
        """As plain values, which checkpoints and configurations hold."""
        return asdict(self)


NO_TASK = CustomTask()
_LISTS = {"text", "labels", "label_names", "metrics", "class_weights"}
_NEEDED = {"label", "validation_fraction", "split_seed"}
_TYPES = {
    "text": "a column, or a list of two",
    "label": "a column",
    "kind": "classification, regression",
    "labels": "a list of texts",
    "label_names": "a list of texts",
    "positive": "one of two labels",
    "metrics": "a list of texts",
    "class_weights": "balanced, or a list of numbers",
    "decimal_comma": "true, false",
    "validation_file": "a file",
    "test_file": "a file",
    "validation_fraction": "a number",
    "split_seed": "a whole number from 0 up",
    "id": "a column",
}


def _fits(key: str, value: Any) -> bool:
    """Whether a value is of the type that a key has."""
    if value is None:
        return key not in _NEEDED
    if key == "validation_fraction":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if key == "split_seed":
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if key == "decimal_comma":
        return isinstance(value, bool)
    if key == "kind":
        return value in ("classification", "regression")
    if key in _LISTS and isinstance(value, list | tuple):
        kinds = {"text": str, "class_weights": int | float}.get(key, str | int | float)
        return all(isinstance(one, kinds) for one in value)
    return value == "balanced" if key == "class_weights" else isinstance(value, str) and key not in _LISTS - {"text"}


def _plain(value: Any) -> Any:
    """A value whose texts are of the plain type, the only one that checkpoints hold."""
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value))
    return str(value) if isinstance(value, str) else value


def parse_custom_task(values: Mapping[str, Any] | CustomTask | None) -> CustomTask:
    """The settings from plain values.

    Raises:
        UsageError: A value is of another type than its key has.
        TypeError: There is no such key.
    """
    if isinstance(values, CustomTask):
        return values
    if not isinstance(values, Mapping | None):
        raise UsageError(f"data.custom: got {values!r}, allowed: keys as `text` and `label`, each with a value.")
    custom = CustomTask(**{key: _plain(value) for key, value in (values or {}).items()})
    for key, value in asdict(custom).items():
        if not _fits(key, value):
            raise UsageError(f"data.custom.{key}: got {value!r}, allowed: {_TYPES[key]}.")
    return custom


def resolve_task(name: str, custom: CustomTask) -> TaskSpec:
    """The task called ``name``: GLUE's, or the user's own if ``custom`` names its columns.

    Raises:
        UsageError: There is no such task, or the name is taken or none for a folder.
    """
    if not custom.text_columns:
        try:
            return get_task(name)
        except UsageError as error:
            raise UsageError(
                f"{error} For a task of your own, name its columns: `--data.custom.text COLUMN`."
            ) from None
    check_task_name(name)
    if not custom.is_complete:
        raise UsageError(
            f"Task {name}: it is not known yet which labels and metrics it has. Let a GLUEDataModule(task, "
            "source=..., custom=...) read that from the data, and pass its `custom.settings()` on."
        )
    values = tuple(custom.labels or ()) if custom.kind != "regression" else ()
    positive = values.index(custom.positive) if custom.positive in values else max(len(values) - 1, 0)
    return TaskSpec(
        name=name,
        title=f"A {custom.kind or 'task'} task",
        hub_name="",
        text_columns=custom.text_columns,
        labels=tuple(custom.label_names or ()) or values,
        file_labels=values,
        metrics=tuple(custom.metrics or ()),
        files={split: SplitFile("", custom.text_columns, custom.label, 0) for split in ("train", "validation", "test")},
        submission={},
        class_weights=tuple(custom.class_weights or ()) if custom.class_weights != "balanced" else (),
        positive=positive if len(values) == 2 else 1,
    )


def check_task_name(name: str) -> None:
    """Stop at a name that a task of the user's own cannot have.

    Raises:
        UsageError: It is one of GLUE's, or cannot be a folder's.
    """
    if name in TASKS:
        raise UsageError(
            f"data.task: {name!r} is a task of GLUE, and data.custom describes one of your own. "
            "Give it a name: `--data.task reviews`."
        )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise UsageError(
            f"data.task: {name!r} cannot be a task's name, for it names a folder. "
            "Allowed: up to 100 letters, digits, '-', '_' and '.'."
        )
