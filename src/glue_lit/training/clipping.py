"""The norm of a gradient, and its clipping."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grad_value_, clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from glue_lit.training.chosen_optimizer import scales_and_skips


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """L2 norm of the whole gradient, ``()`` in float32, or in float64 if it is; collective if devices have parts."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    parts = [gradient.to_local() for gradient in gradients if isinstance(gradient, DTensor)]
    if parts:
        total = _norm(parts).double().square()
        torch.distributed.all_reduce(total)
        return total.sqrt().float()
    return _norm(gradients)


def _norm(gradients: Sequence[Tensor]) -> Tensor:
    if any(gradient.dtype in (torch.float16, torch.bfloat16) for gradient in gradients):
        # In their own precision the norm would have two or three digits, and overflow above 65504 in float16.
        norm: Tensor = torch.stack([torch.linalg.vector_norm(g, dtype=torch.float32) for g in gradients]).norm()
        return norm
    return get_total_norm(gradients)


def clip_with_norm(optimizer: Optimizer, parameters: Iterable[nn.Parameter], norm: Tensor, limit: float) -> None:
    """Scale a gradient down to ``limit``, as ``torch.nn.utils.clip_grads_with_norm_`` does.

    Fused AdamW divides by a float32 factor as it reads the gradient, which saves a pass over it. For others, on MPS,
    and for a float64 gradient, it is scaled here.

    Args:
        optimizer: The optimizer that takes the next step.
        parameters: Those with a gradient.
        norm: L2 norm of the gradient, ``()``.
        limit: Largest norm, above 0.
    """
    if scales_and_skips(optimizer) and norm.dtype == torch.float32:
        factor = ((norm + 1e-6) / limit).clamp(min=1)
        # A factor of 1 would make the kernel write every gradient back; only on the CPU is it known without a sync.
        optimizer.grad_scale = None if factor.device.type == "cpu" and factor == 1 else factor  # type: ignore[attr-defined]
    else:
        clip_grads_with_norm_(parameters, limit, norm)


def clip_gradient(
    optimizer: Optimizer, parameters: Iterable[nn.Parameter], norm: Tensor, limit: float, algorithm: str | None
) -> None:
    """Clip by value if ``algorithm`` is ``value``, else by norm as `clip_with_norm`; a limit of 0 turns it off."""
    if limit and algorithm == "value":
        clip_grad_value_(parameters, limit)  # Lightning's own clipping refuses a fused optimizer with bfloat16
    elif limit:
        clip_with_norm(optimizer, parameters, norm, limit)
