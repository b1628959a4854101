"""How many batches make an optimizer step, and how many steps a fit takes; both may change by epoch."""

import math
from typing import Any

from lightning.pytorch.callbacks import GradientAccumulationScheduler

from glue_lit.errors import UsageError


def accumulation_schedule(trainer: Any) -> dict[int, int] | None:
    """Batches per step, by the epoch (from 0) in which they take effect; ``None`` without a schedule.

    Raises:
        UsageError: The trainer has two schedules.
    """
    schedules = [callback for callback in trainer.callbacks if isinstance(callback, GradientAccumulationScheduler)]
    if len(schedules) > 1:
        raise UsageError("trainer.callbacks: got GradientAccumulationScheduler twice, allowed: once.")
    return dict(sorted(schedules[0].scheduling.items())) if schedules else None


def check_accumulation(trainer: Any) -> None:
    """Refuse a trainer that gives the batches per step both as a number and as a schedule.

    Raises:
        UsageError: Both are given.
    """
    if accumulation_schedule(trainer) is not None and trainer.accumulate_grad_batches != 1:
        raise UsageError(
            f"trainer.accumulate_grad_batches: got {trainer.accumulate_grad_batches} and a "
            "GradientAccumulationScheduler, allowed: one of them."
        )


def batches_of_step(trainer: Any, epoch: int) -> int:
    """Batches per step in an epoch (from 0), whose last step may have fewer."""
    schedule = accumulation_schedule(trainer)
    if schedule is None:
        return int(trainer.accumulate_grad_batches)
    return next((batches for begin, batches in reversed(schedule.items()) if begin <= epoch), 1)


def short_step_factor(trainer: Any) -> float:
    """Factor on the loss of the current batch that makes a step the mean over its batches.

    Lightning divides each loss by ``accumulate_grad_batches``, although the last step of an epoch may have fewer.
    """
    full, all_batches = trainer.accumulate_grad_batches, trainer.num_training_batches
    if full == 1 or all_batches == math.inf:  # without an end, no step is known to be the last
        return 1.0
    begun = trainer.fit_loop.batch_idx // full * full
    return float(full / min(full, all_batches - begun))


def planned_steps(trainer: Any) -> int | float:
    """Optimizer steps of the whole fit; infinite if nothing limits it.

    Lightning's own number assumes the current accumulation for all epochs.
    """
    estimated: int | float = trainer.estimated_stepping_batches
    batches = trainer.num_training_batches
    if accumulation_schedule(trainer) is None or trainer.max_epochs == -1 or batches == math.inf:
        return estimated
    epochs = range(max(trainer.max_epochs, 1))
    steps: int = sum(math.ceil(batches / batches_of_step(trainer, epoch)) for epoch in epochs)
    return steps if trainer.max_steps == -1 else min(steps, int(trainer.max_steps))
