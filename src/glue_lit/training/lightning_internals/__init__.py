"""All uses of Lightning's private attributes, with their reasons; tested with Lightning 2.6.6.

Each function does one thing for which Lightning has no public API. `tests/training/test_lightning_internals.py` fails
when a version of Lightning lacks what one of them needs.
"""

import threading
import traceback
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelSummary, TQDMProgressBar, WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.strategies import DDPStrategy
from torch.optim.swa_utils import AveragedModel


def trainer_of(module: LightningModule) -> Trainer | None:
    """The module's trainer; ``None`` before it has one, when ``module.trainer`` raises."""
    return module._trainer


# ---------------------------------------------------------------- the loops of a fit


def begun_steps(trainer: Any) -> int:
    """Optimizer steps that have begun; Lightning numbers logged values by this count."""
    return int(trainer.fit_loop.epoch_loop._batches_that_stepped)


def completes_step(trainer: Any) -> bool:
    """Whether the batch in progress is the last of its optimizer step."""
    return not trainer.fit_loop._should_accumulate()


def is_epoch_complete(trainer: Any) -> bool:
    """Whether the last batch of the epoch has been fetched."""
    return bool(trainer.fit_loop.epoch_loop._num_ready_batches_reached())


def is_validation_due(trainer: Any) -> bool:
    """Whether a validation follows the batch in progress."""
    fit = trainer.fit_loop
    return bool(fit.epoch_loop._should_check_val_fx(fit._data_fetcher))


def forget_restart(trainer: Any) -> None:
    """Begin a new epoch; with ``max_steps``, Lightning would resume any checkpoint as if it were within an epoch."""
    fit = trainer.fit_loop
    for loop in (fit, fit.epoch_loop, fit.epoch_loop.val_loop):
        loop._restarting = False


def refetch_batches(trainer: Any) -> None:
    """Fetch the first batches again after the sampler has moved, since worker processes have prefetched others."""
    iter(trainer.fit_loop._data_fetcher)


def skip_sigterm_exchange(trainer: Any) -> None:
    """Stop the exchange about SIGTERM before each batch, which waits for the GPU; `StopRequest` has its own."""
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None


# ---------------------------------------------------------------- logged values and checkpoints


def is_log_step(trainer: Any) -> bool:
    """Whether values logged with the batch in progress reach the loggers (``log_every_n_steps``)."""
    return bool(trainer._logger_connector.should_update_logs)


def restore_logged(trainer: Any, scores: Mapping[str, float]) -> None:
    """Add values by name to ``callback_metrics``, which checkpoints and early stopping read."""
    trainer._logger_connector._callback_metrics |= {name: torch.tensor(score) for name, score in scores.items()}


def checkpoint_content(trainer: Any) -> dict[str, Any]:
    """What ``trainer.save_checkpoint`` writes, without its barrier: other processes may be gone."""
    content: dict[str, Any] = trainer._checkpoint_connector.dump_checkpoint(False)
    return content


def is_raised_by_restoring(error: BaseException) -> bool:
    """Whether Lightning raised an error while it restored a checkpoint; it has no exception class for that."""
    return any(
        frame.f_code.co_name.startswith("restore_") and frame.f_globals["__name__"].endswith("checkpoint_connector")
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )


# ---------------------------------------------------------------- strategies and processes


def scales_loss(trainer: Any) -> bool:
    """Whether float16's loss scaler skips steps with an infinite gradient."""
    return getattr(trainer.precision_plugin, "scaler", None) is not None


def ddp_options(strategy: DDPStrategy) -> dict[str, Any]:
    """The options of ``DistributedDataParallel``, which can be changed before the fit."""
    return strategy._ddp_kwargs


def compute_in_float32(trainer: Any) -> None:
    """Replace the trainer's mixed precision, for a model that does not run in it."""
    trainer.strategy.precision_plugin = Precision()


def quiet_child_observer() -> None:
    """Keep Lightning's observer of child processes from silently killing this one; `RankWatch` says which died."""
    for thread in threading.enumerate():
        if thread.name == "child-process-observer":
            thread._child_processes = []  # type: ignore[attr-defined]


# ---------------------------------------------------------------- callbacks and loggers


def is_run_by_tuner(callback: object) -> bool:
    """Whether a finder (of learning rate or batch size) is run by Lightning's Tuner before the fit, not within it."""
    return bool(getattr(callback, "_early_exit", False))


def summary_settings(summary: ModelSummary) -> dict[str, Any]:
    """The arguments that a summary was made with."""
    return {"max_depth": summary._max_depth, **summary._summarize_kwargs}


class ThrottledBar(TQDMProgressBar):
    """A progress bar that asks `is_due` before it draws."""

    def is_due(self, current: int, total: int) -> bool:
        """Whether to draw now."""
        return True

    def _should_update(self, current: int, total: int) -> bool:
        return self.is_due(current, total) and bool(super()._should_update(current, total))


class VersionedLogger(TensorBoardLogger):
    """A TensorBoard logger that asks `new_version` for the number of a new run."""

    def new_version(self) -> int:
        """Number of a new run."""
        raise NotImplementedError

    def _get_next_version(self) -> int:
        return self.new_version()


class OpenWeightAveraging(WeightAveraging):
    """Lightning's averaging, with access to the average, its device and its update."""

    @property
    def average_model(self) -> AveragedModel | None:
        """The average, once a fit has begun."""
        return self._average_model

    def place_on(self, device: torch.device) -> None:
        """Keep the average on a device, unless the user chose one."""
        self._device = self._device or device

    def update(self, average: AveragedModel, module: LightningModule) -> None:
        """Update the average with a module's weights; by default as torch does, which waits for the device."""
        average.update_parameters(module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Update the average after a step for which `should_update` holds."""
        step = trainer.global_step
        if self._average_model is not None and step > self._latest_update_step and self.should_update(step - 1):
            self.update(self._average_model, pl_module)
            self._latest_update_step = step
