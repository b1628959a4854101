"""Early stopping on the metric that picks the best checkpoint, and a sentence on how a fit ended."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, Timer
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason

from glue_lit.errors import UsageError
from glue_lit.training.lightning_internals import is_epoch_complete
from glue_lit.training.refused_callbacks import as_list


class EarlyStop(EarlyStopping):
    """End a fit once the metric that picks the best checkpoint has not improved in ``patience`` validations.

    An undefined metric, such as the correlation of equal scores, counts as no improvement.

    Args:
        patience: Validations without improvement, at least 1.
        best: Gives the metric, and whether higher or lower is better.
    """

    def __init__(self, patience: int, best: ModelCheckpoint) -> None:
        super().__init__(
            best.monitor or "", patience=patience, mode=best.mode, check_finite=False, check_on_train_epoch_end=False
        )
        self._counted = -1  # number of the batch, over all epochs, whose validation was counted last

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Monitor the task's metric unless the user chose a value."""
        self.monitor = self.monitor or str(pl_module.monitor)
        super().setup(trainer, pl_module, stage)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count each validation once, although a fit that is resumed within an accumulation repeats one."""
        is_fit = trainer.state.fn == "fit" and not trainer.sanity_checking
        if not is_fit or trainer.fit_loop.total_batch_idx <= self._counted:
            return
        self._counted = trainer.fit_loop.total_batch_idx
        super().on_validation_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Lightning's state, and the last validation that was counted."""
        return super().state_dict() | {"counted": self._counted}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the counters, but keep this fit's patience, which may be longer."""
        patience = self.patience
        super().load_state_dict(state_dict)
        self.patience, self._counted = patience, state_dict["counted"]
        is_over = self.wait_count >= patience
        self.stopping_reason = EarlyStoppingReason.PATIENCE_EXHAUSTED if is_over else EarlyStoppingReason.NOT_STOPPED
        self.stopped_epoch = self.stopped_epoch if is_over else 0


def early_stop_callbacks(patience: int | None, best: ModelCheckpoint, settings: Mapping[str, Any]) -> list[EarlyStop]:
    """A list with the `EarlyStop` of ``--early_stopping``, empty without early stopping.

    Args:
        patience: As for `EarlyStop`; ``None`` for no early stopping.
        best: As for `EarlyStop`.
        settings: The settings of the trainer.

    Raises:
        UsageError: Another callback stops early, or nothing would be validated.
    """
    if patience is None:
        return []
    if any(isinstance(callback, EarlyStopping) for callback in as_list(settings.get("callbacks"))):
        raise UsageError(
            f"--early_stopping: got {patience}, and an EarlyStopping in trainer.callbacks. Leave one of them out."
        )
    if settings.get("limit_val_batches") == 0:
        raise UsageError(
            f"--early_stopping: got {patience}, but with `--trainer.limit_val_batches 0` nothing is validated. "
            "Leave one of them out."
        )
    return [EarlyStop(int(patience), best)]  # checkpoints hold only plain numbers


def find_early_stop(trainer: Any) -> EarlyStopping | None:
    """The callback that has stopped this fit, or the fit that it resumes."""
    for callback in trainer.callbacks:
        if isinstance(callback, EarlyStopping):
            reason = getattr(callback, "stopping_reason", EarlyStoppingReason.NOT_STOPPED)
            if callback.stopped_epoch or reason is not EarlyStoppingReason.NOT_STOPPED:
                return callback
    return None


def describe_end(trainer: Any) -> str:
    """A sentence that says what has ended a fit."""
    steps, epochs = trainer.global_step, trainer.max_epochs
    where = f"in epoch {trainer.current_epoch}{f' of {epochs}' if epochs > 0 else ''}, after {_counted(steps, 'step')}"
    if 0 <= trainer.max_steps <= steps:
        return f"Ended by trainer.max_steps {trainer.max_steps}, {where.partition(',')[0]}."
    is_whole = is_epoch_complete(trainer) or not trainer.should_stop
    if 0 <= epochs <= trainer.current_epoch and is_whole:
        return f"Ended after {_counted(epochs, 'epoch')}, {_counted(steps, 'step')}."
    if (early := find_early_stop(trainer)) is not None:
        return f"Ended by {_reason(early)}, {where}."
    for callback in trainer.callbacks:
        if isinstance(callback, Timer) and (left := callback.time_remaining()) is not None and left <= 0:
            limit = timedelta(seconds=round(left + callback.time_elapsed(), 3))
            return f"Ended by its time limit of {limit} (trainer.max_time, over all parts of a resumed fit), {where}."
    return f"Ended by a callback, {where}."


def _reason(early: EarlyStopping) -> str:
    if early.stopping_reason is not EarlyStoppingReason.PATIENCE_EXHAUSTED:
        message = (early.stopping_reason_message or "").removesuffix(" Signaling Trainer to stop.").rstrip(".")
        return f"EarlyStopping: {message}" if message else "EarlyStopping"
    best = float(early.best_score)
    than = f"better than {best:.4f}" if abs(best) != float("inf") else "a number"
    return f"early stopping: {early.monitor} was not {than} in {_counted(early.wait_count, 'validation')}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
