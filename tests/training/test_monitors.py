"""A fit stops before it begins if a callback monitors a value that is not logged."""

from pathlib import Path
from typing import Any

import command_line
import pytest
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint

import glue_lit
from glue_lit import BestCheckpoint, GLUEDataModule, SequenceClassifier
from glue_lit.errors import DataError, UsageError
from glue_lit.system.library_warnings import filter_warnings
from glue_lit.tasks.glue import get_task
from glue_lit.training.monitors import check_monitors
from glue_lit.training.tensorboard.points import TrainingCurves


class Own(Callback):
    """A callback of a user's own, which may log anything."""


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        ([EarlyStopping("val/los")], "EarlyStopping monitors 'val/los', which is not logged. Did you mean 'val/loss'"),
        ([EarlyStopping("step")], "Allowed: val/matthews_correlation, val/loss, train/loss"),
        ([EarlyStopping("weights/nothing")], "'weights/nothing', which is not logged"),
        ([ModelCheckpoint(monitor="work/speed")], "'work/speed', which is not logged. Did you mean 'work/p"),
        ([EarlyStopping("val_los")], "weights/gradient_norm, work/samples_per_second, work/tokens_per_second, work/p"),
        ([ModelCheckpoint(monitor="val_loss")], "ModelCheckpoint monitors 'val_loss', which is not logged. Did you"),
        ([Callback(), EarlyStopping("lr-AdamW")], "EarlyStopping monitors 'lr-AdamW'"),
        ([BestCheckpoint(monitor="val/f1")], "BestCheckpoint monitors 'val/f1'"),
    ],
)  # fmt: skip
def test_a_monitor_that_is_not_logged_is_refused(callbacks: list[Callback], message: str) -> None:
    with pytest.raises(UsageError, match=r"^trainer\.callbacks: ") as raised:
        check_monitors(callbacks, get_task("cola"))
    assert message in str(raised.value)
    assert raised.value.everywhere


def test_a_monitor_that_is_logged_is_accepted() -> None:
    check_monitors(
        [
            EarlyStopping("val/matthews_correlation"),
            EarlyStopping("train/loss"),
            EarlyStopping("weights/gradient_norm"),
            EarlyStopping("weights/learning_rate_head"),
            EarlyStopping("val/los", strict=False),
            EarlyStopping("lr-AdamW"),
            LearningRateMonitor(),
            ModelCheckpoint(monitor="step"),
            ModelCheckpoint(),
            BestCheckpoint(),
        ],
        get_task("cola"),
    )
    check_monitors([EarlyStopping("val_matched/accuracy")], get_task("mnli"))
    check_monitors([EarlyStopping("own"), Own()], get_task("cola"))


class Logs(SequenceClassifier):
    """A class built on ours, which may log more."""


def test_a_trainer_in_python_refuses_it_too(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filter_warnings()

    def read(_: Any) -> None:
        raise RuntimeError("data were read")

    monkeypatch.setattr(GLUEDataModule, "prepare_data", read)
    for kind, error, message in (
        (SequenceClassifier, UsageError, "'val/los', which is not logged"),
        (Logs, RuntimeError, "data were read"),
    ):
        trainer = Trainer(
            accelerator="cpu", precision="32-true", max_epochs=1, logger=False, default_root_dir=tmp_path,
            callbacks=EarlyStopping("val/los"), enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        model = kind(task="cola", name_or_path=str(tiny_model))
        with pytest.raises(error, match=message):
            trainer.fit(model, GLUEDataModule(task="cola", source="demo", tokenizer=str(tiny_model)))


@pytest.mark.parametrize("validations", [1.0, 0])
def test_the_mean_loss_of_an_epoch_can_be_monitored(validations: float, tiny_model: Path, tmp_path: Path) -> None:
    filter_warnings()

    class Seen(EarlyStopping):
        values: list[float] = []

        def _run_early_stopping_check(self, trainer: Trainer) -> None:
            curves = TrainingCurves.of(trainer)
            assert curves is not None
            assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(
                curves.epoch_loss.mean(trainer.strategy)
            )
            self.values.append(float(trainer.callback_metrics["train/loss"]))
            super()._run_early_stopping_check(trainer)

    trainer = Trainer(
        accelerator="cpu", precision="32-true", max_epochs=2, logger=False, default_root_dir=tmp_path,
        callbacks=Seen("train/loss"), enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        limit_val_batches=validations, log_every_n_steps=50,  # no point of the curves in either epoch
    )  # fmt: skip
    data = GLUEDataModule(task="cola", source="demo", tokenizer=str(tiny_model), train_limit=40, validation_limit=8)
    trainer.fit(SequenceClassifier(task="cola", name_or_path=str(tiny_model), learning_rate=1e-3), data)
    assert len(set(Seen.values)) == 2


@pytest.mark.parametrize("kind", ["classification", "multi_label", "ordinal"])
def test_rows_without_labels_cannot_pick_the_checkpoint(
    kind: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"room {number},{number % 3}" for number in range(12)]
    (tmp_path / "train.csv").write_text("\n".join(["text,label", *lines, ""]), encoding="utf-8")
    (tmp_path / "validation.csv").write_text("text,label\na view,\na bed,\n", encoding="utf-8")
    settings = {
        "data.custom.text": "text", "data.custom.kind": kind, "trainer.accelerator": "cpu", "trainer.max_steps": 1,
        "trainer.default_root_dir": str(tmp_path),
    }  # fmt: skip
    if kind == "multi_label":
        settings["data.custom.label_separator"] = ";"
    message = r"validation\.csv: 2 rows of validation, and none has a label, .* no val/.* for BestCheckpoint\. Label"
    with pytest.raises(DataError, match=message):
        glue_lit.fit("rooms", tiny_model, source=tmp_path, settings=settings)
    assert not (tmp_path / "lightning_logs").exists()
    if kind == "ordinal":
        glue_lit.fit("rooms", tiny_model, source=tmp_path, settings=settings | {"trainer.limit_val_batches": 0})
        settings["checkpoint.monitor"] = "train/loss"
        result = glue_lit.fit("rooms", tiny_model, source=tmp_path, settings=settings)
        assert result.checkpoint is not None
        assert command_line.glue_lit(monkeypatch, "validate", f"--ckpt_path={result.checkpoint}") == 0
        assert "no labels, so there is nothing to score" in capsys.readouterr().out
