"""Dropout whose masks cost a third on a processor: PyTorch draws a float for each element, 16 bits will do."""

import torch
from torch import Tensor, nn

_LEVELS = 1 << 16


class CheapDropout(nn.Dropout):
    """Dropout with a rate that is a multiple of 1/65536 (0.1 becomes 0.100006) on a processor, PyTorch's elsewhere.

    What is kept is scaled by that rate, so that the mean stays what it was. Masks follow from the seed.
    """

    def forward(self, input: Tensor) -> Tensor:
        """``input`` with some elements 0 and the others scaled up, in training; else ``input``."""
        dropped = round(self.p * _LEVELS)
        if not self.training or not input.is_cpu or not 0 < dropped < _LEVELS:
            return super().forward(input)
        count = input.numel()
        # from -2**63 on, since random_() alone leaves the sign bit out
        bits = torch.empty((count + 3) // 4, dtype=torch.int64, device=input.device).random_(-(2**63), None)
        kept = bits.view(torch.int16)[:count].view(input.shape) >= dropped - _LEVELS // 2
        return input * (kept.to(input.dtype) * (_LEVELS / (_LEVELS - dropped)))


def set_dropout(model: nn.Module, rate: float) -> None:
    """Set the rate of every dropout of a model, which is changed in place, and of those inside its attention."""
    for module in list(model.modules()):
        if isinstance(getattr(module, "out_drop", None), nn.Identity):  # ModernBERT's, where its rate was 0
            module.out_drop = nn.Dropout(rate).train(module.training)
        if isinstance(module, nn.Dropout):
            module.p = rate
        for name in ("dropout_prob", "attention_dropout"):  # attention that drops out by a number of its own
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, rate)


def cheapen_dropout(model: nn.Module) -> None:
    """Put `CheapDropout` in the place of every ``nn.Dropout`` of a model, which is changed in place."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Dropout and not child.inplace:
                setattr(parent, name, CheapDropout(child.p).train(child.training))
