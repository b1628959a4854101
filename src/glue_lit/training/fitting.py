"""`run_fit`: a training from its checks to the scores of its best checkpoint."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.profilers import PassThroughProfiler

from glue_lit.runs.checkpoints import read_checkpoint
from glue_lit.runs.run import run_of_checkpoint
from glue_lit.system.files import write_json
from glue_lit.system.hardware import return_freed_memory
from glue_lit.training.callbacks.early_stopping import describe_end
from glue_lit.training.provenance import run_record
from glue_lit.training.session import Session, Start, explained, prepare


@dataclass(frozen=True)
class FitResult:
    """The result of a training.

    Attributes:
        task: Name of the task.
        run: The run directory; ``None`` if a logger other than glue-lit's wrote it, or nothing was validated.
        checkpoint: Absolute path of the best checkpoint; ``None`` if nothing was validated.
        metrics: Scores of the best checkpoint by their logged names, such as ``val/accuracy``.
        intervals: 95 % intervals of the metrics by the same names; with several processes, only on the first.
        record: Content of the run's ``metrics.json``: the scores, and everything needed to reproduce them.
        epoch: Epoch of the best checkpoint, from 1; with several processes, only on the first.
        ended: Why the training ended, as a sentence; empty if nothing was trained.
    """

    task: str
    run: Path | None = None
    checkpoint: Path | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict, repr=False)
    epoch: int | None = None
    ended: str = ""


def run_fit(session: Session, on_start: Callable[[Start], None] = lambda start: None) -> FitResult:
    """Train, or resume a training; then score the best checkpoint and write ``metrics.json``.

    Args:
        session: With a trainer that has not run yet.
        on_start: Called before the training, on the first device.

    Raises:
        GlueLitError: Something is wrong with the data, the model or a setting, or the training diverges.
        Stopped: A signal stopped it; the last checkpoint has been written.
    """
    with explained(session):
        start = prepare(session)
        if session.trainer.is_global_zero:
            on_start(start)
        return_freed_memory()  # reading and tokenising a large file frees what training does not need
        session.trainer.fit(**session.options(session.checkpoint))
        return _score_best(session, is_over=bool(start.reached))


def _score_best(session: Session, is_over: bool) -> FitResult:
    trainer, task = session.trainer, session.data.task
    is_dry_run = bool(trainer.fast_dev_run)  # type: ignore[attr-defined]
    ended = "" if is_over or is_dry_run or not trainer.global_step else describe_end(trainer)
    best = Path(session.best.best_model_path or ".").absolute()
    if not best.is_file():
        return FitResult(task.name, ended=ended)
    with _unobserved(trainer):  # the best checkpoint's scores are no point of the curves, and no part of a profile
        trainer.validate(**session.options(best) | {"weights_only": True}, verbose=False)
    scores, run = session.model.scores, run_of_checkpoint(best)
    place = None if run is None else run.path.absolute()
    found = FitResult(task.name, place, best, scores, session.score_intervals(), ended=ended)
    if not trainer.is_global_zero:
        return found
    saved = read_checkpoint(best)
    record: dict[str, Any] = {"metrics": scores}
    if run is not None:
        record = {"seed": session.seed, "monitor": session.best.monitor, "mode": session.best.mode}
        record |= run_record(run, trainer, session.model, session.data.splits, saved, session.speed)
        write_json(run.metrics, record)
    return replace(found, record=record, epoch=saved["epoch"] + 1)


@contextmanager
def _unobserved(trainer: Trainer) -> Iterator[None]:
    observers: Any = trainer
    loggers, profiler = observers.loggers, observers.profiler
    observers.loggers, observers.profiler = [], PassThroughProfiler()
    try:
        yield
    finally:
        observers.loggers, observers.profiler = loggers, profiler
