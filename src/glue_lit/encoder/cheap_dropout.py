"""Dropout whose masks take a third of the time on a CPU: 16 random bits per element in place of a float.

It earns its keep because a small encoder spends much of its training step on drawing masks.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LEVELS = 1 << 16


class CheapDropout(nn.Dropout):
    """Dropout whose rate is rounded to a multiple of 1/65536 (0.1 to 0.100006) on a CPU.

    The scale of the kept elements follows the rounded rate, so that the mean does not change. On other devices, and in
    compiled code, it is PyTorch's dropout.
    """

    def forward(self, input: Tensor) -> Tensor:
        """In training, zero some elements of ``input`` and scale the others up; else return ``input``."""
        is_plain = not input.is_cpu or torch.compiler.is_compiling()  # which cannot trace random_()
        return drop(input, self.p) if self.training and not is_plain else super().forward(input)


def drop(input: Tensor, rate: float) -> Tensor:
    """Zero some elements of a tensor on a CPU and scale the others up, as `CheapDropout` in training."""
    dropped = round(rate * _LEVELS)
    if not 0 < dropped < _LEVELS:
        return F.dropout(input, rate)
    count = input.numel()
    # with a lower bound, because random_() alone draws no negative numbers
    bits = torch.empty((count + 3) // 4, dtype=torch.int64, device=input.device).random_(-(2**63), None)
    highest_dropped = dropped - _LEVELS // 2 - 1
    # Integers, since PyTorch has no fast kernel that makes numbers of a bool tensor.
    kept = bits.view(torch.int16)[:count].clamp_(highest_dropped, highest_dropped + 1).sub_(highest_dropped)
    scale = _LEVELS / (_LEVELS - dropped)
    if input.element_size() == kept.element_size():  # 0 or 1 times the scale's bits
        mask = kept.mul_(_as_integer(scale, input.dtype)).view(input.dtype)
    else:
        mask = kept.to(input.dtype).mul_(scale)
    return input * mask.view(input.shape)


@cache
def _as_integer(number: float, dtype: torch.dtype) -> int:
    """The 16 bits of a number in half precision, read as an integer."""
    return int(torch.tensor(number, dtype=dtype).view(torch.int16))


def set_dropout(model: nn.Module, rate: float) -> None:
    """Set the rate of every dropout of a model in place, including those inside its attention."""
    for module in list(model.modules()):
        if isinstance(getattr(module, "out_drop", None), nn.Identity):  # ModernBERT's at rate 0
            module.out_drop = nn.Dropout(rate).train(module.training)
        if isinstance(module, nn.Dropout):
            module.p = rate
        for name, value in list(vars(module).items()):  # rates without a dropout module, as in T5's attention
            if "dropout" in name and isinstance(value, float):
                setattr(module, name, rate)


def cheapen_dropout(model: nn.Module) -> None:
    """Replace every ``nn.Dropout`` of a model by `CheapDropout`, in place."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Dropout and not child.inplace:
                setattr(parent, name, CheapDropout(child.p).train(child.training))
