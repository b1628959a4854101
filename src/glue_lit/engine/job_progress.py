"""The job's side: it writes its progress, and ends with its driver."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from glue_lit.data.accumulation import planned_steps
from glue_lit.engine.job import PROGRESS_FILE, read_progress
from glue_lit.system.environment import job_folder, local_rank
from glue_lit.system.files import write_json

_INTERVAL = 1.0  # seconds
_LAST_CHECKPOINT = 60.0  # seconds that a job without a driver has for it


class JobProgress(Callback):
    """Write the progress of a training into the folder of its job.

    Args:
        folder: The job's.
        monitor: Logged name of the metric that is followed; ``None`` for the task's.
    """

    def __init__(self, folder: Path, monitor: str | None) -> None:
        self._folder = folder
        self._monitor = monitor
        self._values = dict(read_progress(folder).values)
        self._written_at = 0.0

    def state_dict(self) -> dict[str, Any]:
        """The values so far, by the number of their validation."""
        return {"values": {str(number): value for number, value in self._values.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Drop the values that came after the checkpoint: they come again."""
        self._values = {int(number): value for number, value in state_dict["values"].items()}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write how many steps there will be."""
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
            progress = {"step": trainer.global_step, "steps": known, "values": sorted(self._values.items())}
            write_json(self._folder / PROGRESS_FILE, progress)


def end_with_driver() -> None:
    """Write the last checkpoint and end as soon as the driver is gone; the other devices' processes follow."""
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
