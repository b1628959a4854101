"""Lightning's loops of a fit, changed to score the final weights."""

from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.loops.fit_loop import _FitLoop
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop

from glue_lit.data.accumulation import batches_of_step
from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.training.lightning_internals.loop_state import (
    batches_of_unfinished_epoch,
    is_cut_after_validation,
    set_back_into_epoch,
    set_last_validation,
)
from glue_lit.training.position import Position


def _is_reached(count: int, limit: int | None) -> bool:
    return limit is not None and limit != -1 and count >= limit


class ScoringEpochLoop(_TrainingEpochLoop):
    """Validate also after the last step of the fit, unless its weights have been scored.

    Lightning validates only at its interval, and a fit may end between two validations.

    Attributes:
        owes_score: Whether a resumed fit has nothing left but to score its weights, or to choose the best checkpoint by
            scores that it has already.
    """

    owes_score = False

    @property
    def done(self) -> bool:
        """Whether to leave the epoch."""
        return not self.owes_score and bool(super().done)

    @property
    def ends_fit(self) -> bool:
        """Whether no batch comes after the current one."""
        fit: Any = self.trainer.fit_loop
        is_epoch_end = self._num_ready_batches_reached()
        epochs = fit.epoch_progress.current.processed + is_epoch_end
        if _is_reached(self.global_step, self.max_steps) or (is_epoch_end and _is_reached(epochs, fit.max_epochs)):
            return True
        may_stop = epochs >= (fit.min_epochs or 0) and self.global_step >= (self.min_steps or 0)
        return bool(self.trainer.should_stop) and may_stop

    def _should_check_val_fx(self, data_fetcher: Any) -> bool:
        if not self.trainer.enable_validation or not self.ends_fit:
            return bool(super()._should_check_val_fx(data_fetcher))
        # A fit that was interrupted after this validation enters it once more, and finds it done.
        return self.restarting or can_be_scored(self.trainer)

    def on_advance_end(self, data_fetcher: Any) -> None:
        """Validate if it is due."""
        # Loggers count steps begun, and a step whose gradient stays incomplete does not count.
        is_unfinished = self.ends_fit and self._should_accumulate()
        self._batches_that_stepped -= is_unfinished
        super().on_advance_end(data_fetcher)
        self._batches_that_stepped += is_unfinished
        self.owes_score = False


class ScoringFitLoop(_FitLoop):
    """Lightning's loop with a `ScoringEpochLoop`; a fit that is resumed at its end runs the validation that is left."""

    epoch_loop: ScoringEpochLoop

    @property
    def done(self) -> bool:
        """Whether to leave the training."""
        return not self.epoch_loop.owes_score and bool(super().done)

    def run(self) -> None:
        """Train, or run only the last validation and what follows from its scores if nothing else is left."""
        self.setup_data()
        if self._loaded_from_state_dict:
            self._reopen_unfinished_epoch()
        if self._loaded_from_state_dict and self.done:
            state = self.state_dict()
            if is_cut_after_validation(state):
                self.epoch_loop.owes_score = True
            elif can_be_scored(self.trainer):
                set_last_validation(state, int(self.max_batches))
                self.load_state_dict(state)
                self.epoch_loop.owes_score = True
            else:
                self._leave_epoch()
        super().run()

    def _reopen_unfinished_epoch(self) -> None:
        """Continue within the last epoch if an older checkpoint counts it as complete and its batches are the same."""
        trainer: Any = self.trainer
        state = self.state_dict()
        epoch = state["epoch_progress"]["current"]["processed"] - 1
        position = Position.of(trainer)
        is_exact = position is None or position.is_exact
        if is_exact or not isinstance(trainer.datamodule, GLUEDataModule):
            return
        if not trainer.datamodule.has_same_batches(trainer):
            return
        if done := batches_of_unfinished_epoch(state, int(self.max_batches), batches_of_step(trainer, epoch)):
            set_back_into_epoch(state, done)
            self.load_state_dict(state)

    def _leave_epoch(self) -> None:
        """Count the epoch in which the fit ended as complete, as Lightning does."""
        progress: Any = self.epoch_progress
        if progress.current.started > progress.current.processed:
            for part in (progress.total, progress.current):
                part.processed = part.completed = part.started
            self.epoch_loop._batches_that_stepped += 1


def can_be_scored(trainer: Any) -> bool:
    """Whether there are trained weights without scores, and rows to score them on."""
    position = Position.of(trainer)
    is_scored = position is not None and position.scored_step == trainer.global_step
    return trainer.global_step > 0 and trainer.enable_validation and not is_scored


def score_last_step(trainer: Any) -> None:
    """Validate if a callback has ended the fit at the end of an epoch, after Lightning's own validation."""
    fit = trainer.fit_loop
    if not (isinstance(fit, ScoringFitLoop) and trainer.should_stop and fit._can_stop_early and can_be_scored(trainer)):
        return
    loop, logged = fit.epoch_loop, trainer._logger_connector
    first = logged._first_loop_iter
    loop._batches_that_stepped -= 1  # for loggers, this still belongs to the last step
    trainer.validating = True
    loop.val_loop.run()
    trainer.training = True
    loop._batches_that_stepped += 1
    logged._first_loop_iter = first


class FinalValidation(Callback):
    """Score the weights that a fit ends with, wherever it ends."""

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Turn Lightning's loops into ours; they keep their counters."""
        fit = trainer.fit_loop
        if type(fit) is _FitLoop and type(fit.epoch_loop) is _TrainingEpochLoop:
            fit.__class__, fit.epoch_loop.__class__ = ScoringFitLoop, ScoringEpochLoop
