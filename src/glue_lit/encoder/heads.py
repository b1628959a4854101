"""The head, which gives the logits: matching its labels to a task's, and putting them into the task's order."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from glue_lit.errors import ModelError
from glue_lit.tasks.glue import TaskSpec


def head_of(model: Any) -> tuple[nn.Module, str, nn.Linear] | None:
    """The head, the last linear layer with one output per label: its parent module, its name there, the layer."""
    places = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear) and child.out_features == model.config.num_labels
    ]
    return places[-1] if places else None


def _composed(label: object) -> str:
    """A label with composed characters (NFC)."""
    return unicodedata.normalize("NFC", str(label))


def _folded(label: object) -> str:
    """A label in lower case, without underscores, hyphens and spaces between its words."""
    return re.sub(r"(?<=[^\W_])[\s_-]+(?=[^\W_])", "", _composed(label)).lower()


def label_order(id2label: Mapping[Any, str], task: TaskSpec, levels: Sequence[str] = ()) -> list[int] | None:
    """The model's output for each of the task's labels; ``None`` if their names do not match.

    Labels are matched by name, because models of the same task differ in their order: exactly if possible, else by
    composed characters, else without case and punctuation between words. Labels in order, which one score tells, must
    have the same order, too.

    Args:
        id2label: Names of the model's outputs.
        task: Has the labels.
        levels: Labels in order that the model's score tells; empty if there are none or they are not known.
    """
    if task.is_regression:
        return [0] if len(id2label) == 1 and tuple(levels) in ((), task.levels) else None
    for key in (str, _composed, _folded):
        outputs = {key(name): int(number) for number, name in id2label.items()}
        wanted = [key(label) for label in task.labels]
        if len(outputs) == len(id2label) and sorted(outputs) == sorted(wanted):
            return [outputs[label] for label in wanted]
    return None


def reorder_head(model: Any, order: list[int]) -> None:
    """Reorder the head's outputs in place: output ``order[i]`` becomes output ``i``."""
    head = head_of(model)
    if head is None or order == sorted(order):
        return
    layer = head[2]
    with torch.no_grad():
        layer.weight.copy_(layer.weight[order].clone())
        if layer.bias is not None:
            layer.bias.copy_(layer.bias[order].clone())


def reinitialize_head(model: Any) -> None:
    """Give the head new random weights, with the architecture's standard deviation, in place."""
    head = head_of(model)
    if head is not None:
        layer = head[2]
        layer.weight.data.normal_(std=getattr(model.config, "initializer_range", 0.02))
        if layer.bias is not None:
            layer.bias.data.zero_()


def recorded_levels(config: Any) -> tuple[str, ...]:
    """Labels in order in an exported model's configuration, which anybody may have written; empty if it has none."""
    record = getattr(config, "glue_lit", None)
    found = record.get("labels") if isinstance(record, dict) else None
    return tuple(map(str, found)) if isinstance(found, list) else ()


def check_trained(
    name: str, id2label: Mapping[Any, str], task: TaskSpec, has_head: bool, levels: Sequence[str] = ()
) -> None:
    """Refuse to score a model whose head was not trained on the task.

    Args:
        name: Name of the model.
        id2label: Names of its outputs in its configuration.
        task: Task to score.
        has_head: Whether its weights include a head.
        levels: Labels in order that its score tells, as for `label_order`.

    Raises:
        ModelError: It has no head, or its labels are not the task's.
    """
    own = levels or [str(label) for _, label in sorted(id2label.items(), key=lambda item: int(item[0]))]
    labels, needed = ", ".join(own), ", ".join(task.labels or task.levels) or "one score"
    if not has_head:
        raise ModelError(
            f"model.name_or_path: {name!r} has no classification head, so there is nothing to score yet. Train it "
            "(`glue-lit fit`), or name a model that was fine-tuned."
        )
    if label_order(id2label, task, levels) is None:
        generic = all(re.fullmatch(r"LABEL_\d+", str(label)) for label in id2label.values())
        how = " If you know which is which, write their names into id2label in its config.json." if generic else ""
        raise ModelError(
            f"model.name_or_path: the labels of {name!r} are {labels}; task {task.name} has {needed}. "
            f"They are matched by name{' and order' if levels else ''}.{how}"
        )


def record_thresholds(config: Any, labels: Sequence[str], thresholds: Sequence[float]) -> None:
    """Put the threshold of each label into a model's configuration, in place of those that it has.

    Args:
        config: The configuration of a Hugging Face model.
        labels: The task's labels.
        thresholds: Probability from which on each of them is predicted; empty unless a row has any number of labels.
    """
    if thresholds:
        config.thresholds = dict(zip(labels, thresholds, strict=True))
    elif hasattr(config, "thresholds"):
        del config.thresholds


def recorded_thresholds(config: Any, labels: Sequence[str]) -> list[float]:
    """The threshold of each label in a model's configuration, which anybody may have written; empty if not all are."""
    found = getattr(config, "thresholds", None)
    values: list[Any] = [found.get(label) for label in labels] if isinstance(found, dict) else []
    return values if all(isinstance(value, float) and 0 < value < 1 for value in values) else []
