"""The position of a fit between optimizer steps, from which a resumed fit continues exactly."""

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
    """Track the position of the weights batch by batch, and write it into every checkpoint.

    A checkpoint may be written at any time, but its weights are those after the last optimizer step. It records the
    position after that step, and a resumed fit repeats what came later.

    Attributes:
        is_updating: Whether a step is changing the weights, which then belong to no position.
        scored_step: ``global_step`` at the last validation.
        is_exact: Whether the resumed checkpoint distinguishes the end of an epoch from a position within it.
    """

    def __init__(self) -> None:
        self.is_updating = False
        self.scored_step: int | None = None
        self.is_exact = True
        self._is_validated = False  # whether the validation in progress has its scores
        self._step = -1  # optimizer steps when the current batch began
        self._boundary = (0, 0, 0)  # after the last step: batches in all epochs, batches in this one, steps begun

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Continue at the position of the checkpoint, if there is one.

        Raises:
            RunError: The checkpoint is within an epoch whose batches are different now.
        """
        if not getattr(trainer.fit_loop.epoch_loop, "owes_score", False):
            self._move_to_batch(trainer)
        # The best checkpoint and early stopping may not have read the last scores yet.
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
        """Note the position before a batch."""
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

    def load_state(self, trainer: Trainer, checkpoint: dict[str, Any], state: dict[str, Any]) -> None:
        """Restore what the checkpoint's loop state does not include."""
        self.is_exact = "scored_step" in state
        has_best = any(each.get("best_model_path") for each in checkpoint.get("callbacks", {}).values())
        # Older checkpoints have no scored_step; if there is a best one, the last epoch was usually scored.
        self.scored_step = state.get("scored_step", checkpoint["global_step"] if has_best else None)

    def save_state(self, trainer: Trainer, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """Write the position into the checkpoint's loop state."""
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
                self._write_boundary(loops)  # accumulated gradients are not saved
            elif not self._is_validated:
                set_before_validation(loops)
        elif ready > started:  # the next batch has only been fetched
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
        """Whether the fit has ended within an epoch, which Lightning counts as complete."""
        epochs, loop = trainer.fit_loop.epoch_progress.current, trainer.fit_loop.epoch_loop
        is_between = epochs.ready == epochs.processed
        return bool(is_between and loop.batch_progress.current.ready and not is_epoch_complete(trainer))
