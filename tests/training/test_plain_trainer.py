"""A plain `Trainer` in Python trains as the command does, and a classifier can be trained more than once."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
import warm
from kept_points import Points
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, ModelSummary, RichModelSummary

from glue_lit import BestCheckpoint, GLUEDataModule, LastCheckpoint, SequenceClassifier
from glue_lit.runs.checkpoints import read_checkpoint
from glue_lit.system.library_warnings import filter_warnings
from glue_lit.training.callbacks.epoch_lines import EpochLines

LIMITS = {"train_limit": 24, "validation_limit": 13, "batch_size": 4}
RECIPE: dict[str, Any] = {"learning_rate": 1e-3, "warmup": 0.25, "dropout": 0.2}


@pytest.fixture(autouse=True)
def quiet() -> None:
    filter_warnings()


def data(tiny_model: Path) -> GLUEDataModule:
    return GLUEDataModule("cola", str(tiny_model), source="demo", **LIMITS)  # type: ignore[arg-type]


def plain_trainer(*callbacks: Callback, **options: Any) -> Trainer:
    settings = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False} | options
    return Trainer(accelerator="cpu", enable_progress_bar=False, callbacks=list(callbacks), **settings)


STATES = ("scores", "scored_step", "skipped_steps", "means")  # metrics, position, guard and curves


def fit(tiny_model: Path, average: float, *callbacks: Callback, checkpoint: Path | None = None) -> Trainer:
    trainer = plain_trainer(
        *callbacks, max_epochs=2, val_check_interval=4, precision="32-true", log_every_n_steps=3, logger=Points(),
        gradient_clip_val=0.5, enable_checkpointing=bool(callbacks),
    )  # fmt: skip
    classifier = SequenceClassifier("cola", **RECIPE, name_or_path=str(tiny_model), average=average)
    trainer.fit(classifier, data(tiny_model), ckpt_path=checkpoint, weights_only=True)
    return trainer


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_plain_trainer_and_the_command_write_the_same_checkpoint(
    tiny_model: Path, tmp_path: Path, average: float
) -> None:
    model = RECIPE | {"average": average, "name_or_path": tiny_model}
    flags = {f"data.{name}": value for name, value in LIMITS.items()}
    flags |= {f"model.{name}": value for name, value in model.items()}
    flags |= {"trainer.max_epochs": 2, "trainer.accelerator": "cpu", "trainer.val_check_interval": 4}
    flags |= {"trainer.precision": "32-true", "trainer.log_every_n_steps": 3, "trainer.gradient_clip_val": 0.5}
    arguments = [f"--{name}={value}" for name, value in flags.items()]
    done = warm.run("-m", "glue_lit", "fit", "--data.source=demo", *arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (command,) = (read_checkpoint(path) for path in tmp_path.rglob("last.ckpt"))

    seed_everything(42, verbose=False)
    best, last = BestCheckpoint(), LastCheckpoint()
    best.dirpath = last.dirpath = str(tmp_path / "python")
    fit(tiny_model, average, best, last)
    python = read_checkpoint(last.path)
    for part in ("state_dict", "current_model_state") if average else ("state_dict",):
        assert command[part].keys() == python[part].keys()
        assert all(torch.equal(value, python[part][name]) for name, value in command[part].items())
    for part in STATES:
        assert command["glue_lit"][part] == python["glue_lit"][part], part
    assert command["loops"]["fit_loop"] == python["loops"]["fit_loop"]

    resumed = fit(tiny_model, average, checkpoint=last.path)  # which has nothing left to train
    resumed.save_checkpoint(tmp_path / "again.ckpt")
    again = read_checkpoint(tmp_path / "again.ckpt")["glue_lit"]
    for part in STATES:
        assert again[part] == python["glue_lit"][part], part


class BatchLosses(Callback):
    """Keeps the loss of each batch."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        self.losses.append(float(pl_module.parts.curves.last_loss))


class Scored(Callback):
    """Notes the steps after which a fit is validated."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.steps.append(trainer.global_step)


class BrokenOnce(SequenceClassifier):
    """Has logits of NaN in the third training batch ever."""

    batches = 0

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        self.batches += self.training
        return super().forward(batch) * (float("nan") if self.training and self.batches == 3 else 1)


def test_a_second_fit_knows_nothing_of_the_first(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classifier = BrokenOnce("cola", str(tiny_model), learning_rate=1e-3, non_finite="skip")
    losses = []
    for skipped in (1, 0):
        scored, batches = Scored(), BatchLosses()
        trainer = plain_trainer(scored, batches, EpochLines(), max_steps=4, num_sanity_val_steps=0)
        capsys.readouterr()
        trainer.fit(classifier, data(tiny_model))
        assert scored.steps == [4]
        assert classifier.parts.guard.skipped == skipped
        losses.append(capsys.readouterr().out.splitlines()[-1].split()[2])
        finite = [loss for loss in batches.losses if loss == loss]
        assert losses[-1] == f"{sum(finite) / len(finite):.4f}"
    assert losses[0] != losses[1]


@pytest.mark.parametrize("summary", [ModelSummary, RichModelSummary])
def test_lightning_has_nothing_to_say_of_replaced_callbacks(
    tiny_model: Path, caplog: pytest.LogCaptureFixture, summary: type[ModelSummary]
) -> None:
    with caplog.at_level(logging.INFO, "lightning.pytorch"):
        plain_trainer(summary(), max_steps=1).fit(SequenceClassifier("cola", str(tiny_model)), data(tiny_model))
    assert "max_steps=1" in caplog.text
    assert "override" not in caplog.text
