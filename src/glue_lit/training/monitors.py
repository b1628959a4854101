"""Check that a fit logs the values that its callbacks monitor."""

from collections.abc import Sequence

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint

from glue_lit.data.splits import TaskSplits
from glue_lit.errors import DataError, UsageError, did_you_mean
from glue_lit.system.console import count_of
from glue_lit.tasks.glue import TaskSpec, log_prefix, logged_names
from glue_lit.training.callbacks.checkpoints import BestCheckpoint

_OF_TRAINING = (
    "weights/learning_rate", "weights/gradient_norm", "work/samples_per_second", "work/tokens_per_second",
    "work/padding",
)  # fmt: skip
_PREFIXES = ("weights/learning_rate_",)  # of names that end differently with other settings: the parameter groups
_KNOWN = ("lightning", "glue_lit")  # packages whose callbacks log nothing else
_COUNTS = ("epoch", "step")  # ModelCheckpoint adds them itself


def check_monitors(callbacks: Sequence[object], task: TaskSpec) -> None:
    """Stop at an EarlyStopping or a ModelCheckpoint whose ``monitor`` is not logged, which would fail after an epoch.

    Any name passes with ``strict=False``, or if there is a callback of the user's own, which may log it.

    Args:
        callbacks: All callbacks of a trainer.
        task: Gives the metrics.

    Raises:
        UsageError: A monitored name is not logged; the message lists those that are.
    """
    given = [callback for callback in callbacks if isinstance(callback, Callback)]
    if any(type(callback).__module__.partition(".")[0] not in _KNOWN for callback in given):
        return
    has_rates = any(isinstance(callback, LearningRateMonitor) for callback in given)
    prefixes = (*_PREFIXES, "lr-") if has_rates else _PREFIXES
    for callback in given:
        if not isinstance(callback, EarlyStopping | ModelCheckpoint) or not getattr(callback, "strict", True):
            continue
        monitor = callback.monitor
        counts = _COUNTS if isinstance(callback, ModelCheckpoint) else ()
        names = (*logged_names(task), *_OF_TRAINING, *counts)
        if monitor and monitor not in names and not monitor.startswith(prefixes):
            raise UsageError(
                f"trainer.callbacks: {type(callback).__name__} monitors {monitor!r}, which is not logged."
                f"{did_you_mean(monitor, names)} Allowed: {', '.join(names)}.",
                everywhere=True,
            )


def check_monitored_rows(trainer: Trainer, splits: TaskSplits) -> None:
    """Stop at an EarlyStopping or a ModelCheckpoint that monitors a score on rows of which none has a label.

    Args:
        trainer: Trains, and validates unless it is told not to.
        splits: The splits of a fit.

    Raises:
        DataError: There would be no such score, and the fit would fail after an epoch.
    """
    task, callbacks = splits.task, trainer.callbacks  # type: ignore[attr-defined]
    for callback in callbacks if trainer.limit_val_batches else ():
        if not isinstance(callback, EarlyStopping | ModelCheckpoint) or not getattr(callback, "strict", True):
            continue
        monitor = callback.monitor or (task.monitor if isinstance(callback, BestCheckpoint) else "")
        for name in task.validation_splits:
            if not monitor.startswith(f"{log_prefix(name)}/"):
                continue
            rows = splits.dataset(name)
            if not rows.has_labels():
                raise DataError(
                    f"{splits.split(name).origin}: {count_of(len(rows.examples), 'row')} of {name}, and none has a "
                    f"label, so that there is no {monitor} for {type(callback).__name__}. Label some of them, name "
                    "another file (data.custom.validation_file), or monitor train/loss (checkpoint.monitor)."
                )
