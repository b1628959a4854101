"""The speed covers the steps alone, and counts every token once."""

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from kept_points import Points
from lightning.pytorch import Callback, Trainer

from glue_lit import GLUEDataModule, SequenceClassifier
from glue_lit.system.library_warnings import filter_warnings
from glue_lit.training.callbacks.speed import TrainingSpeed

NAP = 0.05


@pytest.fixture(autouse=True)
def quiet() -> None:
    filter_warnings()


class Naps(Callback):
    """Sleep in validation, which must not count, and in each step, which must."""

    def on_validation_start(self, *_: Any) -> None:
        time.sleep(1)

    def on_train_batch_start(self, *_: Any) -> None:
        time.sleep(NAP)


def fit(tiny_model: Path, path: Path | None = None, epochs: int = 2, **options: Any) -> tuple[Any, ...]:
    torch.manual_seed(0)
    speed, points = TrainingSpeed(), Points()
    data = GLUEDataModule("cola", str(tiny_model), source="demo", batch_size=4, train_limit=22, validation_limit=5)
    trainer = Trainer(
        accelerator="cpu", logger=points, callbacks=[speed, Naps()], max_epochs=epochs, log_every_n_steps=4,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        **options,
    )  # fmt: skip
    trainer.fit(SequenceClassifier("cola", str(tiny_model)), data, ckpt_path=path, weights_only=True)
    return speed, points, trainer, data


def test_counts_every_example_and_token_of_the_steps_alone(tiny_model: Path) -> None:
    speed, _, trainer, data = fit(tiny_model)
    assert speed.examples == 2 * 22
    assert int(speed.tokens) == 2 * int(data.dataset("train").lengths.sum())
    record = speed.record(trainer)
    assert record["train_samples_per_second"] == pytest.approx(44 / speed.seconds)
    assert record["train_tokens_per_second"] == pytest.approx(int(speed.tokens) / speed.seconds)
    assert 0 < record["train_padding"] < 0.5
    assert 12 * NAP < speed.seconds < speed.wall_seconds - 2  # both validations waited a second
    assert speed.processor_seconds > 0


def test_points_are_of_the_steps_since_the_last_one(tiny_model: Path) -> None:
    _, points, _, data = fit(tiny_model)
    found = [(step, values) for step, values in points.points if "work/padding" in values]
    assert [step for step, _ in found] == [3, 7, 11]
    batches = []
    for epoch in range(2):
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)
        batches += list(loader)
    for number, (_, values) in enumerate(found):
        window = batches[4 * number : 4 * number + 4]
        padded = sum(batch["input_ids"].numel() for batch in window)
        real = sum(int(batch["attention_mask"].sum()) for batch in window)
        assert values["work/padding"] == pytest.approx(1 - real / padded, abs=1e-6)
        ratio = values["work/tokens_per_second"] / values["work/samples_per_second"]
        assert ratio == pytest.approx(real / sum(len(batch["idx"]) for batch in window), rel=1e-5)
        assert values["work/samples_per_second"] < 4 / NAP


def test_the_speed_of_a_resumed_fit_counts_all_steps(tiny_model: Path, tmp_path: Path) -> None:
    first, _, trainer, _ = fit(tiny_model, epochs=1)
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    before, worked = first.wall_seconds, first.state_dict()["processor_seconds"]
    second, _, _, data = fit(tiny_model, tmp_path / "x.ckpt", epochs=2)
    assert second.examples == 44
    assert int(second.tokens) == 2 * int(data.dataset("train").lengths.sum())
    assert second.seconds > first.seconds + 6 * NAP
    assert second.wall_seconds > before + 1
    assert second.processor_seconds > worked


def test_waiting_does_not_count_as_work(monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> None:
    worked = iter([3.0, 10.5, 10.5])
    monkeypatch.setattr("glue_lit.training.callbacks.speed.time.process_time", lambda: next(worked, 10.5))
    speed, *_ = fit(tiny_model, epochs=1)
    assert speed.processor_seconds == 7.5


def test_nothing_trained_has_no_speed() -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    record = TrainingSpeed().record(trainer)
    assert set(record.values()) == {None}
