"""The depth of each parameter of an encoder, from the embeddings up: what is frozen, and how fast the rest learns."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from glue_lit.errors import ModelError, RunError

_HEAD = -1
# What stands beside the layers, told by the first part of its path that is one of these.
_ABOVE = re.compile(
    r"pooler|project_out|emb_layer_norm_after|(final_?)?(layer_?norm|norm|ln)(_f)?|(\w+_)?(head|classifier|score)", re.I
)
_BELOW = re.compile(r".*emb.*|wte|wpe|w|shared|project_in|relative_attention_bias", re.I)
# Where the name misleads: the number of the layer, 0 for the embeddings.
_EXCEPTIONS = {
    ("deberta-v2", "encoder.LayerNorm"): 0,  # of the relative positions
    ("deberta-v2", "encoder.conv"): 1,  # its output is added to the first layer's
}


def parameter_depths(model: Any) -> tuple[dict[int, int], int]:
    """How far above the input each parameter of a Hugging Face model is: embeddings 0, layers from 1, then the head.

    Embeddings are also what is computed of them before the first layer, and positions, absolute or relative. The
    layers of a decoder follow those of its encoder. What comes after the last layer is as far up as the head: norms,
    pooler, classifier.

    Returns:
        Depths by the parameter's ``id``, and the number of layers; the head's depth is one more.

    Raises:
        ModelError: Its layers cannot be told apart, as ALBERT's, which share their weights.
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
            if depth == _HEAD:  # the norm after the encoder belongs to it, where a decoder follows
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
    """The layers of the model, each as its modules; two stacks of them, the encoder's first, if there is a decoder."""
    found: dict[str, list[tuple[nn.Module, ...]]] = {}
    for parent, modules in _module_lists(model.base_model, ""):
        layers = found.setdefault(parent, [()] * len(modules))
        if len(layers) != len(modules):
            raise _refused(model, "its parts are repeated differently often")
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
    """The outermost lists of modules with weights, and the path of what holds each; not those within embeddings."""
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleList):
            blocks = all(isinstance(block, nn.ModuleList) for block in child)
            modules = [layer for block in child for layer in (block if blocks else [block])]  # type: ignore[union-attr]
            if any(True for _ in child.parameters()):
                yield path, modules
        elif not _BELOW.fullmatch(name):
            yield from _module_lists(child, f"{path}.{name}" if path else name)


def _depth_beside(model: Any, name: str) -> int:
    """The depth of a parameter that is in no layer, by its name; `_HEAD` for one that follows the layers."""
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
    """Leave the embeddings and the first ``count`` layers as they are; the model is changed in place.

    Raises:
        ModelError: It has not so many.
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
    """Parameter groups with a learning rate for each layer.

    The rate of a layer is ``decay`` to the power of the layers above it, the head counting as one, times the head's
    (Clark et al. 2020, "ELECTRA", appendix B, after Howard & Ruder 2018, section 3.1); the embeddings count as the
    lowest layer.

    Args:
        groups: From `optim.parameter_groups`; given back as they are for a decay of 1.
        model: A Hugging Face model.
        learning_rate: The head's.
        decay: Above 0, up to 1.

    Raises:
        ModelError: The layers cannot be told apart.
    """
    if decay == 1:
        return groups
    depths, layers = parameter_depths(model)
    split: list[dict[str, Any]] = []
    for depth in reversed(range(layers + 2)):  # from the top: the first group's rate is the one that is logged
        scale = decay ** (layers + 1 - depth)
        for group in groups:
            members = [p for p in group["params"] if depths[id(p)] == depth]
            if members:
                name = _name(depth, layers)
                split.append(group | {"params": members, "lr": learning_rate * scale, "lr_scale": scale, "name": name})
    return split


def _name(depth: int, layers: int) -> str:
    """What the curves call the parameters of a depth: the layers are counted from 0, from below."""
    if depth > layers:
        return "head"
    return f"layer_{depth - 1:02d}" if depth else "embeddings"


def check_same_groups(groups: Sequence[Mapping[str, Any]], checkpoint: Mapping[str, Any], kind: str) -> None:
    """Stop where a checkpoint's optimizer has other parameters, or other groups of them, than the fit that goes on.

    Args:
        groups: Those of the fit.
        checkpoint: What its optimizers had come to is in it.
        kind: The model's ``model_type``, for the message.

    Raises:
        RunError: It has.
    """
    now = [len(group["params"]) for group in groups]
    for state in checkpoint.get("optimizer_states", ()):
        before = [len(group["params"]) for group in state["param_groups"]]
        if before != now:
            raise RunError(
                f"The checkpoint's optimizer trains {sum(before)} parameters in {len(before)} groups; by model.freeze "
                f"and model.layer_decay it would be {sum(now)} in {len(now)} now. Leave both as they were. Runs of a "
                f"{kind} may also be from before all of its embeddings and layers were told from the head: "
                "`--model.init_from RUN` begins a new training with such a run's encoder."
            )
