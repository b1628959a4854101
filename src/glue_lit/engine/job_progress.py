"""What a job does for its driver: write its progress, and end when the driver ends."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from glue_lit.data.accumulation import planned_steps
from glue_lit.engine.job import Progress
from glue_lit.system.environment import job_folder, local_rank

_INTERVAL = 1.0  # seconds
_LAST_CHECKPOINT = 60.0  # seconds that a job without a driver has to write its last checkpoint


class JobProgress(Callback):
    """Write the progress of a training into the folder of its job.

    Args:
        folder: Folder of the job.
        monitor: Logged name of the metric to write; ``None`` for the task's own.
    """

    def __init__(self, folder: Path, monitor: str | None) -> None:
        self._folder = folder
        self._monitor = monitor
        self._values = dict(Progress.read(folder).values)
        self._written_at = 0.0

    def state_dict(self) -> dict[str, Any]:
        """The values up to this checkpoint, by the number of the validation."""
        return {"values": {str(number): value for number, value in self._values.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Drop the values after the checkpoint, whose validations are repeated."""
        self._values = {int(number): value for number, value in state_dict["values"].items()}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the number of steps."""
        self._write(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the step about once a second."""
        if time.monotonic() - self._written_at > _INTERVAL:
            self._write(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the value of a validation."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        value = trainer.callback_metrics.get(self._monitor or str(pl_module.monitor))
        if value is not None:
            self._values[len(self._values) + 1] = float(value)
            self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        self._written_at = time.monotonic()
        if trainer.is_global_zero:
            steps = planned_steps(trainer)
            known = 0 if steps == float("inf") else int(steps)
            Progress(trainer.global_step, known, tuple(sorted(self._values.items()))).write(self._folder)


def end_with_driver() -> None:
    """Write the last checkpoint and exit once the driver is gone; the processes of other devices follow this one."""
    if job_folder() is None or local_rank() != 0:
        return
    driver = os.getppid()

    def watch() -> None:
        while os.getppid() == driver:
            time.sleep(_INTERVAL)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_LAST_CHECKPOINT)
        os._exit(1)

    threading.Thread(target=watch, name="glue-lit-driver", daemon=True).start()
