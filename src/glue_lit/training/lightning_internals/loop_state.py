"""The state of Lightning's loops in a checkpoint, written in one of three plain forms.

Lightning's own counters, taken as they are at the moment of saving, make a resumed fit skip a validation, repeat one,
or count a step twice. So a checkpoint says that a step has just ended, that a validation is due, or that an epoch has
ended.
"""

from typing import Any

Loops = dict[str, Any]  # of a checkpoint: checkpoint["loops"]["fit_loop"]


def set_batches(loops: Loops, total: int, current: int, is_last: bool, completed: int = 0) -> None:
    """Put the batch counters at ``current`` of this epoch, but those of completed batches by ``completed`` higher."""
    progress = loops["epoch_loop.batch_progress"]
    for part, count in (("total", total), ("current", current)):
        progress[part] = dict.fromkeys(progress[part], count) | {"completed": count + completed}
    progress["is_last_batch"] = is_last


def set_begun_steps(loops: Loops, steps: int) -> None:
    """Write how many optimizer steps have begun; loggers count by it."""
    loops["epoch_loop.state_dict"]["_batches_that_stepped"] = steps


def add_begun_steps(loops: Loops, steps: int) -> None:
    """Change how many optimizer steps have begun."""
    loops["epoch_loop.state_dict"]["_batches_that_stepped"] += steps


def set_within_epoch(loops: Loops, total: int, current: int, stepped: int) -> None:
    """Write "an optimizer step has just ended": the next batch comes next.

    Args:
        loops: Changed in place.
        total: Batches done in all epochs.
        current: Batches done in this epoch, at least 1.
        stepped: Optimizer steps before the one that has just ended.
    """
    set_batches(loops, total, current, is_last=False, completed=-1)  # Lightning completes the step itself
    set_begun_steps(loops, stepped)
    _set_validation(loops, begun=False)


def set_before_validation(loops: Loops) -> None:
    """Write "validation is due": it runs from its start, whatever part of it had run."""
    _set_validation(loops, begun=True)


def _set_validation(loops: Loops, begun: bool) -> None:
    progress = loops["epoch_loop.val_loop.batch_progress"]
    for part in ("total", "current"):
        progress[part] = {key: int(begun and key in ("ready", "started")) for key in progress[part]}
    progress["is_last_batch"] = False


def set_after_epoch(loops: Loops) -> None:
    """Write "an epoch has ended, its validation too": the next epoch comes next, or the end."""
    epochs = loops["epoch_progress"]
    for part in ("total", "current"):
        epochs[part] = dict.fromkeys(epochs[part], epochs[part]["processed"])
    total = loops["epoch_loop.batch_progress"]["total"]["ready"]
    set_batches(loops, total, 0, is_last=False)


def set_last_validation(loops: Loops, batches: int) -> None:
    """Write "validation is due" in place of "a step has just ended" or "an epoch has ended".

    Args:
        loops: Changed in place.
        batches: Batches in an epoch.
    """
    progress = loops["epoch_loop.batch_progress"]
    total = progress["total"]["ready"]
    if is_within_epoch(loops):
        set_batches(loops, total, progress["current"]["ready"], is_last=False)
    else:
        reopen_epoch(loops)
        set_batches(loops, total, batches, is_last=True)
        add_begun_steps(loops, -1)
    set_before_validation(loops)


def is_cut_after_validation(loops: Loops) -> bool:
    """Whether a checkpoint was written at the end of a validation, before what follows it."""
    batches = loops["epoch_loop.batch_progress"]["total"]
    is_scored = loops["epoch_loop.val_loop.batch_progress"]["current"]["completed"] > 0
    return is_within_epoch(loops) and is_scored and bool(batches["completed"] == batches["processed"])


def batches_of_left_epoch(loops: Loops, batches: int, accumulate: int) -> int:
    """Batches after which a fit left its last epoch that a checkpoint counts as a whole one; 0 where it was whole.

    Checkpoints without ``scored_step`` do so. The optimizer's steps in that epoch tell how far it had come.

    Args:
        loops: As the checkpoint has them.
        batches: Batches in an epoch.
        accumulate: Batches in a step.
    """
    steps = loops["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]["current"]["completed"]
    return 0 if is_within_epoch(loops) or steps >= -(-batches // accumulate) else int(steps * accumulate)


def set_back_into_epoch(loops: Loops, done: int) -> None:
    """Write "a step has just ended" in place of "an epoch has ended", after ``done`` batches of the epoch."""
    reopen_epoch(loops)
    stepped = loops["epoch_loop.state_dict"]["_batches_that_stepped"]
    set_within_epoch(loops, loops["epoch_loop.batch_progress"]["total"]["ready"], done, stepped - 1)


def reopen_epoch(loops: Loops) -> None:
    """Count the epoch as begun, where Lightning has counted it as whole."""
    epochs = loops["epoch_progress"]
    for part in ("total", "current"):
        epochs[part] |= dict.fromkeys(("processed", "completed"), epochs[part]["started"] - 1)


def close_epoch(loops: Loops) -> None:
    """Count the epoch as whole, after its last batch and without a validation."""
    add_begun_steps(loops, 1)
    for part in ("total", "current"):
        loops["epoch_progress"][part]["processed"] += 1
    set_after_epoch(loops)


def is_within_epoch(loops: Loops) -> bool:
    """Whether a checkpoint's loops stand between the first batch of an epoch and its end."""
    current = loops["epoch_progress"]["current"]
    return bool(current["started"] > current["processed"])
