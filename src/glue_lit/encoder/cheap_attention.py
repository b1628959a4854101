"""Attention with dropout that takes half of the time on a CPU, where PyTorch's has no fast kernel with dropout.

PyTorch's ``scaled_dot_product_attention`` falls back to float32, a softmax with checks, and a random float per weight.
"""

from typing import Any

import torch
from torch import Tensor

from glue_lit.encoder.cheap_dropout import drop
from glue_lit.encoder.packing import Packing

_FLOATS = 16  # in a vector register of 512 bits


def cheapen_attention(model: Any) -> None:
    """Let a Hugging Face model's attention (``sdpa``) use cheap dropout in training on a CPU, in place.

    Everything else stays PyTorch's: evaluation, other devices, causal attention, compiled models.
    """
    register_attention()
    for module in model.modules():  # whichever of them will ask for attention
        module.has_cheap_attention = True


def register_attention() -> None:
    """Let all models of the process whose attention is ``sdpa`` use ours, which is PyTorch's unless asked."""
    from transformers import AttentionInterface

    AttentionInterface.register("sdpa", _attend)


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, dropout: float = 0.0,
    scaling: float | None = None, is_causal: bool | None = None, packing: Packing | None = None, **kwargs: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """Attention as `sdpa_attention_forward` of transformers: ``(batch, heads, length, size)`` each, and the mask.

    With a ``packing``, they are those of a padding-free batch, ``(1, heads, tokens, size)``.
    """
    if packing is not None:
        mask = packing.attention_mask(kwargs.get("sliding_window"))
        query, key, value = (packing.padded(part) for part in (query, key, value))
        seen, _ = _attend(module, query, key, value, mask, dropout, scaling, is_causal)
        return packing.packed(seen), None
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    is_plain = (
        not getattr(module, "has_cheap_attention", False)
        or not (dropout and module.training and query.is_cpu)
        or torch.compiler.is_compiling()
        or query.shape[:2] != key.shape[:2]  # several heads share keys
        or (attention_mask.dtype != torch.bool if attention_mask is not None else _is_causal(module, query, is_causal))
        or any(kwargs.get(name) is not None for name in ("position_bias", "cache", "softcap"))
    )
    if is_plain:
        found: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, is_causal=is_causal, **kwargs
        )
        return found
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = torch.matmul(query * scale, key.transpose(2, 3))
    if attention_mask is not None:  # not minus infinity, whose softmax is undefined where everything is masked
        hidden = scores.new_full((), torch.finfo(scores.dtype).min)
        scores = scores + torch.where(attention_mask, scores.new_zeros(()), hidden)
    weights = drop(_softmax(scores), dropout)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), None


def _softmax(scores: Tensor) -> Tensor:
    """Softmax over the last dimension, in the precision of the scores."""
    if scores.dtype not in (torch.bfloat16, torch.float16):
        return scores.softmax(-1, dtype=scores.dtype)
    weights: Tensor = _HalfSoftmax.apply(scores)  # type: ignore[no-untyped-call]
    return weights


class _HalfSoftmax(torch.autograd.Function):
    """Softmax of half-precision numbers, computed in float32 as PyTorch's.

    PyTorch's kernels take the last numbers of a row, fewer than a vector register holds, one by one: with 11 to a row
    four times as long as here, with 53 twice.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor) -> Tensor:
        """``(..., length)`` to the same shape."""
        length = scores.shape[-1]
        if length < _FLOATS:
            powers = scores.float()
            powers = powers.sub_(powers.amax(-1, keepdim=True)).exp_()
            weights = powers.div_(powers.sum(-1, keepdim=True)).to(scores.dtype)
        elif length % (2 * _FLOATS):
            weights = scores.float().softmax(-1).to(scores.dtype)
        else:
            weights = scores.softmax(-1, dtype=scores.dtype)
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """The gradient of the scores from that of the weights."""
        (weights,) = ctx.saved_tensors
        if weights.shape[-1] >= 2 * _FLOATS:
            found: Tensor = torch.ops.aten._softmax_backward_data(gradients[0], weights, -1, weights.dtype)
            return found
        shares = gradients[0].float() * weights
        found = (shares - weights * shares.sum(-1, keepdim=True)).to(weights.dtype)
        return found


def _is_causal(module: Any, query: Tensor, asked: bool | None) -> bool:
    return query.shape[2] > 1 and bool(getattr(module, "is_causal", True) if asked is None else asked)
