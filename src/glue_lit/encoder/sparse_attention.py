"""BigBird's two kinds of attention: each batch gets the one for its length, independent of earlier batches."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

_SPARSE, _FULL = "block_sparse", "original_full"


def choose_attention_by_length(model: Any) -> None:
    """Make a BigBird use sparse attention, or full attention for each batch that is too short for it, in place.

    transformers switches the model to full attention for good at its first short batch, in training or evaluation. The
    result would depend on earlier batches, and a resumed fit would differ. Other models do not change.
    """
    if getattr(model.config, "attention_type", None) != _SPARSE:
        return
    for stack in _stacks(model):
        _switch(stack, _FULL)
        for attention in stack.modules():
            dropout = getattr(getattr(attention, "self", None), "dropout", None)
            if isinstance(dropout, nn.Module):  # sparse attention has no module whose rate could be set
                attention.dropout_of_full = dropout
        _switch(stack, _SPARSE)
        stack.register_forward_pre_hook(_switch_by_length, with_kwargs=True)


def _stacks(module: nn.Module) -> Iterator[Any]:
    """The outermost modules whose attention can be switched."""
    if hasattr(module, "set_attention_type"):
        yield module
    else:
        for child in module.children():
            yield from _stacks(child)


def _switch_by_length(stack: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    tokens = args[0] if args else kwargs.get("input_ids")
    tokens = kwargs.get("inputs_embeds") if tokens is None else tokens
    if tokens is not None:
        least = (5 + 2 * stack.config.num_random_blocks) * stack.config.block_size
        _switch(stack, _SPARSE if tokens.shape[1] > least else _FULL)
        for attention in stack.modules():
            if hasattr(attention, "dropout_of_full"):  # after validation, Lightning resets only modules it knew before
                attention.self.train(attention.training)


def _switch(stack: Any, kind: str) -> None:
    if stack.attention_type == kind:
        return
    with torch.device("meta"):  # the new layers get the old ones' weights, and must not draw random numbers
        stack.set_attention_type(kind)
    for attention in stack.modules():
        dropout = getattr(attention, "dropout_of_full", None)
        if dropout is not None and hasattr(attention.self, "dropout"):
            attention.self.dropout = dropout
