"""Progress of a fit and the time left: a bar, or lines if no bar can be drawn."""

import math
import sys
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer
from torch import Tensor

from glue_lit.data.accumulation import batches_of_step, planned_steps
from glue_lit.system.console import duration, say
from glue_lit.system.run_log import add_to_log
from glue_lit.training.callbacks.speed import TrainingSpeed
from glue_lit.training.lightning_internals import ThrottledBar
from glue_lit.training.tensorboard.points import TrainingCurves

_EVERY = 30.0  # seconds between two lines


class FitClock(Callback):
    """Estimate the time left of a fit from the steps and validations of this process."""

    def __init__(self) -> None:
        self._begun: tuple[float, int] | None = None  # when training began, and the steps before
        self._validating = 0.0  # seconds
        self._validations = 0
        self._validation_begun: float | None = None

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        """Start the clock."""
        self._begun = time.monotonic(), trainer.global_step

    def on_validation_start(self, trainer: Trainer, *_: Any) -> None:
        """Start the clock of the validation."""
        self._validation_begun = time.monotonic()

    def on_validation_end(self, trainer: Trainer, *_: Any) -> None:
        """Stop the clock of the validation."""
        if self._begun is not None and self._validation_begun is not None:
            self._validating += time.monotonic() - self._validation_begun
            self._validations += 1
        self._validation_begun = None

    def seconds_left(self, trainer: Trainer) -> float | None:
        """Seconds until the fit ends if nothing stops it early; ``None`` if unknown, as before two steps.

        Validations are included once this process has done one; within the first, the time is unknown. A time limit
        (``trainer.max_time``) counts if it comes first.
        """
        ends = [left for timer in _timers(trainer) if (left := timer.time_remaining()) is not None]
        steps, total = self._steps(trainer), planned_steps(trainer)
        in_first_validation = self._validation_begun is not None and not self._validations
        if self._begun is not None and steps > 1 and total != math.inf and not in_first_validation:
            now = time.monotonic()
            in_progress = 0.0 if self._validation_begun is None else now - self._validation_begun
            each = (now - self._begun[0] - self._validating - in_progress) / steps
            left = max(total - trainer.global_step, 0)
            validation = self._validating / self._validations if self._validations else 0.0
            ends.append(each * left + validation * _validations_left(trainer, int(left)))
        return max(min(ends), 0.0) if ends else None

    def _steps(self, trainer: Trainer) -> int:
        return 0 if self._begun is None else trainer.global_step - self._begun[1]


def _timers(trainer: Any) -> list[Timer]:
    return [callback for callback in trainer.callbacks if isinstance(callback, Timer)]


def _validations_left(trainer: Any, steps: int) -> int:
    """Validations in the next ``steps`` steps."""
    batches, every = trainer.num_training_batches, trainer.val_check_batch
    if not trainer.enable_validation or math.inf in (batches, every) or not every:
        return 0
    epochs = steps / max(1, math.ceil(batches / batches_of_step(trainer, trainer.current_epoch)))
    if trainer.check_val_every_n_epoch is None:  # the interval is in batches of all epochs
        return int(epochs * batches / every)
    validations: int = math.ceil(epochs / trainer.check_val_every_n_epoch * (batches // every))
    return validations


class ProgressLines(Callback):
    """Print the progress of a fit about every 30 seconds, unless a bar shows it.

    The loss is the mean over the batches of the first device since the last line. It is read from the device only when
    a line is printed.

    Args:
        clock: Estimates the time left.
        speed: Counts the examples.
        every: Seconds between two lines.
    """

    def __init__(self, clock: FitClock, speed: TrainingSpeed, every: float = _EVERY) -> None:
        self._clock, self._speed, self._every = clock, speed, every
        self._printed = 0.0
        self._loss: Tensor | None = None  # sum over the batches since the last line
        self._batches = 0
        self._measured = (0.0, 0)  # seconds and examples at the last line
        self._validated = 0  # batches of the validation in progress

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        """Begin the interval of the first line."""
        self._begin_interval()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        """Add the batch, and print a line if one is due."""
        curves = TrainingCurves.of(trainer)
        if curves is not None and (loss := curves.last_loss) is not None:
            self._loss = loss if self._loss is None else self._loss + loss
            self._batches += 1
        if self._is_due(trainer):
            mean = "-" if self._loss is None else f"{float(self._loss) / self._batches:.4f}"
            seconds, examples = (now - then for now, then in zip(self._now(), self._measured, strict=True))
            speed = [f"{trainer.world_size * examples / seconds:,.0f} samples/s"] if seconds > 0 else []
            self._print(trainer, f"train/loss {mean}", *speed)

    def on_validation_start(self, trainer: Trainer, *_: Any) -> None:
        """Count the batches of this validation."""
        self._validated = 0

    def on_validation_batch_end(self, trainer: Any, *_: Any, **__: Any) -> None:
        """Print a line if one is due."""
        self._validated += 1
        if trainer.state.fn == "fit" and not trainer.sanity_checking and self._is_due(trainer):
            self._print(trainer, f"validating: batch {self._validated:,} of {sum(trainer.num_val_batches):,}")

    def _is_due(self, trainer: Any) -> bool:
        if time.monotonic() - self._printed < self._every:
            return False
        shows_bar = sys.stdout.isatty() and getattr(trainer.progress_bar_callback, "is_enabled", False)
        return trainer.is_global_zero and not shows_bar

    def _print(self, trainer: Trainer, *parts: str) -> None:
        left, total = self._clock.seconds_left(trainer), planned_steps(trainer)
        steps = f"step {trainer.global_step:,}" + ("" if total == math.inf else f" of {total:,}")
        epochs = f"epoch {trainer.current_epoch + 1}" + ("" if trainer.max_epochs == -1 else f"/{trainer.max_epochs}")
        say("  ".join([epochs, steps, *parts, *([] if left is None else [f"{duration(left)} left"])]))
        self._begin_interval()

    def _begin_interval(self) -> None:
        self._printed, self._loss, self._batches, self._measured = time.monotonic(), None, 0, self._now()

    def _now(self) -> tuple[float, int]:
        return self._speed.seconds, self._speed.examples


def print_above_bar(trainer: Trainer, line: str) -> None:
    """Print a line, above the progress bar if there is one."""
    bar = trainer.progress_bar_callback
    if bar is not None and getattr(bar, "is_enabled", False):
        bar.print(line)
        add_to_log(line)
    else:
        say(line)


_REDRAW = 0.2  # seconds between two states of the progress bar


class Bar(ThrottledBar):
    """Lightning's bar, but with epochs from 1, and only on a terminal.

    Args:
        clock: Estimates the time left of the fit, which the bar shows beside that of the epoch.
    """

    def __init__(self, clock: FitClock | None = None) -> None:
        super().__init__(refresh_rate=1 if sys.stdout.isatty() else 0)
        self._clock = clock
        self._drawn = 0.0

    def is_due(self, current: int, total: int) -> bool:
        """Whether to draw: not at every step, since drawing waits for the device to compute the loss."""
        now = time.monotonic()
        if current != total and now - self._drawn < _REDRAW:  # total is not known right after a resume
            return False
        self._drawn = now
        return True

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        """Name the epoch."""
        super().on_train_epoch_start(trainer, *_)
        self.train_progress_bar.set_description(f"Epoch {trainer.current_epoch + 1}/{trainer.max_epochs}")

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """The time left of the fit, then Lightning's values without the run's number, which the last lines name."""
        left = None if self._clock is None or trainer.state.fn != "fit" else self._clock.seconds_left(trainer)
        metrics: dict[str, Any] = {} if left is None else {"fit_left": duration(left)}
        return metrics | {name: of for name, of in super().get_metrics(trainer, pl_module).items() if name != "v_num"}
