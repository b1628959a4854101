"""What a checkpoint must hold for an exact resume, and what is wrong with one that cannot be restored.

A resumed fit gives bit for bit the weights of an uninterrupted one, because three things depend only on the position in
the training: the examples of a batch (`ShuffledSampler`), its dropout masks (`BatchSeeds`), and the counters of
Lightning's loops (`Position`).
"""

from pathlib import Path
from typing import Any

from glue_lit.errors import GlueLitError, RunError
from glue_lit.system.system_errors import explain_system_error
from glue_lit.training.lightning_internals import is_raised_by_restoring


def read_progress(path: Path, saved: dict[str, Any], like: dict[str, Any]) -> tuple[dict[str, Any], int, int]:
    """The state of the fit loop in a checkpoint, and the numbers of epochs and steps done.

    Args:
        path: Path of the checkpoint, for messages.
        saved: Its content.
        like: The state of a fit loop that has not run, which it must resemble.

    Raises:
        RunError: The progress or the states of optimizer and schedule are missing or broken.
    """
    loops = saved.get("loops")
    loop, steps = loops.get("fit_loop") if isinstance(loops, dict) else None, saved.get("global_step")
    if not _is_alike(loop, like) or not _is_alike(steps, 0):
        raise RunError(f"{path} has no valid record of its training progress, so no fit can be resumed from it.")
    if not _has_optimizer(saved):
        raise RunError(
            f"{path} has no valid state of its optimizer or schedule, so no fit can be resumed from it. "
            f"`--model.init_from {path}` starts a new training from its encoder."
        )
    assert isinstance(loop, dict) and isinstance(steps, int)  # noqa: PT018 - for mypy
    return loop, loop["epoch_progress"]["current"]["processed"], steps


def _is_alike(found: Any, like: Any) -> bool:
    """Whether a state has all keys of another one, with values of the same types and no negative counters."""
    if isinstance(like, dict):
        return isinstance(found, dict) and all(_is_alike(found.get(key), part) for key, part in like.items())
    return type(found) is type(like) and (not isinstance(like, int) or found >= 0)


def _has_optimizer(saved: dict[str, Any]) -> bool:
    """Whether the states of optimizer and schedule are valid; Lightning would silently resume without them."""
    optimizers, schedules = saved.get("optimizer_states"), saved.get("lr_schedulers")
    is_adamw = saved.get("hyper_parameters", {}).get("optimizer") is None  # it has the same moments of all weights
    if not (isinstance(optimizers, list) and isinstance(schedules, list) and optimizers and schedules):
        return False
    if not all(isinstance(schedule, dict) and type(schedule.get("last_epoch")) is int for schedule in schedules):
        return False
    for optimizer in optimizers:
        moments = optimizer.get("state") if isinstance(optimizer, dict) else None
        if not isinstance(moments, dict) or not all(isinstance(each, dict) for each in moments.values()):
            return False
        kinds = {frozenset((name, type(part)) for name, part in each.items()) for each in moments.values()}
        if is_adamw and len(kinds) > 1:
            return False
    return True


def explain_restore_error(path: Path | None, error: Exception) -> str | None:
    """What is wrong with a checkpoint, if an error comes from restoring it; else ``None``.

    Errors of the system, such as a lack of memory, are not the checkpoint's fault.
    """
    if path is None or isinstance(error, GlueLitError) or explain_system_error(error) is not None:
        return None
    if not is_raised_by_restoring(error):
        return None
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return f"{path} cannot be restored: the states in it do not fit this training ({reason})."
