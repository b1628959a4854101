"""A fit and its run directory: room for checkpoints, one fit at a time, and curves without repeated points."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

from glue_lit import GLUEDataModule, SequenceClassifier
from glue_lit.errors import RunError
from glue_lit.runs.locks import lock_run
from glue_lit.runs.run import Run
from glue_lit.system.library_warnings import filter_warnings
from glue_lit.training.callbacks.run_directory import RunDirectory, RunLogger


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    filter_warnings()
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


class SaveAfter(Callback):
    """Write a checkpoint after so many batches."""

    def __init__(self, batches: int, path: Path) -> None:
        self.batches, self.path = batches, path

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.batches:
            trainer.save_checkpoint(self.path)


class Fit:
    """A fit of six batches an epoch, with curves."""

    def __init__(
        self, tiny_model: Path, root: Path, version: str | None = None, *callbacks: Callback, **options: Any
    ) -> None:
        self.model = SequenceClassifier("cola", str(tiny_model), learning_rate=1e-3)
        self.data = GLUEDataModule("cola", str(tiny_model), source="demo", batch_size=4, train_limit=24)
        self.directory = RunDirectory()
        self.logger = RunLogger(root, "cola", version)
        self.trainer = Trainer(
            accelerator="cpu", logger=self.logger, callbacks=[self.directory, *callbacks], log_every_n_steps=1,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            limit_val_batches=0, **{"max_epochs": 1, **options},
        )  # fmt: skip

    @property
    def run(self) -> Run:
        return Run(Path(self.logger.log_dir))

    def start(self, checkpoint: Path | None = None) -> "Fit":
        torch.manual_seed(0)
        self.model.configure_model()
        try:
            self.trainer.fit(self.model, self.data, ckpt_path=checkpoint, weights_only=True)
        finally:
            self.directory.release()
            self.logger.finalize("success")
        return self


def curve(run: Run) -> list[int]:
    """Steps of the points of the loss."""
    events = EventAccumulator(str(run.path))
    events.Reload()
    return [event.step for event in events.Scalars("train/loss")]


def event_files(run: Run) -> set[str]:
    return {path.name for path in run.path.glob("events*")}


# ---------------------------------------------------------------- room


def with_free(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=size))


def test_a_disk_without_room_stops_a_fit_and_leaves_nothing(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_free(monkeypatch, 1000)
    expected = f"The disk of {tmp_path / 'cola'} has 0.0 MB left, and this fit needs "
    fit = Fit(tiny_model, tmp_path)
    with pytest.raises(
        RunError, match=re.escape(expected) + r"0\.[1-9] MB for best.ckpt, last.ckpt and one more .*Make room"
    ):
        fit.start()
    assert list((tmp_path / "cola").iterdir()) == []


def needed(model: SequenceClassifier, files: int) -> int:
    """Bytes of checkpoints, each with the weights and at most two moments of each."""
    model.configure_model()
    return files * 3 * 4 * sum(value.numel() for value in model.state_dict().values())


def test_room_for_three_checkpoints_suffices(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = Fit(tiny_model, tmp_path, max_steps=1)
    with_free(monkeypatch, needed(fit.model, 3))
    fit.start()
    with_free(monkeypatch, needed(fit.model, 3) - 1)
    with pytest.raises(RunError, match=r"The disk of .* Make room"):
        Fit(tiny_model, tmp_path).start()
    assert [path.name for path in (tmp_path / "cola").iterdir()] == ["version_0"]


def test_a_resumed_run_needs_room_for_one_checkpoint_and_is_never_removed(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path / "cola/version_0")
    run.checkpoints.mkdir(parents=True)
    for file in (run.config, run.checkpoints / "best.ckpt", run.checkpoints / "last.ckpt"):
        file.write_bytes(b"")
    fit = Fit(tiny_model, tmp_path, "version_0", max_steps=1)
    with_free(monkeypatch, needed(fit.model, 1))
    fit.start()
    with_free(monkeypatch, needed(fit.model, 1) - 1)
    with pytest.raises(RunError, match=r"MB for one more checkpoint while it is written\. Make room"):
        Fit(tiny_model, tmp_path, "version_0").start()
    assert (run.checkpoints / "best.ckpt").is_file()


# ---------------------------------------------------------------- the claim


def test_a_run_that_is_being_trained_is_not_touched(tiny_model: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "cola/version_0")
    run.checkpoints.mkdir(parents=True)
    # being written by its fit
    parts = [
        run.checkpoints / ".last.ckpt.x.part",
        run.checkpoints / ".last.json.y.part",
        run.path / ".config.yaml.z.part",
    ]
    for part in parts:
        part.write_bytes(b"")
    handle = lock_run(run)
    assert handle is not None
    with pytest.raises(RunError, match="is being trained by another process"):
        Fit(tiny_model, tmp_path, "version_0").start()
    assert all(part.is_file() for part in parts)
    os.close(handle)
    Fit(tiny_model, tmp_path, "version_0", max_steps=1).start()
    assert not any(part.exists() for part in parts)


def test_a_run_is_locked_until_the_fit_ends(tiny_model: Path, tmp_path: Path) -> None:
    fit = Fit(tiny_model, tmp_path, max_steps=1)
    fit.directory.setup(fit.trainer, fit.model, "fit")
    fit.directory.setup(fit.trainer, fit.model, "validate")  # the scoring at the end of a fit
    with pytest.raises(RunError, match="is being trained"):
        lock_run(fit.run)
    for _ in range(2):
        fit.directory.release()
    handle = lock_run(fit.run)
    assert handle is not None
    os.close(handle)


@pytest.mark.parametrize("job", ["4711", None])
def test_the_slurm_job_is_recorded(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: str | None
) -> None:
    if job is not None:
        monkeypatch.setenv("SLURM_JOB_ID", job)
    fit = Fit(tiny_model, tmp_path, max_steps=1)
    fit.directory.command = ["fit", "--data.task", "cola"]
    fit.directory.setup(fit.trainer, fit.model, "fit")
    fit.directory.release()
    noted = json.loads(fit.run.job.read_text(encoding="utf-8")) if fit.run.job.exists() else None
    assert noted == (job and {"job": job, "command": ["fit", "--data.task", "cola"]})


# ---------------------------------------------------------------- curves


def test_curves_are_cut_back_to_the_checkpoint(tiny_model: Path, tmp_path: Path) -> None:
    saved = tmp_path / "some.ckpt"
    first = Fit(tiny_model, tmp_path, None, SaveAfter(4, saved)).start()
    assert curve(first.run) == [1, 2, 3, 4, 5, 6]
    sizes = torch.load(saved, weights_only=True)["callbacks"]["RunDirectory"]["curves"]
    (file,) = event_files(first.run)
    assert 0 < sizes[file] < (first.run.path / file).stat().st_size
    shutil.copy(first.run.path / file, first.run.path / "events.out.tfevents.9.later.1.0")  # by a later fit
    first.run.metrics.write_text("{}", encoding="utf-8")

    second = Fit(tiny_model, tmp_path, "version_0").start(saved)
    assert second.run.path == first.run.path
    assert (first.run.path / file).stat().st_size == sizes[file]
    assert "events.out.tfevents.9.later.1.0" not in event_files(first.run)
    # In one second and process, the files' names end with ...9 and ...10, and are read in that order of letters.
    assert sorted(curve(first.run)) == [1, 2, 3, 4, 5, 6]
    assert not first.run.metrics.exists()  # scores of an end that is no longer the end


def test_a_fit_resumed_before_its_first_step_keeps_all_curves(tiny_model: Path, tmp_path: Path) -> None:
    first = Fit(tiny_model, tmp_path, max_steps=2).start()
    before = {name: (first.run.path / name).read_bytes() for name in event_files(first.run)}
    Fit(tiny_model, tmp_path, "version_0", max_steps=1).start()
    assert {name: (first.run.path / name).read_bytes() for name in before} == before


def test_a_run_without_a_logger(tiny_model: Path, tmp_path: Path) -> None:
    logger = RunLogger(tmp_path, "cola", curves=False)
    trainer = Trainer(accelerator="cpu", logger=logger, enable_checkpointing=False, enable_progress_bar=False)
    directory = RunDirectory()
    directory.setup(trainer, SequenceClassifier("cola", str(tiny_model)), "fit")
    assert directory.state_dict() == {"curves": {}}
    directory.load_state_dict({"curves": {}})
    directory.on_fit_start(trainer, SequenceClassifier("cola", str(tiny_model)))
    directory.release()
    assert list((tmp_path / "cola/version_0").iterdir()) == []


def test_without_a_run_logger_nothing_is_saved(tmp_path: Path) -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    directory = RunDirectory()
    assert directory.state_dict() == {}
    directory.setup(trainer, SequenceClassifier("cola", "none"), "fit")
    assert directory.state_dict() == {}


def test_a_resumed_fit_has_its_own_event_file(tiny_model: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved.ckpt"
    first = Fit(tiny_model, tmp_path, None, SaveAfter(4, saved)).start()
    old = event_files(first.run)
    Fit(tiny_model, tmp_path, "version_0").start(saved)
    (new,) = event_files(first.run) - old
    header = next(iter(LegacyEventFileLoader(str(first.run.path / new)).Load()))
    assert header.file_version == "brain.Event:2"


def test_a_refused_fit_leaves_no_trace(tiny_model: Path, tmp_path: Path) -> None:
    first = Fit(tiny_model, tmp_path, max_steps=1).start()
    before = event_files(first.run)
    lock = lock_run(first.run)
    assert lock is not None
    with pytest.raises(RunError, match="is being trained by another process"):
        Fit(tiny_model, tmp_path, "version_0").start()
    os.close(lock)
    assert event_files(first.run) == before
