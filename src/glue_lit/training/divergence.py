"""Stop or skip an optimizer step whose loss or gradient is not finite."""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.errors import DivergenceError
from glue_lit.system.host_copies import to_host
from glue_lit.training.chosen_optimizer import scales_and_skips
from glue_lit.training.fit_part import FitPart
from glue_lit.training.gathering import gather_values, is_distributed
from glue_lit.training.lightning_internals import scales_loss

NonFinite = Literal["stop", "skip"]
_SHOWN = 64  # examples named in a message
_MOST_UNREAD = 100  # steps, which are kept with their examples until they are read


class CheckedStep(NamedTuple):
    """What a message says of an optimizer step.

    Attributes:
        number: Steps before it.
        learning_rate: Of its first group of parameters.
        examples: ``idx`` of its examples, ``(batch,)`` for each of its batches.
        losses: Loss of each batch, ``()``.
        norm: L2 norm of its gradient, ``()``.
        is_skipped: Whether its gradient, or without other devices its loss, is not finite.
        has_bad_loss: Whether a loss is not finite.
    """

    number: int
    learning_rate: float
    examples: list[Tensor]
    losses: list[Tensor]
    norm: Tensor
    is_skipped: Tensor
    has_bad_loss: Tensor


class DivergenceGuard(FitPart):
    """Check every optimizer step, and stop or skip it if its loss or its gradient is not finite.

    All devices have the same gradient, so all skip the same steps. If only the loss overflows on one of several
    devices, that device raises under either policy.

    On an accelerator the host would have to wait to learn whether to take a step. There fused AdamW skips the step by
    itself, and `read` raises or counts afterwards. Under the policy to stop, all later steps are skipped too, so that
    the weights are those before the bad step.

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
        self._unread: list[CheckedStep] = []
        self._has_stopped: Tensor | bool = False

    def note_batch(self, examples: Tensor, loss: Tensor) -> None:
        """Note a batch of the next step: the ``idx`` of its examples, ``(batch,)``, and its loss, ``()``."""
        self._examples.append(examples)
        self._losses.append(loss.detach())

    def check_step(self, trainer: Any, optimizer: Any, norm: Tensor) -> bool | Tensor:
        """Whether the step is taken; a ``()`` bool on the device where that is not to be waited for.

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
        has_bad_loss = ~torch.stack(losses).isfinite().all() if losses else torch.zeros_like(norm, dtype=torch.bool)
        is_skipped = has_bad_loss.new_zeros(()) if scales_loss(trainer) else ~norm.isfinite()
        if not is_distributed():
            is_skipped = is_skipped | has_bad_loss
        if len(self._unread) == _MOST_UNREAD:
            self.read(trainer)
        rate = optimizer.param_groups[0]["lr"]
        self._unread.append(CheckedStep(trainer.global_step, rate, examples, losses, norm, is_skipped, has_bad_loss))
        if not skips_by_itself(optimizer, norm):
            return not self.read(trainer)
        if self.policy == "stop":
            is_skipped = self._has_stopped = is_skipped | self._has_stopped
        optimizer.found_inf = is_skipped.float()
        return ~is_skipped

    @property
    def flags(self) -> list[Tensor]:
        """The results of the checks that `read` has not seen yet, each ``()`` bool."""
        return [flag for step in self._unread for flag in (step.is_skipped, step.has_bad_loss)]

    def read(self, trainer: Any, flags: Sequence[float] | None = None) -> int:
        """Learn the results of the last checks, and return how many steps were skipped.

        Args:
            trainer: Names the examples.
            flags: The values of `flags`, if the caller has read them; else this waits for the device.

        Raises:
            DivergenceError: Loss or gradient of a step is not finite, and the policy is to stop.
        """
        if flags is None:
            flags = torch.stack(self.flags).tolist() if self._unread else []
        unread, self._unread = self._unread, []
        count = 0
        for step, is_skipped, has_bad_loss in zip(unread, flags[::2], flags[1::2], strict=True):
            if is_skipped and self.policy == "skip":
                count += 1
            elif is_skipped or has_bad_loss:
                raise DivergenceError(_message(trainer, step, bool(is_skipped)), bool(is_skipped))
        self.skipped += count
        return count

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Read the checks: scores of weights that were not trained would mislead."""
        self.read(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Read the checks of the epoch."""
        self.read(trainer)

    def check_before_saving(self, trainer: Any, checkpoint: dict[str, Any]) -> None:
        """Read the checks of a checkpoint's steps, in one wait with its tensors, and add how many were skipped.

        Args:
            trainer: Names the examples.
            checkpoint: With all that is saved; its tensors are copied to the host on the device that writes it.

        Raises:
            DivergenceError: A step since the last `read` was not finite, and the policy is to stop.
        """
        flags = {"flags": torch.stack(self.flags)} if self._unread else {}
        if flags and trainer.is_global_zero:
            checkpoint |= to_host(checkpoint | flags)
            flags = {"flags": checkpoint.pop("flags")}
        self.read(trainer, flags["flags"].tolist() if flags else None)
        checkpoint.setdefault("glue_lit", {})["skipped_steps"] = self.skipped

    def load_state(self, trainer: Any, checkpoint: dict[str, Any], state: dict[str, Any]) -> None:
        """Restore the count."""
        self.skipped = state.get("skipped_steps", 0)


def skips_by_itself(optimizer: Any, norm: Tensor) -> bool:
    """Whether an optimizer skips a step that its ``found_inf`` marks, on a device that the host should not wait for."""
    return norm.device.type != "cpu" and scales_and_skips(optimizer)


def _message(trainer: Any, step: CheckedStep, everywhere: bool) -> str:
    idx = torch.cat(step.examples).tolist()
    idx = sorted(set(chain.from_iterable(gather_values(idx) if everywhere else [idx])))  # windows share a document
    losses = [float(loss) for loss in step.losses]
    loss = ([loss for loss in losses if not math.isfinite(loss)] or losses)[-1]
    gradient = "" if scales_loss(trainer) else f", the gradient's norm {float(step.norm):g}"
    return (
        f"Training diverged at step {step.number}: the loss is {loss:g}{gradient}, "
        f"at learning rate {step.learning_rate:g}. Examples of the batch (idx in train): "
        f"{_name_examples(trainer.datamodule, idx)}. Try a lower --model.learning_rate or a longer "
        "--model.warmup, look at these examples, or skip such steps with --model.non_finite skip."
    )


def _name_examples(data: Any, idx: list[int]) -> str:
    """The first examples of a step, and their rows in the user's file if known."""
    named = ", ".join(map(str, idx[:_SHOWN])) + (f" and {len(idx) - _SHOWN} more" if len(idx) > _SHOWN else "")
    places = data.splits.places("train", idx[:_SHOWN], "fit") if isinstance(data, GLUEDataModule) else None
    return named if places is None else f"{named}; {places}"
