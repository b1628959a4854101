"""Where a fit stands: what a checkpoint says of Lightning's loops, so that training continues exactly there.

Lightning's own counters, taken as they are at the moment of saving, make a resumed fit skip a validation, repeat one,
or count a step twice. So a checkpoint has one of three plain forms: a step has just ended, a validation is due, an
epoch has ended.
"""

from typing import Any

from glue_lit.data.sampling import ShuffledSampler

Loops = dict[str, Any]  # of a checkpoint: checkpoint["loops"]["fit_loop"]


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


def set_last_validation(loops: Loops, batches: int) -> None:
    """Write "validation is due" in place of "a step has just ended" or "an epoch has ended".

    Args:
        loops: Changed in place.
        batches: Batches in an epoch.
    """
    epochs, progress = loops["epoch_progress"], loops["epoch_loop.batch_progress"]
    total = progress["total"]["ready"]
    if is_within_epoch(loops):
        _set_batches(loops, total, progress["current"]["ready"], is_last=False, completed=0)
    else:
        _reopen_epoch(epochs)
        _set_batches(loops, total, batches, is_last=True, completed=0)
        loops["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1
    set_before_validation(loops)


def is_cut_after_validation(loops: Loops) -> bool:
    """Whether a checkpoint was written at the end of a validation, before what follows it."""
    batches = loops["epoch_loop.batch_progress"]["total"]
    is_scored = loops["epoch_loop.val_loop.batch_progress"]["current"]["completed"] > 0
    return is_within_epoch(loops) and is_scored and bool(batches["completed"] == batches["processed"])


def left_epoch(loops: Loops, batches: int, accumulate: int) -> int:
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
    _reopen_epoch(loops["epoch_progress"])
    stepped = loops["epoch_loop.state_dict"]["_batches_that_stepped"]
    set_within_epoch(loops, loops["epoch_loop.batch_progress"]["total"]["ready"], done, stepped - 1)


def _reopen_epoch(epochs: dict[str, dict[str, int]]) -> None:
    for part in ("total", "current"):
        epochs[part] |= dict.fromkeys(("processed", "completed"), epochs[part]["started"] - 1)


def is_within_epoch(loops: Loops) -> bool:
    """Whether a checkpoint's loops stand between the first batch of an epoch and its end."""
    current = loops["epoch_progress"]["current"]
    return bool(current["started"] > current["processed"])


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
        self.scored_step: int | None = None  # optimizer steps behind the weights that were scored last
        self.is_exact = True  # the checkpoint that is continued tells the end of an epoch from one within it

    def load(self, checkpoint: dict[str, Any]) -> None:
        """Take from a checkpoint what its loops do not say."""
        own = checkpoint.get("glue_lit", {})
        self.is_exact = "scored_step" in own
        has_best = any(state.get("best_model_path") for state in checkpoint.get("callbacks", {}).values())
        # An older one does not say it; where there is a best checkpoint, its last epoch was scored as a rule.
        self.scored_step = own.get("scored_step", checkpoint["global_step"] if has_best else None)

    def begin(self, trainer: Any) -> None:
        """Take up a fit at its start or where its checkpoint stands; to be called before its first batch.

        Raises:
            RunError: The checkpoint stands in the middle of an epoch that would hold other batches now.
        """
        loop = trainer.fit_loop
        if getattr(loop.epoch_loop, "owes_score", False):
            return  # no batch comes
        within = loop.epoch_progress.current.started > loop.epoch_progress.current.processed
        done = loop.epoch_loop.batch_progress.current.ready if within else 0
        epoch = loop.epoch_progress.current.processed
        if not within:  # with max_steps, Lightning takes every checkpoint for one in the middle of an epoch
            for part in (loop, loop.epoch_loop, loop.epoch_loop.val_loop):
                part._restarting = False
        sampler = getattr(trainer.train_dataloader, "sampler", None)
        if isinstance(sampler, ShuffledSampler):
            if done and trainer.datamodule is not None:
                trainer.datamodule.check_same_batches(trainer)
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

    @staticmethod
    def _has_left_epoch(trainer: Any) -> bool:
        """Whether the fit has ended before the last batch of its epoch, which Lightning counts as a whole one."""
        epochs, loop = trainer.fit_loop.epoch_progress.current, trainer.fit_loop.epoch_loop
        is_between = epochs.ready == epochs.processed
        return bool(is_between and loop.batch_progress.current.ready and not loop._num_ready_batches_reached())

    def write(self, trainer: Any, loops: Loops) -> None:
        """Put the position of the weights into a checkpoint's loops, in place."""
        loop = trainer.fit_loop.epoch_loop
        progress = loop.batch_progress
        if self._has_left_epoch(trainer):
            _reopen_epoch(loops["epoch_progress"])
            if progress.current.ready % trainer.accumulate_grad_batches:
                self._write_boundary(loops)
            else:
                set_within_epoch(loops, progress.total.ready, progress.current.ready, loop._batches_that_stepped - 1)
        elif not is_within_epoch(loops):
            set_after_epoch(loops)
            loops["epoch_loop.state_dict"]["_batches_that_stepped"] += trainer.validating  # see `score_last_step`
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
