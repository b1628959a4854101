"""What happens when the loss or the gradient stops being a number."""

import math
from collections.abc import Callable
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor

from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.data.rows import Places
from glue_lit.errors import DivergenceError
from glue_lit.training.fit_part import FitPart
from glue_lit.training.gathering import gather_values, is_distributed

NonFinite = Literal["stop", "skip"]
_SHOWN = 64  # examples named in a message


class DivergenceGuard(FitPart):
    """Check every optimizer step, and stop or leave it out if its loss or its gradient is not finite.

    Args:
        policy: ``stop`` raises before the weights are touched; ``skip`` leaves the step out and counts it.

    Attributes:
        skipped: Steps left out so far.
    """

    def __init__(self, policy: NonFinite) -> None:
        self.policy = policy
        self.skipped = 0
        self._examples: list[Tensor] = []
        self._losses: list[Tensor] = []

    def note_batch(self, examples: Tensor, loss: Tensor) -> None:
        """Note a batch that the next step will be made from: its examples' ``idx`` ``(batch,)`` and its loss."""
        self._examples.append(examples)
        self._losses.append(loss.detach())

    def allows_step(
        self,
        norm: Tensor | None,
        step: int,
        learning_rate: float,
        find_places: Callable[[list[int]], object] = lambda idx: None,
    ) -> bool:
        """Whether the step may be taken.

        Every device gives the same answer, since all have the same gradient. A loss that is not finite has a
        gradient that is not either, but for an overflow of the loss alone: that one stops the device that
        has it, whatever the policy, if there are others.

        Args:
            norm: L2 norm of the whole gradient, a scalar; ``None`` with float16's loss scaling, which leaves
                out steps with an overflowing gradient by itself.
            step: Number of the step, from 0.
            learning_rate: The highest of this step.
            find_places: Says where examples stand in the file that they are from, by their ``idx``.

        Raises:
            DivergenceError: It may not, and the policy is to stop.
        """
        examples, losses = self._examples, self._losses
        self._examples, self._losses = [], []
        is_gradient_bad = norm is not None and not math.isfinite(norm)
        bad = [loss for loss in losses if not math.isfinite(loss)]
        if not is_gradient_bad and not bad:
            return True
        everywhere = is_gradient_bad or not is_distributed()
        if self.policy == "skip" and everywhere:
            self.skipped += 1
            return False
        idx = torch.cat(examples).tolist()
        idx = sorted(chain.from_iterable(gather_values(idx) if everywhere else [idx]))
        gradient = "" if norm is None else f", the gradient's norm {float(norm):g}"
        raise DivergenceError(
            f"Training diverged at step {step}: the loss is {float((bad or losses)[-1]):g}{gradient}, "
            f"at learning rate {learning_rate:g}. Examples of the batch (idx in train): {_named(idx, find_places)}. "
            "Try a lower --model.learning_rate or a longer --model.warmup, look at these examples, "
            "or leave such steps out with --model.non_finite skip.",
            everywhere,
        )

    def save_state(self, trainer: Any, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """How many steps were left out."""
        return {"skipped_steps": self.skipped}

    def load_state(self, trainer: Any, checkpoint: dict[str, Any], state: dict[str, Any]) -> None:
        """Restore the count."""
        self.skipped = state.get("skipped_steps", 0)


def _named(idx: list[int], find_places: Callable[[list[int]], object]) -> str:
    """The first examples of a step, and where they stand if that is known."""
    named = ", ".join(map(str, idx[:_SHOWN])) + (f" and {len(idx) - _SHOWN} more" if len(idx) > _SHOWN else "")
    places = find_places(idx[:_SHOWN])
    return named if places is None else f"{named}; {places}"


def find_training_places(trainer: Any, idx: list[int]) -> Places | None:
    """Where training examples stand in the user's file, if that is known."""
    data = trainer.datamodule
    return data.splits.places("train", idx, "fit") if isinstance(data, GLUEDataModule) else None
