"""The state of Lightning's loops in a checkpoint, written in one of three plain forms.

If a checkpoint held Lightning's counters as they are when it is saved, a resumed fit might skip a validation, repeat
one, or count a step twice. So a checkpoint is always in one of three states: a step has just ended, a validation is
due, or an epoch has ended. The functions change the state that they are given.
"""

from typing import Any

Loops = dict[str, Any]  # of a checkpoint: checkpoint["loops"]["fit_loop"]


def set_batches(loops: Loops, total: int, current: int, is_last: bool, completed: int = 0) -> None:
    """Set the batch counters, with ``completed`` added to those of completed batches."""
    progress = loops["epoch_loop.batch_progress"]
    for part, count in (("total", total), ("current", current)):
        progress[part] = dict.fromkeys(progress[part], count) | {"completed": count + completed}
    progress["is_last_batch"] = is_last


def set_begun_steps(loops: Loops, steps: int) -> None:
    """Set how many optimizer steps have begun; loggers number their points by this count."""
    loops["epoch_loop.state_dict"]["_batches_that_stepped"] = steps


def add_begun_steps(loops: Loops, steps: int) -> None:
    """Add to the number of optimizer steps that have begun."""
    loops["epoch_loop.state_dict"]["_batches_that_stepped"] += steps


def set_within_epoch(loops: Loops, total: int, current: int, stepped: int) -> None:
    """Set the state "an optimizer step has just ended", which the next batch follows.

    Args:
        loops: The state of the loops in the checkpoint.
        total: Batches done in all epochs.
        current: Batches done in this epoch, at least 1.
        stepped: Optimizer steps before the one that has just ended.
    """
    set_batches(loops, total, current, is_last=False, completed=-1)  # Lightning completes the step itself
    set_begun_steps(loops, stepped)
    _set_validation(loops, begun=False)


def set_before_validation(loops: Loops) -> None:
    """Set the state "a validation is due"; it runs from its start even if a part of it had run."""
    _set_validation(loops, begun=True)


def _set_validation(loops: Loops, begun: bool) -> None:
    progress = loops["epoch_loop.val_loop.batch_progress"]
    for part in ("total", "current"):
        progress[part] = {key: int(begun and key in ("ready", "started")) for key in progress[part]}
    progress["is_last_batch"] = False


def set_after_epoch(loops: Loops) -> None:
    """Set the state "an epoch has ended, with its validation", which the next epoch or the end follows."""
    epochs = loops["epoch_progress"]
    for part in ("total", "current"):
        epochs[part] = dict.fromkeys(epochs[part], epochs[part]["processed"])
    total = loops["epoch_loop.batch_progress"]["total"]["ready"]
    set_batches(loops, total, 0, is_last=False)


def set_last_validation(loops: Loops, batches: int) -> None:
    """Replace "a step has just ended" or "an epoch has ended" by "a validation is due"; an epoch has ``batches``."""
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
    """Whether a checkpoint was written at the end of a validation, before its scores had any effect."""
    batches = loops["epoch_loop.batch_progress"]["total"]
    is_scored = loops["epoch_loop.val_loop.batch_progress"]["current"]["completed"] > 0
    return is_within_epoch(loops) and is_scored and bool(batches["completed"] == batches["processed"])


def batches_of_unfinished_epoch(loops: Loops, batches: int, accumulate: int) -> int:
    """Batches done in an unfinished last epoch that the checkpoint counts as complete; 0 if it was complete.

    Checkpoints without ``scored_step`` count that way. The number of optimizer steps in that epoch gives the batches.

    Args:
        loops: The state of the loops in the checkpoint.
        batches: Batches in an epoch.
        accumulate: Batches in a step.
    """
    steps = loops["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]["current"]["completed"]
    return 0 if is_within_epoch(loops) or steps >= -(-batches // accumulate) else int(steps * accumulate)


def set_back_into_epoch(loops: Loops, done: int) -> None:
    """Replace "an epoch has ended" by "a step has just ended", after ``done`` batches of the epoch."""
    reopen_epoch(loops)
    stepped = loops["epoch_loop.state_dict"]["_batches_that_stepped"]
    set_within_epoch(loops, loops["epoch_loop.batch_progress"]["total"]["ready"], done, stepped - 1)


def reopen_epoch(loops: Loops) -> None:
    """Count the last epoch, which Lightning has counted as complete, as begun."""
    epochs = loops["epoch_progress"]
    for part in ("total", "current"):
        epochs[part] |= dict.fromkeys(("processed", "completed"), epochs[part]["started"] - 1)


def close_epoch(loops: Loops) -> None:
    """Count the epoch as complete, after its last batch and without a validation."""
    add_begun_steps(loops, 1)
    for part in ("total", "current"):
        loops["epoch_progress"][part]["processed"] += 1
    set_after_epoch(loops)


def is_within_epoch(loops: Loops) -> bool:
    """Whether the state is between the first batch of an epoch and its end."""
    current = loops["epoch_progress"]["current"]
    return bool(current["started"] > current["processed"])
