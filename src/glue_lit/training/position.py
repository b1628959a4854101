"""Where a fit stands between optimizer steps, so that a resumed fit continues exactly there."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer

from glue_lit.data.sampling import ShuffledSampler
from glue_lit.training.fit_part import FitPart
from glue_lit.training.lightning_internals import (
    begun_steps,
    forget_restart,
    is_epoch_complete,
    is_validation_due,
    refetch_batches,
    restore_logged,
)
from glue_lit.training.lightning_internals.loop_state import (
    Loops,
    add_begun_steps,
    close_epoch,
    is_within_epoch,
    reopen_epoch,
    set_after_epoch,
    set_batches,
    set_before_validation,
    set_begun_steps,
    set_within_epoch,
)


class Position(FitPart):
    """Note batch by batch where the weights stand, and write it into every checkpoint.

    A checkpoint can be asked for at any time, while the weights are always those after the last optimizer
    step. So a checkpoint says how far that step had come, and what followed it is done again.

    Attributes:
        is_updating: The weights are being changed, and belong to no position.
        scored_step: ``global_step`` at the last validation.
        is_exact: The checkpoint that is resumed tells the end of an epoch from a position within it.
    """

    def __init__(self) -> None:
        self.is_updating = False
        self.scored_step: int | None = None
        self.is_exact = True
        self._is_validated = False  # the scores of the validation in progress are in
        self._step = -1  # optimizer steps when the current batch began
        self._boundary = (0, 0, 0)  # batches in all epochs, batches in this one, and begun steps, at the last step

    # ---------------------------------------------------------------- along the fit

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Continue where the checkpoint stands, if there is one.

        Raises:
            RunError: It stands in the middle of an epoch that would hold other batches now.
        """
        if not getattr(trainer.fit_loop.epoch_loop, "owes_score", False):
            self._move_to_batch(trainer)
        # What follows a validation may be left to do: the choice of the best checkpoint, an early end.
        restore_logged(trainer, pl_module.scores)

    def _move_to_batch(self, trainer: Any) -> None:
        loop = trainer.fit_loop
        is_within = loop.epoch_progress.current.started > loop.epoch_progress.current.processed
        done = loop.epoch_loop.batch_progress.current.ready if is_within else 0
        epoch = loop.epoch_progress.current.processed
        if not is_within:
            forget_restart(trainer)
        sampler = getattr(trainer.train_dataloader, "sampler", None)
        if isinstance(sampler, ShuffledSampler):
            if done and trainer.datamodule is not None:
                trainer.datamodule.check_same_batches(trainer)
            sampler.start_at(epoch, done)
            if epoch or done:
                refetch_batches(trainer)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Note where the weights stand before a batch."""
        self.is_updating = self._is_validated = False
        self._step = trainer.global_step
        progress = trainer.fit_loop.epoch_loop.batch_progress
        self._note_boundary(trainer, progress.current.ready - 1, progress.total.ready - 1)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that the validation has no scores yet."""
        self._is_validated = False

    def note_scores(self, trainer: Trainer) -> None:
        """Note that the weights have been scored."""
        self._is_validated = True
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.scored_step = trainer.global_step

    # ---------------------------------------------------------------- checkpoints

    def load_state(self, trainer: Trainer, checkpoint: dict[str, Any], state: dict[str, Any]) -> None:
        """Take what the checkpoint's loops do not say."""
        self.is_exact = "scored_step" in state
        has_best = any(each.get("best_model_path") for each in checkpoint.get("callbacks", {}).values())
        # Older ones lack it; with a best checkpoint, the last epoch was scored as a rule.
        self.scored_step = state.get("scored_step", checkpoint["global_step"] if has_best else None)

    def save_state(self, trainer: Trainer, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """Put the position into the checkpoint's loops."""
        self._write_position(trainer, checkpoint["loops"]["fit_loop"])
        return {"scored_step": self.scored_step}

    def _write_position(self, trainer: Any, loops: Loops) -> None:
        progress = trainer.fit_loop.epoch_loop.batch_progress
        ready, started = progress.current.ready, progress.current.started
        is_within_step = ready % trainer.accumulate_grad_batches
        if self._has_left_epoch(trainer):
            reopen_epoch(loops)
            if is_within_step:
                self._write_boundary(loops)
            else:
                set_within_epoch(loops, progress.total.ready, ready, begun_steps(trainer) - 1)
        elif not is_within_epoch(loops):
            set_after_epoch(loops)
            add_begun_steps(loops, int(trainer.validating))  # see `score_last_step`
        elif trainer.validating:
            if not progress.is_last_batch and is_within_step:
                self._write_boundary(loops)  # gradients that no step has used yet are not kept
            elif not self._is_validated:
                set_before_validation(loops)
        elif ready > started:  # the next batch has been fetched, no more
            self._note_boundary(trainer, started, progress.total.started)
            self._write_boundary(loops)
        elif trainer.global_step == self._step:  # the batch in progress has not changed the weights
            self._write_boundary(loops)
        elif is_validation_due(trainer):
            set_batches(loops, progress.total.ready, ready, progress.is_last_batch)
            set_before_validation(loops)
        elif progress.is_last_batch:
            close_epoch(loops)
        else:
            set_within_epoch(loops, progress.total.ready, ready, begun_steps(trainer))

    def _note_boundary(self, trainer: Any, done: int, total: int) -> None:
        if done % trainer.accumulate_grad_batches == 0:
            self._boundary = (total, done, begun_steps(trainer))

    def _write_boundary(self, loops: Loops) -> None:
        total, current, begun = self._boundary
        if current:
            set_within_epoch(loops, total, current, begun - 1)
        else:
            loops["epoch_loop.batch_progress"]["total"]["ready"] = total
            set_begun_steps(loops, begun)
            set_after_epoch(loops)

    @staticmethod
    def _has_left_epoch(trainer: Any) -> bool:
        """Whether the fit has ended before the last batch of its epoch, which Lightning counts as a whole one."""
        epochs, loop = trainer.fit_loop.epoch_progress.current, trainer.fit_loop.epoch_loop
        is_between = epochs.ready == epochs.processed
        return bool(is_between and loop.batch_progress.current.ready and not is_epoch_complete(trainer))
