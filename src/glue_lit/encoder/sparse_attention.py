"""Models with two kinds of attention, BigBird: each batch meets the one for its length, whatever came before it."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

_SPARSE, _FULL = "block_sparse", "original_full"


def choose_attention_by_length(model: Any) -> None:
    """Let each batch decide whether attention is sparse or, for a batch that is too short for that, full.

    transformers turns the whole model to full attention for good at its first short batch, in training or in
    evaluation: what the next batches meet would depend on those before them, and a resumed fit would differ.

    Args:
        model: A Hugging Face model with pretrained weights; changed in place. Others than BigBird stay as they are.
    """
    if getattr(model.config, "attention_type", None) != _SPARSE:
        return
    for stack in _stacks(model):
        _turn(stack, _FULL)
        for attention in stack.modules():
            dropout = getattr(getattr(attention, "self", None), "dropout", None)
            if isinstance(dropout, nn.Module):  # sparse attention has none, and the rate may be set
                attention.dropout_of_full = dropout
        _turn(stack, _SPARSE)
        stack.register_forward_pre_hook(_turn_by_length, with_kwargs=True)


def _stacks(module: nn.Module) -> Iterator[Any]:
    """The outermost modules that have the switch."""
    if hasattr(module, "set_attention_type"):
        yield module
    else:
        for child in module.children():
            yield from _stacks(child)


def _turn_by_length(stack: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    tokens = args[0] if args else kwargs.get("input_ids")
    tokens = kwargs.get("inputs_embeds") if tokens is None else tokens
    if tokens is not None:
        least = (5 + 2 * stack.config.num_random_blocks) * stack.config.block_size
        _turn(stack, _SPARSE if tokens.shape[1] > least else _FULL)
        for attention in stack.modules():
            if hasattr(attention, "dropout_of_full"):  # Lightning ends a validation only for modules that began it
                attention.self.train(attention.training)


def _turn(stack: Any, kind: str) -> None:
    if stack.attention_type == kind:
        return
    with torch.device("meta"):  # its new layers are replaced by the old ones, and would take random numbers
        stack.set_attention_type(kind)
    for attention in stack.modules():
        dropout = getattr(attention, "dropout_of_full", None)
        if dropout is not None and hasattr(attention.self, "dropout"):
            attention.self.dropout = dropout
