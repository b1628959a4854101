"""What to do when the loss or the gradient stops being a number."""

import math
from typing import Literal

import torch
from torch import Tensor

from glue_lit.errors import DivergenceError

NonFinite = Literal["stop", "skip"]
_SHOWN = 64  # examples named in a message


class DivergenceGuard:
    """Watch every optimizer step, and stop or leave it out if its gradient is not finite.

    Args:
        policy: ``stop`` raises before the weights are touched; ``skip`` leaves the step out and counts it.

    Attributes:
        skipped: Steps left out so far.
    """

    def __init__(self, policy: NonFinite) -> None:
        self.policy = policy
        self.skipped = 0
        self._examples: list[Tensor] = []
        self._loss = torch.zeros(())

    def add(self, examples: Tensor, loss: Tensor) -> None:
        """Note a batch that the next step will be made from: its examples' ``idx`` ``(batch,)`` and its loss."""
        self._examples.append(examples)
        self._loss = loss.detach()

    def passes(self, norm: Tensor, step: int, learning_rate: float) -> bool:
        """Whether the step may be taken. The answer is the same on every device, since gradients are.

        Args:
            norm: L2 norm of the whole gradient, a scalar.
            step: Number of the step, from 0.
            learning_rate: The highest of this step.

        Raises:
            DivergenceError: It may not, and the policy is to stop.
        """
        examples, self._examples = self._examples, []
        if math.isfinite(norm):
            return True
        if self.policy == "skip":
            self.skipped += 1
            return False
        idx = sorted(_everywhere(torch.cat(examples).tolist()))
        named = ", ".join(map(str, idx[:_SHOWN])) + (f" and {len(idx) - _SHOWN} more" if len(idx) > _SHOWN else "")
        raise DivergenceError(
            f"Training diverged at step {step}: the loss is {float(self._loss):g}, "
            f"the gradient's norm {float(norm):g}, at learning rate {learning_rate:g}. "
            f"Examples of the batch (idx in train): {named}. "
            "Try a lower --model.learning_rate or a longer --model.warmup, look at these examples, "
            "or leave such steps out with --model.non_finite skip."
        )


def _everywhere(values: list[int]) -> list[int]:
    """The values of all devices."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return values
    gathered: list[list[int]] = [[] for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(gathered, values)
    return [value for part in gathered for value in part]
