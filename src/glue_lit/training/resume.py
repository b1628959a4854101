"""What a checkpoint must hold for an exact resume, and what is wrong with one that cannot be restored.

A resumed fit repeats an uninterrupted one bit by bit, because three things depend on the position in the training
alone: the examples of a batch (`ShuffledSampler`), its dropout masks (`BatchSeeds`), and the counters of Lightning's
loops (`Position`).
"""

from pathlib import Path
from typing import Any

from glue_lit.errors import GlueLitError, RunError
from glue_lit.system.system_errors import explain_system_error
from glue_lit.training.lightning_internals import is_raised_by_restoring


def read_progress(path: Path, saved: dict[str, Any], like: dict[str, Any]) -> tuple[dict[str, Any], int, int]:
    """State of the loop in a checkpoint, and its epochs and steps.

    Args:
        path: Names the checkpoint in a message.
        saved: Its content.
        like: The state of a loop that has not begun.

    Raises:
        RunError: The progress or the states of optimizer and schedule are missing or broken.
    """
    loops = saved.get("loops")
    loop, steps = loops.get("fit_loop") if isinstance(loops, dict) else None, saved.get("global_step")
    if not _is_alike(loop, like) or not _is_alike(steps, 0):
        raise RunError(f"{path} does not say how far its training has come, so no fit can be resumed from it.")
    if not _has_optimizer(saved):
        raise RunError(
            f"{path} has lost the state of its optimizer or schedule, so no fit can be resumed from it. "
            f"`--model.init_from {path}` begins a new training with its encoder."
        )
    assert isinstance(loop, dict) and isinstance(steps, int)  # noqa: PT018 - for mypy
    return loop, loop["epoch_progress"]["current"]["processed"], steps


def _is_alike(found: Any, like: Any) -> bool:
    """Whether a state has all parts of another one, of the same types, with counters from 0 up."""
    if isinstance(like, dict):
        return isinstance(found, dict) and all(_is_alike(found.get(key), part) for key, part in like.items())
    return type(found) is type(like) and (not isinstance(like, int) or found >= 0)


def _has_optimizer(saved: dict[str, Any]) -> bool:
    """Whether there are states of optimizer and schedule, without which Lightning silently resumes."""
    optimizers, schedules = saved.get("optimizer_states"), saved.get("lr_schedulers")
    if not (isinstance(optimizers, list) and isinstance(schedules, list) and optimizers and schedules):
        return False
    if not all(isinstance(schedule, dict) and type(schedule.get("last_epoch")) is int for schedule in schedules):
        return False
    for optimizer in optimizers:
        moments = optimizer.get("state") if isinstance(optimizer, dict) else None
        if not isinstance(moments, dict) or not all(isinstance(each, dict) for each in moments.values()):
            return False
        if len({frozenset((name, type(part)) for name, part in each.items()) for each in moments.values()}) > 1:
            return False
    return True


def explain_restore_error(path: Path | None, error: Exception) -> str | None:
    """What is wrong with a checkpoint, if an error comes from restoring it; else ``None``.

    Errors of the system, such as too little memory, are no fault of the checkpoint.
    """
    if path is None or isinstance(error, GlueLitError) or explain_system_error(error) is not None:
        return None
    if not is_raised_by_restoring(error):
        return None
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return f"{path} cannot be restored: the states in it do not fit this training ({reason})."
