"""Exact resume: a fit continued from a checkpoint does what it would have done, bit by bit.

Three things make it so, all functions of the position in the training and nothing else: which examples a
batch holds (`ShuffledSampler`), which dropout masks it meets (`batch_seed`), and where Lightning's loops
stand. The last is written here in one of three plain forms, because Lightning's own counters, taken as
they are at the moment of saving, make it skip a validation, repeat one, or count a step twice.
"""

import traceback
from pathlib import Path
from typing import Any

import numpy as np

from glue_lit.data.sampling import ShuffledSampler
from glue_lit.errors import GlueLitError, RunError
from glue_lit.refusals import refusal

Loops = dict[str, Any]  # of a checkpoint: checkpoint["loops"]["fit_loop"]


def batch_seed(seed: int, epoch: int, batch: int, rank: int) -> int:
    """Seed of the random numbers (dropout) of one batch on one device, in 0 to 2**64 - 1.

    Nothing needs to be saved for a resumed fit to draw the same masks, and no two devices draw the same.
    """
    # stable over versions, by NumPy's promise for SeedSequence; no two of the arguments can stand for each other
    return int(np.random.SeedSequence((seed, epoch, batch, rank)).generate_state(1, np.uint64)[0])


def _tracker(like: dict[str, int], ready: int, completed: int | None = None) -> dict[str, int]:
    """All counters of a tracker at ``ready``, but ``completed``, if it is another."""
    return dict.fromkeys(like, ready) | {"completed": ready if completed is None else completed}


def _set_batches(loops: Loops, total: int, current: int, is_last: bool, completed: int) -> None:
    """Put the batch counters at ``current`` of this epoch, ``completed`` (0 or -1) more of them completed."""
    progress = loops["epoch_loop.batch_progress"]
    progress["total"] = _tracker(progress["total"], total, total + completed)
    progress["current"] = _tracker(progress["current"], current, current + completed)
    progress["is_last_batch"] = is_last


def set_within_epoch(loops: Loops, total: int, current: int, stepped: int) -> None:
    """Write "an optimizer step has just ended": the next batch comes next.

    Args:
        loops: Changed in place.
        total: Batches done in all epochs.
        current: Batches done in this epoch, at least 1.
        stepped: Optimizer steps before the one that has just ended; loggers count by it.
    """
    _set_batches(loops, total, current, is_last=False, completed=-1)  # Lightning completes the step itself
    loops["epoch_loop.state_dict"]["_batches_that_stepped"] = stepped
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
        epochs[part] = _tracker(epochs[part], epochs[part]["processed"])
    total = loops["epoch_loop.batch_progress"]["total"]["ready"]
    _set_batches(loops, total, 0, is_last=False, completed=0)


def is_within_epoch(loops: Loops) -> bool:
    """Whether a checkpoint's loops stand between the first batch of an epoch and its end."""
    current = loops["epoch_progress"]["current"]
    return bool(current["started"] > current["processed"])


def fit_progress(path: Path, saved: dict[str, Any], like: dict[str, Any]) -> tuple[dict[str, Any], int, int]:
    """State of the loop, epochs and steps that a checkpoint stands at.

    Args:
        path: The checkpoint's, for the message.
        saved: Its content.
        like: The state of a loop that has not begun.

    Raises:
        RunError: It does not say, or what its optimizer and schedule had come to is not there.
    """
    loops = saved.get("loops")
    loop, steps = loops.get("fit_loop") if isinstance(loops, dict) else None, saved.get("global_step")
    if not _is_alike(loop, like) or not _is_alike(steps, 0):
        raise RunError(f"{path} does not say how far its training has come, so it cannot be gone on with.")
    if not _has_optimizer(saved):
        raise RunError(
            f"{path} has lost what its optimizer or learning rate had come to, so it cannot be gone on with. "
            f"`--model.init_from {path}` begins a new training with its encoder."
        )
    assert isinstance(loop, dict) and isinstance(steps, int)  # noqa: PT018 - which is what alike means
    return loop, loop["epoch_progress"]["current"]["processed"], steps


def _is_alike(found: Any, like: Any) -> bool:
    """Whether a state has all parts of another one, counters (from 0 up) where that has some."""
    if isinstance(like, dict):
        return isinstance(found, dict) and all(_is_alike(found.get(key), part) for key, part in like.items())
    return type(found) is type(like) and (not isinstance(like, int) or found >= 0)


def _has_optimizer(saved: dict[str, Any]) -> bool:
    """Whether there is a state of an optimizer and of its schedule: Lightning goes on without, as if it were none."""
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


def not_restored(path: Path | None, error: Exception) -> str | None:
    """What is wrong with a checkpoint, if an error comes from Lightning's taking up what it holds; else ``None``.

    What the system refuses meanwhile, memory above all, is no fault of the checkpoint.
    """
    if path is None or isinstance(error, GlueLitError) or refusal(error) is not None:
        return None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name.startswith("restore_") and frame.f_globals["__name__"].endswith("checkpoint_connector"):
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            return f"{path} cannot be taken up: what it says of its training is not of this fit's kind ({reason})."
    return None


class Position:
    """Where a fit stands between optimizer steps, kept up batch by batch.

    A checkpoint can be asked for at any time, while the weights are always those after the last optimizer
    step. So a checkpoint says how far that step had come, and what came after it is done again.
    """

    def __init__(self) -> None:
        self._step = -1  # optimizer steps when the current batch began
        self._boundary = (0, 0, 0)  # batches in all epochs, batches in this one, and the step counter, at the last step
        self.is_updating = False  # the weights are being changed: they belong to no position
        self.is_validated = False  # the scores of the validation in progress are in

    def begin(self, trainer: Any) -> None:
        """Take up a fit at its start or where its checkpoint stands; to be called before its first batch.

        Raises:
            RunError: The checkpoint stands in the middle of an epoch that would hold other batches now.
        """
        loop = trainer.fit_loop
        within = loop.epoch_progress.current.started > loop.epoch_progress.current.processed
        done = loop.epoch_loop.batch_progress.current.ready if within else 0
        epoch = loop.epoch_progress.current.processed
        if not within:  # with max_steps, Lightning takes every checkpoint for one in the middle of an epoch
            for part in (loop, loop.epoch_loop, loop.epoch_loop.val_loop):
                part._restarting = False
        sampler = getattr(trainer.train_dataloader, "sampler", None)
        if isinstance(sampler, ShuffledSampler):
            if done and trainer.datamodule is not None:
                trainer.datamodule.check_same_batches()
            sampler.start_at(epoch, done)
            if epoch or done:
                iter(loop._data_fetcher)  # with workers, the first batches are already on their way

    def begin_batch(self, trainer: Any) -> None:
        """Note where the weights stand before a batch."""
        self.is_updating = self.is_validated = False
        self._step = trainer.global_step
        progress = trainer.fit_loop.epoch_loop.batch_progress
        self._note(trainer, progress.current.ready - 1, progress.total.ready - 1)

    def _note(self, trainer: Any, done: int, total: int) -> None:
        if done % trainer.accumulate_grad_batches == 0:
            self._boundary = (total, done, trainer.fit_loop.epoch_loop._batches_that_stepped)

    def _write_boundary(self, loops: Loops) -> None:
        total, current, stepped = self._boundary
        if current:
            set_within_epoch(loops, total, current, stepped - 1)
        else:
            loops["epoch_loop.batch_progress"]["total"]["ready"] = total
            loops["epoch_loop.state_dict"]["_batches_that_stepped"] = stepped
            set_after_epoch(loops)

    def write(self, trainer: Any, loops: Loops) -> None:
        """Put the position of the weights into a checkpoint's loops, in place."""
        loop = trainer.fit_loop.epoch_loop
        progress = loop.batch_progress
        if not is_within_epoch(loops):
            set_after_epoch(loops)
        elif trainer.validating:
            if not progress.is_last_batch and progress.current.ready % trainer.accumulate_grad_batches:
                self._write_boundary(loops)  # gradients that no step has used yet are not kept
            elif not self.is_validated:
                set_before_validation(loops)
        elif progress.current.ready > progress.current.started:  # the next batch has been fetched, no more
            self._note(trainer, progress.current.started, progress.total.started)
            self._write_boundary(loops)
        elif trainer.global_step == self._step:  # the batch in progress has not changed the weights
            self._write_boundary(loops)
        elif loop._should_check_val_fx(trainer.fit_loop._data_fetcher):
            _set_batches(loops, progress.total.ready, progress.current.ready, progress.is_last_batch, completed=0)
            set_before_validation(loops)
        elif progress.is_last_batch:  # of an epoch without validation
            loops["epoch_loop.state_dict"]["_batches_that_stepped"] += 1
            loops["epoch_progress"]["total"]["processed"] += 1
            loops["epoch_progress"]["current"]["processed"] += 1
            set_after_epoch(loops)
        else:
            set_within_epoch(loops, progress.total.ready, progress.current.ready, loop._batches_that_stepped)
