"""The layer that gives the logits: whose labels it knows, and how they are put into a task's order."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from glue_lit.errors import ModelError
from glue_lit.tasks.glue import TaskSpec


def head_of(model: Any) -> tuple[nn.Module, str, nn.Linear] | None:
    """The last linear layer with as many outputs as there are labels: the module that holds it, its name, itself."""
    places = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear) and child.out_features == model.config.num_labels
    ]
    return places[-1] if places else None


def _composed(label: object) -> str:
    """A label with composed characters: what looks the same is the same."""
    return unicodedata.normalize("NFC", str(label))


def _key(label: object) -> str:
    """A label without what people write differently: case, and underscores, hyphens and spaces between its words."""
    return re.sub(r"(?<=[^\W_])[\s_-]+(?=[^\W_])", "", _composed(label)).lower()


def label_order(id2label: Mapping[Any, str], task: TaskSpec) -> list[int] | None:
    """For each of the task's labels, the model's output that stands for it; ``None`` if the names are others.

    By name and never by number: models of one task differ in their order. The same names come first, then those that
    differ in how they are written.
    """
    if task.is_regression:
        return [0] if len(id2label) == 1 else None
    for key in (str, _composed, _key):
        outputs = {key(name): int(number) for number, name in id2label.items()}
        wanted = [key(label) for label in task.labels]
        if len(outputs) == len(id2label) and sorted(outputs) == sorted(wanted):
            return [outputs[label] for label in wanted]
    return None


def reorder_head(model: Any, order: list[int]) -> None:
    """Put the head's outputs into another order, in place: output ``i`` becomes what ``order[i]`` was."""
    found = head_of(model)
    if found is None or order == sorted(order):
        return
    _, _, layer = found
    with torch.no_grad():
        layer.weight.copy_(layer.weight[order].clone())
        if layer.bias is not None:
            layer.bias.copy_(layer.bias[order].clone())


def reinitialize_head(model: Any) -> None:
    """Draw the head anew, in place, as the architecture draws it."""
    found = head_of(model)
    if found is not None:
        layer = found[2]
        layer.weight.data.normal_(std=getattr(model.config, "initializer_range", 0.02))
        if layer.bias is not None:
            layer.bias.data.zero_()


def check_trained(name: str, id2label: Mapping[Any, str], task: TaskSpec, has_head: bool) -> None:
    """Stop where a model that is no checkpoint of ours would be scored with an untrained head.

    Args:
        name: The model's.
        id2label: What its configuration calls its outputs.
        task: To be scored.
        has_head: Whether its weights have a head.

    Raises:
        ModelError: It has none, or its labels are not the task's.
    """
    labels = ", ".join(str(label) for _, label in sorted(id2label.items(), key=lambda item: int(item[0])))
    needed = ", ".join(task.labels) or "one score"
    if not has_head:
        raise ModelError(
            f"model.name_or_path: {name!r} has no classification head, so there is nothing to score yet. Train it "
            "(`glue-lit fit`), or name a model that was fine-tuned."
        )
    if label_order(id2label, task) is None:
        generic = all(re.fullmatch(r"LABEL_\d+", str(label)) for label in id2label.values())
        how = " If you know which is which, write their names into id2label in its config.json." if generic else ""
        raise ModelError(
            f"model.name_or_path: the labels of {name!r} are {labels}; task {task.name} has {needed}. "
            f"They are matched by name.{how}"
        )
