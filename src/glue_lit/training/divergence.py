"""Stop or skip an optimizer step whose loss or gradient is not finite."""

import math
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor

from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.errors import DivergenceError
from glue_lit.training.fit_part import FitPart
from glue_lit.training.gathering import gather_values, is_distributed
from glue_lit.training.lightning_internals import scales_loss

NonFinite = Literal["stop", "skip"]
_SHOWN = 64  # examples named in a message


class DivergenceGuard(FitPart):
    """Check every optimizer step, and stop or skip it if its loss or its gradient is not finite.

    Args:
        policy: ``stop`` raises before the weights are touched; ``skip`` skips the step and counts it.

    Attributes:
        skipped: Steps skipped so far.
    """

    def __init__(self, policy: NonFinite) -> None:
        self.policy = policy
        self.skipped = 0
        self._examples: list[Tensor] = []
        self._losses: list[Tensor] = []

    def note_batch(self, examples: Tensor, loss: Tensor) -> None:
        """Note a batch of the next step: the ``idx`` of its examples, ``(batch,)``, and its loss, ``()``."""
        self._examples.append(examples)
        self._losses.append(loss.detach())

    def allows_step(self, trainer: Any, optimizer: Any, norm: Tensor) -> bool:
        """Whether to take the step.

        All devices have the same gradient, so all give the same answer. If only the loss overflows on one of several
        devices, that device raises under either policy.

        Args:
            trainer: Gives the step.
            optimizer: Gives the learning rate.
            norm: L2 norm of the whole gradient, ``()``. Not checked with float16's loss scaling, where the scaler
                skips steps with an overflowing gradient.

        Raises:
            DivergenceError: Loss or gradient is not finite, and the policy is to stop.
        """
        examples, losses = self._examples, self._losses
        self._examples, self._losses = [], []
        is_checked = not scales_loss(trainer)
        is_gradient_bad = is_checked and not math.isfinite(norm)
        bad = [loss for loss in losses if not math.isfinite(loss)]
        if not is_gradient_bad and not bad:
            return True
        everywhere = is_gradient_bad or not is_distributed()
        if self.policy == "skip" and everywhere:
            self.skipped += 1
            return False
        idx = torch.cat(examples).tolist()
        idx = sorted(chain.from_iterable(gather_values(idx) if everywhere else [idx]))
        gradient = f", the gradient's norm {float(norm):g}" if is_checked else ""
        raise DivergenceError(
            f"Training diverged at step {trainer.global_step}: the loss is {float((bad or losses)[-1]):g}{gradient}, "
            f"at learning rate {optimizer.param_groups[0]['lr']:g}. Examples of the batch (idx in train): "
            f"{_name_examples(trainer.datamodule, idx)}. Try a lower --model.learning_rate or a longer "
            "--model.warmup, look at these examples, or skip such steps with --model.non_finite skip.",
            everywhere,
        )

    def save_state(self, trainer: Any, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """How many steps were skipped."""
        return {"skipped_steps": self.skipped}

    def load_state(self, trainer: Any, checkpoint: dict[str, Any], state: dict[str, Any]) -> None:
        """Restore the count."""
        self.skipped = state.get("skipped_steps", 0)


def _name_examples(data: Any, idx: list[int]) -> str:
    """The first examples of a step, and their rows in the user's file if known."""
    named = ", ".join(map(str, idx[:_SHOWN])) + (f" and {len(idx) - _SHOWN} more" if len(idx) > _SHOWN else "")
    places = data.splits.places("train", idx[:_SHOWN], "fit") if isinstance(data, GLUEDataModule) else None
    return named if places is None else f"{named}; {places}"
