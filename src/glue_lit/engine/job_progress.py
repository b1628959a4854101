"""The training's side of a job: it says how far it has come, and ends with its driver."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from glue_lit.data.accumulation import planned_steps
from glue_lit.engine.job import Job
from glue_lit.system.environment import job_folder, local_rank
from glue_lit.system.files import write_json

_EVERY = 1.0  # seconds
_LEFT = 60.0  # seconds for the last checkpoint of a job whose driver is gone


class JobProgress(Callback):
    """Write how far a training has come into the folder of its job.

    Args:
        folder: The job's.
        monitor: Logged name of the metric that is followed; ``None`` for the task's.
    """

    def __init__(self, folder: Path, monitor: str | None) -> None:
        self._file = folder / "progress.json"
        self._monitor = monitor
        self._values = dict(Job("", folder, ()).progress().values)
        self._written = 0.0

    def state_dict(self) -> dict[str, Any]:
        """How many validations there were."""
        return {"values": {str(number): value for number, value in self._values.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Forget what came after the checkpoint: it comes again."""
        self._values = {int(number): value for number, value in state_dict["values"].items()}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say how long it will be."""
        self._write(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Say it about once a second."""
        if time.monotonic() - self._written > _EVERY:
            self._write(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what the validation gave."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        value = trainer.callback_metrics.get(self._monitor or str(pl_module.monitor))
        if value is not None:
            self._values[len(self._values) + 1] = float(value)
            self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        self._written = time.monotonic()
        if trainer.is_global_zero:
            steps = planned_steps(trainer)
            write_json(
                self._file,
                {
                    "step": trainer.global_step,
                    "steps": int(steps) if steps != float("inf") else 0,
                    "values": sorted(self._values.items()),
                },
            )


def end_with_driver() -> None:
    """Write the last checkpoint and end as soon as the driver is gone; the other devices' processes follow."""
    if job_folder() is None or local_rank() != 0:
        return
    driver = os.getppid()

    def watch() -> None:
        while os.getppid() == driver:
            time.sleep(_EVERY)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_LEFT)
        os._exit(1)

    threading.Thread(target=watch, name="glue-lit-driver", daemon=True).start()
