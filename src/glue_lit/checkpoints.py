"""Checkpoints: which are kept, and how one is opened."""

import zipfile
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from glue_lit.errors import RunError


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content, its tensors mapped from the file rather than read; no code in it is run.

    Raises:
        RunError: The file is not a checkpoint of this program.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # torch raises a kind of its own for every way in which a file can be wrong
        # torch's own words advise to load with weights_only=False, which would run whatever the file holds.
        raise RunError(
            f"{path} is not a readable checkpoint ({type(error).__name__}): it is cut short or no checkpoint at all, "
            "or it holds more than tensors and plain values. Name another, e.g. `--ckpt_path last`."
        ) from error
    if not isinstance(saved, dict) or "architecture" not in saved.get("hyper_parameters", {}):
        raise RunError(f"{path} is not a checkpoint of glue-lit: it does not say what model its weights are for.")
    return saved


class BestCheckpoint(ModelCheckpoint):
    """Keep the checkpoint that is best by one logged value, as ``best.ckpt``.

    Args:
        monitor: Logged value to judge by; null for the task's own metric.
        mode: max if higher is better, min if lower is; null for min if it is a loss, else max.
    """

    def __init__(self, monitor: str | None = None, mode: Literal["max", "min"] | None = None) -> None:
        super().__init__(
            filename="best",
            monitor=monitor,
            mode=mode or ("min" if monitor is not None and monitor.endswith("loss") else "max"),
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the task's metric unless the user chose a value."""
        if self.monitor is None:
            self.monitor = str(pl_module.monitor)
        super().setup(trainer, pl_module, stage)


class LastCheckpoint(ModelCheckpoint):
    """Keep the state after the last epoch, and at an exception, as ``last.ckpt``.

    ``ModelCheckpoint(save_last=True)`` is not that: it writes only when the best was written too.
    """

    def __init__(self) -> None:
        super().__init__(
            filename="last",
            every_n_epochs=1,
            save_on_train_epoch_end=True,
            save_on_exception=True,
            enable_version_counter=False,
        )
