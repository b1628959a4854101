"""The run directory of a fit: claimed, locked against other fits, its curves cut back when it is resumed."""

import contextlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers.logger import DummyExperiment  # type: ignore[attr-defined]

from glue_lit.errors import RunError
from glue_lit.runs.locks import lock_run
from glue_lit.runs.run import Run, claim_version
from glue_lit.system.console import size_in_words
from glue_lit.system.environment import slurm_job
from glue_lit.system.files import unfinished_files, write_text
from glue_lit.training.lightning_internals import VersionedLogger
from glue_lit.training.tensorboard.hparams import HPARAMS_FILE


def _event_files(run: Run) -> list[Path]:
    """The event files that grow during training, so not that of the hyperparameters, which every fit replaces."""
    return [path for path in run.path.glob("events.out.tfevents.*") if path.name != HPARAMS_FILE]


class RunLogger(VersionedLogger):
    """TensorBoard's logger, which writes only event files, to a run directory that no other process uses.

    A point's step is the number of steps done, as everywhere else: the last of 282 steps is at 282, where Lightning has
    281.

    Args:
        root: Folder of all runs.
        task: Name of the task's folder in it.
        version: Name of the run's directory in that; ``None`` for a new run.
        curves: Whether to write an event file at all.
    """

    def __init__(self, root: str | Path, task: str, version: int | str | None = None, curves: bool = True) -> None:
        super().__init__(root, task, version, default_hp_metric=False)
        self.counts_made_steps = True
        self.curves = curves
        self._is_open = False
        self._claimed: Run | None = None

    @property
    def experiment(self) -> Any:
        """The writer of the event file; before `open` or without curves, one that writes nothing."""
        return super().experiment if self.curves and self._is_open else DummyExperiment()

    def open(self) -> None:
        """Start writing, once the run directory is claimed."""
        self._is_open = True

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write all values except the epoch, a straight line that TensorBoard would show first."""
        values = {name: value for name, value in metrics.items() if name != "epoch"}
        super().log_metrics(values, None if step is None else step + 1)

    def new_version(self) -> int:
        """Claim a directory that no other run has."""
        if getattr(rank_zero_only, "rank", 0) != 0:
            return -1  # the other ranks write nothing, and get the directory from the first
        version = claim_version(Path(self.root_dir))
        self._claimed = Run(Path(self.root_dir, f"version_{version}"))
        return version

    def remove_unused(self) -> None:
        """Remove the directory that was claimed if no part of a fit is in it."""
        run = self._claimed
        if run is not None and run.path.is_dir() and {path.name for path in run.path.iterdir()} <= {run.job.name}:
            shutil.rmtree(run.path, ignore_errors=True)

    def save(self) -> None:
        """Flush the event file, without ``hparams.yaml``: ``config.yaml`` holds all of it."""
        self.experiment.flush()


class RunDirectory(Callback):
    """Keep a run directory in order while a fit writes to it.

    It is locked against a second fit, and its disk must have room for the checkpoints. When a fit is resumed, the
    curves are cut back to the point where its checkpoint was written.

    Args:
        command: The command line after ``glue-lit``, as the user typed it.
    """

    def __init__(self, command: Sequence[str] = ()) -> None:
        self.command = list(command)
        self._lock: int | None = None
        self._trainer: Trainer | None = None
        self._curves: dict[str, int] | None = None  # size of each event file, from the checkpoint

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Claim the directory.

        Raises:
            RunError: Another fit is writing to it, or the disk has no room.
        """
        self._trainer = trainer
        run = _run(trainer)
        if stage != "fit" or run is None or self._lock is not None:
            return
        with contextlib.suppress(OSError):
            run.path.mkdir(parents=True, exist_ok=True)
        self._lock = lock_run(run)
        for part in (*unfinished_files(run.path), *unfinished_files(run.checkpoints)):
            part.unlink(missing_ok=True)
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            _check_room(run, pl_module)
        if (job := slurm_job()) is not None:
            write_text(run.job, json.dumps({"job": job, "command": self.command}) + "\n")

    def state_dict(self) -> dict[str, Any]:
        """Size of each event file."""
        if self._trainer is None or (run := _run(self._trainer)) is None:
            return {}
        _run_loggers(self._trainer)[0].save()
        return {"curves": {path.name: path.stat().st_size for path in _event_files(run)}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the sizes until the fit starts."""
        self._curves = state_dict.get("curves")

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Cut the curves back to the checkpoint, since the fit writes the rest again."""
        run = _run(trainer)
        if run is not None and trainer.ckpt_path is not None:
            _make_last(run, Path(trainer.ckpt_path))
        if run is not None and self._curves is not None:
            for path in _event_files(run):
                size = self._curves.get(path.name, 0)
                if size == 0:
                    path.unlink()
                elif path.stat().st_size > size:
                    os.truncate(path, size)
        for logger in _run_loggers(trainer):
            logger.open()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the final scores that the run had before, since training continues."""
        if self._curves is not None and (run := _run(trainer)) is not None:
            run.metrics.unlink(missing_ok=True)

    def release(self) -> None:
        """Unlock the directory."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def remove_unused_run(trainer: Trainer) -> None:
    """Remove the directory that was claimed for a fit if it has failed before it wrote to it."""
    for logger in _run_loggers(trainer):
        logger.remove_unused()


def _run_loggers(trainer: Trainer) -> list[RunLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, RunLogger)]


def _run(trainer: Trainer) -> Run | None:
    """The run directory, on the process that writes to it; ``trainer.log_dir`` would wait for the others."""
    loggers = _run_loggers(trainer) if trainer.is_global_zero else []
    return Run(Path(loggers[0].log_dir)) if loggers else None


def _make_last(run: Run, source: Path) -> None:
    """Replace ``last.ckpt`` by the checkpoint that a fit is resumed from, if it is another file."""
    last = run.checkpoints / "last.ckpt"
    if last.is_file() and source.is_file() and not source.samefile(last):
        part = last.with_name(f".{last.name}.{os.getpid()}.part")
        try:
            shutil.copyfile(source, part)
            os.replace(part, last)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise RunError(f"Cannot write {last} ({error.strerror}).") from error


def _check_room(run: Run, module: LightningModule) -> None:
    """Stop before training if the checkpoints cannot fit on the disk."""
    weights = sum(p.numel() * p.element_size() for p in module.parameters())
    moments = 2 * sum(p.numel() * p.element_size() for p in module.parameters() if p.requires_grad)
    new = [name for name in ("best.ckpt", "last.ckpt") if not (run.checkpoints / name).is_file()]
    needed = (len(new) + 1) * (weights + moments)
    free = shutil.disk_usage(run.path).free
    if free < needed:
        if not run.config.is_file():  # it was created for this fit
            shutil.rmtree(run.path, ignore_errors=True)
        files = " and ".join(filter(None, [", ".join(new), "one more checkpoint while it is written"]))
        raise RunError(
            f"The disk of {run.path.parent} has {size_in_words(free)} left, and this fit needs {size_in_words(needed)} "
            f"for {files}. Make room, or choose another folder with `--trainer.default_root_dir DIR`."
        )
