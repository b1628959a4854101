"""How many batches an optimizer step is made from, and how many steps a fit has; by epoch, where that is scheduled."""

import math
from typing import Any

from lightning.pytorch.callbacks import GradientAccumulationScheduler

from glue_lit.errors import UsageError


def accumulation_schedule(trainer: Any) -> dict[int, int] | None:
    """Batches of a step by the epoch (from 0) from which on it holds; ``None`` where it is the same in all.

    Raises:
        UsageError: A trainer's callbacks say it twice.
    """
    found = [callback for callback in trainer.callbacks if isinstance(callback, GradientAccumulationScheduler)]
    if len(found) > 1:
        raise UsageError("trainer.callbacks: got GradientAccumulationScheduler twice, allowed: once.")
    return dict(sorted(found[0].scheduling.items())) if found else None


def check_accumulation(trainer: Any) -> None:
    """Stop where a step's batches are given by a number and by a schedule.

    Raises:
        UsageError: They are.
    """
    if accumulation_schedule(trainer) is not None and trainer.accumulate_grad_batches != 1:
        raise UsageError(
            f"trainer.accumulate_grad_batches: got {trainer.accumulate_grad_batches} and a "
            "GradientAccumulationScheduler, allowed: one of them."
        )


def batches_of_step(trainer: Any, epoch: int) -> int:
    """Batches that a step of an epoch (from 0) is made from, but for its last step, which takes what is left."""
    schedule = accumulation_schedule(trainer)
    if schedule is None:
        return int(trainer.accumulate_grad_batches)
    return next((batches for begin, batches in reversed(schedule.items()) if begin <= epoch), 1)


def short_step_factor(trainer: Any) -> float:
    """What the loss of the batch in progress is to be multiplied by, for a step to be the mean over its batches.

    Lightning divides each loss by ``accumulate_grad_batches``. The last step of an epoch can have fewer.
    """
    full, all_batches = trainer.accumulate_grad_batches, trainer.num_training_batches
    if full == 1 or all_batches == math.inf:  # it is not known which step is the last
        return 1.0
    begun = trainer.fit_loop.batch_idx // full * full
    return float(full / min(full, all_batches - begun))


def planned_steps(trainer: Any) -> int | float:
    """Optimizer steps of the whole fit, over all epochs; infinite where nothing ends it.

    Lightning's own number takes the accumulation of the moment for that of all epochs.
    """
    estimated: int | float = trainer.estimated_stepping_batches
    batches = trainer.num_training_batches
    if accumulation_schedule(trainer) is None or trainer.max_epochs == -1 or batches == math.inf:
        return estimated
    epochs = range(max(trainer.max_epochs, 1))
    steps: int = sum(math.ceil(batches / batches_of_step(trainer, epoch)) for epoch in epochs)
    return steps if trainer.max_steps == -1 else min(steps, int(trainer.max_steps))
