"""Depth of each parameter of an encoder, which decides what is frozen and how fast the rest learns."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from glue_lit.errors import ModelError, RunError

_HEAD = -1
# Where parameters outside the layers belong, by the first part of their path that matches.
_ABOVE = re.compile(
    r"pooler|project_out|emb_layer_norm_after|(final_?)?(layer_?norm|norm|ln)(_f)?|(\w+_)?(head|classifier|score)", re.I
)
_BELOW = re.compile(r".*emb.*|wte|wpe|w|shared|project_in|relative_attention_bias", re.I)
# Depth of parameters whose name misleads: the number of the layer, 0 for the embeddings.
_EXCEPTIONS = {
    ("deberta-v2", "encoder.LayerNorm"): 0,  # of the relative positions
    ("deberta-v2", "encoder.conv"): 1,  # its output is added to the first layer's
}


def parameter_depths(model: Any) -> tuple[dict[int, int], int]:
    """Depth of each parameter of a Hugging Face model: 0 for embeddings, from 1 for layers, then one for the head.

    Positions, absolute or relative, and projections before the first layer count as embeddings; norms, pooler and all
    else after the last layer as the head. The layers of a decoder follow those of its encoder.

    Returns:
        Depths by the parameter's ``id``, and the number of layers. The head's depth is one more than that.

    Raises:
        ModelError: Its layers cannot be told apart, such as ALBERT's, which share their weights.
    """
    stacks = _stacks(model)
    layers = [parts for stack in stacks for parts in stack]
    depths: dict[int, int] = {}
    for number, parts in enumerate(layers, start=1):
        for parameter in (parameter for part in parts for parameter in part.parameters()):
            if depths.setdefault(id(parameter), number) != number:
                raise _refused(model, "they share weights")
    for name, parameter in model.base_model.named_parameters():
        if id(parameter) not in depths:
            depth = _depth_beside(model, name)
            if depth == _HEAD:  # a norm between encoder and decoder belongs to the encoder's last layer
                depth = len(stacks[0]) if len(stacks) > 1 and name.startswith("encoder.") else len(layers) + 1
            depths[id(parameter)] = depth
    for parameter in model.parameters():
        depths.setdefault(id(parameter), len(layers) + 1)
    return depths, len(layers)


def _refused(model: Any, why: str) -> ModelError:
    return ModelError(
        f"model.freeze and model.layer_decay: got a {model.config.model_type}, whose layers cannot be told apart: "
        f"{why}. Leave both out."
    )


def _stacks(model: Any) -> list[list[tuple[nn.Module, ...]]]:
    """Stacks of layers, each layer as a tuple of modules: one stack, or the encoder's and then the decoder's."""
    found: dict[str, list[tuple[nn.Module, ...]]] = {}
    for parent, modules in _module_lists(model.base_model, ""):
        layers = found.setdefault(parent, [()] * len(modules))
        if len(layers) != len(modules):
            raise _refused(model, "its parts repeat a different number of times")
        found[parent] = [(*layer, module) for layer, module in zip(layers, modules, strict=True)]
    if len(found) == 1:
        stacks = list(found.values())
    elif set(found) == {"encoder", "decoder"}:
        stacks = [found["encoder"], found["decoder"]]
    else:
        where = ", ".join(found) or "none"
        raise _refused(model, f"one stack of layers is needed, or an encoder's and a decoder's, and there are: {where}")
    if len(stacks[0]) != getattr(model.config, "num_hidden_layers", None):
        raise _refused(model, "they share weights, or are not all of one kind")
    return stacks


def _module_lists(module: nn.Module, path: str) -> Iterator[tuple[str, Sequence[nn.Module]]]:
    """The outermost module lists with weights outside embeddings, each with the path of its parent."""
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleList):
            blocks = all(isinstance(block, nn.ModuleList) for block in child)
            modules = [layer for block in child for layer in (block if blocks else [block])]  # type: ignore[union-attr]
            if any(True for _ in child.parameters()):
                yield path, modules
        elif not _BELOW.fullmatch(name):
            yield from _module_lists(child, f"{path}.{name}" if path else name)


def _depth_beside(model: Any, name: str) -> int:
    """The depth of a parameter outside the layers, by its name; `_HEAD` if it follows them."""
    for (kind, path), depth in _EXCEPTIONS.items():
        if kind == model.config.model_type and name.startswith(f"{path}."):
            return depth
    for part in name.split("."):
        if _ABOVE.fullmatch(part):
            return _HEAD
        if _BELOW.fullmatch(part):
            return 0
    raise _refused(model, f"it is not known where {name} belongs")


def freeze_layers(model: Any, count: int) -> None:
    """Freeze the embeddings and the first ``count`` layers of a model, in place.

    Raises:
        ModelError: It has fewer layers.
    """
    depths, layers = parameter_depths(model)
    if not 0 <= count <= layers:
        raise ModelError(f"model.freeze: got {count}, allowed: 0 (embeddings only) to {layers} layers.")
    for parameter in model.parameters():
        if depths[id(parameter)] <= count:
            parameter.requires_grad_(False)


def layered_groups(
    groups: list[dict[str, Any]], model: Any, learning_rate: float, decay: float
) -> list[dict[str, Any]]:
    """Split parameter groups so that each layer has its own learning rate.

    The rate of a layer is the head's times ``decay`` for each layer above it, the head included (Clark et al. 2020,
    "ELECTRA", appendix B, after Howard & Ruder 2018, section 3.1); the embeddings count as the lowest layer.

    Args:
        groups: From `glue_lit.training.optimizer.parameter_groups`; returned unchanged for a decay of 1.
        model: A Hugging Face model.
        learning_rate: Learning rate of the head.
        decay: Above 0, up to 1.

    Raises:
        ModelError: The layers cannot be told apart.
    """
    if decay == 1:
        return groups
    depths, layers = parameter_depths(model)
    split: list[dict[str, Any]] = []
    for depth in reversed(range(layers + 2)):  # the head first, because the first group's rate is logged
        scale = decay ** (layers + 1 - depth)
        for group in groups:
            members = [p for p in group["params"] if depths[id(p)] == depth]
            if members:
                name = _group_name(depth, layers)
                split.append(group | {"params": members, "lr": learning_rate * scale, "lr_scale": scale, "name": name})
    return split


def _group_name(depth: int, layers: int) -> str:
    """Name of a depth in the curves, in which layers are numbered from 0."""
    if depth > layers:
        return "head"
    return f"layer_{depth - 1:02d}" if depth else "embeddings"


def check_same_groups(groups: Sequence[Mapping[str, Any]], checkpoint: Mapping[str, Any], kind: str) -> None:
    """Refuse a checkpoint whose optimizer has other parameters or parameter groups than the resumed fit.

    ``groups`` are those of the resumed fit, and ``kind`` is the model's ``model_type``, for the message.

    Raises:
        RunError: They differ.
    """
    now = [len(group["params"]) for group in groups]
    for state in checkpoint.get("optimizer_states", ()):
        before = [len(group["params"]) for group in state["param_groups"]]
        if before != now:
            raise RunError(
                f"The checkpoint's optimizer trains {sum(before)} parameters in {len(before)} groups; with "
                f"model.freeze and model.layer_decay it would be {sum(now)} in {len(now)} now. Leave both as they "
                f"were. Older runs of a {kind} may have counted embeddings or layers as its head: `--model.init_from "
                "RUN` starts a new training from such a run's encoder."
            )
