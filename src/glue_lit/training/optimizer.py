"""The optimizer of the recipe: AdamW over two groups of parameters, and the norm of the gradient."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Trainable parameters in two groups: matrices and embeddings decay, biases and norms don't.

    As in BERT's own training (Devlin et al. 2019, and google-research/bert ``optimization.py``). Told apart
    by their dimensions: every bias and every norm weight is a vector.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


def build_adamw(
    groups: Iterable[dict[str, object]], learning_rate: float, betas: tuple[float, float], eps: float, fused: bool
) -> AdamW:
    """AdamW (Loshchilov & Hutter 2019); ``fused`` is one kernel for all parameters, see `supports_fused`."""
    return AdamW(groups, lr=learning_rate, betas=betas, eps=eps, fused=fused or None)


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """L2 norm of the whole gradient, a scalar in float32, or float64 if the gradient is in it."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if any(gradient.dtype in (torch.float16, torch.bfloat16) for gradient in gradients):
        # in their own precision the norm would have two or three digits, and float16 ends at 65504
        norm: Tensor = torch.stack([torch.linalg.vector_norm(g, dtype=torch.float32) for g in gradients]).norm()
        return norm
    return get_total_norm(gradients)


def clip_with_norm(optimizer: Optimizer, parameters: Iterable[nn.Parameter], norm: Tensor, limit: float) -> None:
    """Scale a gradient down to ``limit``, as ``torch.nn.utils.clip_grads_with_norm_`` does.

    Fused AdamW divides by a factor as it reads the gradient, which spares a pass over all of it. The factor is a
    float32, so that a gradient in float64 is scaled here.

    Args:
        optimizer: Takes the next step.
        parameters: Those with a gradient.
        norm: L2 norm of the gradient, a scalar.
        limit: Largest norm, above 0.
    """
    if isinstance(optimizer, AdamW) and optimizer.defaults["fused"] and norm.dtype == torch.float32:
        factor = ((norm + 1e-6) / limit).clamp(min=1)
        # On the CPU the factor is known without waiting, and dividing by 1 would write every gradient back.
        optimizer.grad_scale = None if factor.device.type == "cpu" and factor == 1 else factor  # type: ignore[attr-defined]
    else:
        clip_grads_with_norm_(parameters, limit, norm)


def supports_fused(device: torch.device, precision: str) -> bool:
    """Whether AdamW's fused kernel fits; with float16's loss scaling it would see gradients that are still scaled."""
    return device.type in {"cpu", "cuda", "mps", "xpu"} and precision != "16-mixed"


def set_anew(optimizer: Optimizer, scheduler: LambdaLR, **settings: Any) -> None:
    """Put the recipe's settings back in after a checkpoint was loaded, which brings those of its own time.

    Args:
        optimizer: AdamW over `parameter_groups`.
        scheduler: Its schedule, which stands at the right step.
        settings: ``lr``, ``betas``, ``eps`` and ``weight_decay``.
    """
    factor = scheduler.lr_lambdas[0](scheduler.last_epoch)
    for group in optimizer.param_groups:
        rate = settings["lr"] * group.get("lr_scale", 1.0)
        decays = all(parameter.ndim >= 2 for parameter in group["params"])
        group.update(settings | {"weight_decay": settings["weight_decay"] if decays else 0.0})
        group["initial_lr"], group["lr"] = rate, rate * factor
    scheduler.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
