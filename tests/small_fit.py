"""A fit of seconds, with everything that tests compare between two fits, and an interruption at any hook."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint, Timer
from lightning.pytorch.loggers.logger import Logger

from glue_lit import BestCheckpoint, GLUEDataModule, SequenceClassifier

SEED = 5


class CutError(RuntimeError):
    """Raised to interrupt a fit."""


class History(Logger):
    """Keep every logged point."""

    def __init__(self) -> None:
        super().__init__()
        self.points: list[tuple[int, str, float]] = []

    name = "history"
    version = 0

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.points += [(int(step or 0), key, float(value)) for key, value in metrics.items() if key != "epoch"]


class Clock(Timer):
    """A time limit on a clock that advances by a second with each batch."""

    def __init__(self, seconds: int, interval: str = "step") -> None:
        super().__init__(timedelta(seconds=seconds), interval)
        self.batches = 0

    def time_elapsed(self, stage: str = "train") -> float:
        return float(self._offset + self.batches)

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.batches += 1
        super().on_train_batch_end(*args, **kwargs)


class SaveAndCut(Checkpoint):
    """At the nth call of a hook write a checkpoint, and end the fit there."""

    def __init__(self, hook: str, count: int, path: Path) -> None:
        self.left = count

        def act(trainer: Trainer, *_: Any, **__: Any) -> None:
            self.left -= 1
            if self.left == 0:
                trainer.save_checkpoint(path)
                raise CutError

        setattr(self, hook, act)


class Fit:
    """Everything of one fit on the demo corpus: 37 rows in batches of 4, so 10 an epoch."""

    def __init__(self, folder: Path, tiny_model: Path, *callbacks: Callback, workers: int = 0, **settings: Any) -> None:
        windows = settings.pop("windows", None)
        self.data = GLUEDataModule(
            task="cola", source="demo", tokenizer=str(tiny_model), batch_size=4, train_limit=37, validation_limit=13,
            num_workers=workers, eval_batch_size=4, windows=windows, **settings.pop("data", {}),
        )  # fmt: skip
        recipe = {"learning_rate": 1e-3, "warmup": 0.2, "schedule": "cosine"} | settings.pop("model", {})
        self.model = SequenceClassifier(task="cola", name_or_path=str(tiny_model), windows=windows, **recipe)
        self.history = History()
        self.best = BestCheckpoint(settings.pop("monitor", "val/loss"))
        self.best.dirpath = str(folder)
        options: dict[str, Any] = {"max_epochs": 3} | settings
        self.trainer = Trainer(
            accelerator="cpu", logger=self.history, callbacks=[self.best, *callbacks], log_every_n_steps=1,
            num_sanity_val_steps=0, enable_progress_bar=False, enable_model_summary=False, **options,
        )  # fmt: skip

    def scored(self) -> list[int]:
        """Steps after which it was validated, from 1."""
        return [step + 1 for step, name, _ in self.history.points if name == "val/loss"]

    def run(self, checkpoint: Path | None = None) -> "Fit":
        torch.manual_seed(SEED)
        self.trainer.fit(self.model, self.data, ckpt_path=checkpoint, weights_only=True)
        return self
