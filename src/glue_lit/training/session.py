"""A command's trainer, model, data and callbacks: checked before the trainer starts, with its errors explained."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from glue_lit.data.accumulation import batches_of_step
from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.data.module_state import datamodule_state
from glue_lit.encoder.build import check_tokens
from glue_lit.encoder.limits import MIXED, check_precision_of, why_not_mixed
from glue_lit.errors import RunError, Stopped, UsageError
from glue_lit.evaluation.predictions import Predictions
from glue_lit.evaluation.resampling import score_intervals
from glue_lit.runs.checkpoints import check_model, check_task, read_checkpoint, verify_checksums
from glue_lit.system.environment import local_rank
from glue_lit.training.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from glue_lit.training.callbacks.prediction_writer import PredictionWriter
from glue_lit.training.callbacks.rank_watch import RankWatch, is_lost_connection
from glue_lit.training.callbacks.run_directory import RunDirectory, remove_unused_run
from glue_lit.training.callbacks.signals import StopRequest
from glue_lit.training.callbacks.speed import TrainingSpeed
from glue_lit.training.classifier import SequenceClassifier
from glue_lit.training.early_checks import check_architecture, check_computation, describe_batches
from glue_lit.training.lightning_errors import explain_lightning_error
from glue_lit.training.lightning_internals import compute_in_float32
from glue_lit.training.lightning_internals.loop_state import batches_of_unfinished_epoch, is_within_epoch
from glue_lit.training.lightning_internals.sharding import receives_values
from glue_lit.training.loss_choice import check_same_loss
from glue_lit.training.monitors import check_monitored_rows
from glue_lit.training.resume import explain_restore_error, read_progress
from glue_lit.training.resume_advice import resume_advice
from glue_lit.training.tensorboard.pages import TensorBoardPages


@dataclass
class Session:
    """Everything that a command of the trainer works with.

    Attributes:
        command: ``fit``, ``validate``, ``test`` or ``predict``.
        trainer: Has the callbacks below.
        model: Not built yet.
        data: Not read yet.
        seed: The value of ``seed_everything``.
        checkpoint: The file that a fit resumes from, or that is evaluated.
        weights_only: Whether a checkpoint is read as plain data, so that no code in it runs.
        origin: Content of the checkpoint whose encoder a new fit starts from.
        may_use_float32: Whether float32 may replace the trainer's precision, which the user did not choose.
        best: Keeps the best checkpoint of a fit.
        last: Keeps the last checkpoint of a fit; ``None`` in an evaluation.
        writer: Writes the predictions of ``test`` and ``predict``.
        pages: Keeps the labelled rows of the last validation, as the writer those of a test.
        speed: Measures the training.
        directory: Locks the run directory.
        stop: Receives the signals.
        watch: Watches the other processes of the run.
        program: How a shell starts the program: ``glue-lit``, or the user's own that has classes of its own.
    """

    command: str
    trainer: Trainer
    model: SequenceClassifier
    data: GLUEDataModule
    seed: int | None
    checkpoint: Path | None = None
    weights_only: bool | None = True
    origin: dict[str, Any] | None = None
    may_use_float32: bool = False
    best: BestCheckpoint = field(default_factory=BestCheckpoint)
    last: LastCheckpoint | None = None
    writer: PredictionWriter | None = None
    pages: TensorBoardPages = field(default_factory=TensorBoardPages)
    speed: TrainingSpeed = field(default_factory=TrainingSpeed)
    directory: RunDirectory = field(default_factory=RunDirectory)
    stop: StopRequest = field(default_factory=StopRequest)
    watch: RankWatch = field(default_factory=RankWatch)
    program: str = "glue-lit"

    def options(self, checkpoint: Path | None) -> dict[str, Any]:
        """The arguments of the trainer's ``fit``, ``validate``, ``test`` and ``predict``."""
        path = None if checkpoint is None else str(checkpoint)
        return {"model": self.model, "datamodule": self.data, "ckpt_path": path, "weights_only": self.weights_only}

    def score_intervals(self) -> dict[str, tuple[float, float]]:
        """95 % intervals of the last evaluation's metrics by their logged names, on the first device."""
        return score_intervals(self.model.task, self.labelled)

    @property
    def labelled(self) -> dict[str, Predictions]:
        """The labelled rows of the last evaluation by split, on the first device."""
        return self.pages.predicted if self.writer is None else self.writer.predicted


@dataclass(frozen=True)
class Start:
    """Results of the checks before a command.

    Attributes:
        float32_reason: Why float32 replaces the machine's fast precision; empty if it does not.
        position: Where a fit resumes within its last epoch, as text to follow the checkpoint's name; empty unless an
            older version wrote the checkpoint, which counts an unfinished epoch as complete.
        reached: Limits that the checkpoint has reached already, in words, by the name of the trainer's setting.
    """

    float32_reason: str = ""
    position: str = ""
    reached: Mapping[str, str] = field(default_factory=dict)


def prepare(session: Session) -> Start:
    """Read all data and build the model, so that errors show before anything is written.

    Raises:
        GlueLitError: The data, the model, the checkpoint or the precision cannot be used.
    """
    settings, is_fit = session.model.hparams, session.command == "fit"
    check_computation(session.trainer, settings, session.data.hparams, is_fit)
    if session.command != "predict":
        session.model.loss.load()
    saved = _read_checkpoint(session)
    check_architecture(session.data, settings, is_fit)
    session.data.setup(session.command)
    if is_fit:
        check_monitored_rows(session.trainer, session.data.splits)
        describe_batches(session.data, session.trainer)
    position, reached = "", dict[str, str]()
    if saved is not None and session.checkpoint is not None and is_fit:
        fit_loop = session.trainer.fit_loop.state_dict()
        loop, epochs, steps = read_progress(session.checkpoint, saved, fit_loop)
        position = _check_batches(session, saved, loop)
        reached = _reached_limits(session.trainer, epochs - bool(position), steps)
    must_be_trained = saved is None and not is_fit
    precision = str(session.trainer.precision) if is_fit else None
    session.model.build_model(must_be_trained, session.data.padding, receives_values(session.trainer), precision)
    if must_be_trained:
        session.model.use_thresholds_of(session.model.model.config)
    reason = _settle_precision(session)
    model, name = session.model.model, session.model.hparams["name_or_path"]
    for store in session.data.splits.loaded_stores:
        ids, types = store.vocabulary()
        check_tokens(model, ids, name, types)
    return Start(reason, position, reached)


def _read_checkpoint(session: Session) -> dict[str, Any] | None:
    """Read the checkpoint, and let model and data take from it the settings that belong to its weights."""
    if session.checkpoint is None:
        if session.origin is not None:
            session.data.use_checkpoint(session.origin)
        return None
    saved = read_checkpoint(session.checkpoint)
    if local_rank() == 0:
        verify_checksums(session.checkpoint)
    check_task(session.checkpoint, saved, session.data.task)
    check_model(session.checkpoint, saved, session.model.hparams["name_or_path"])
    if session.command == "fit":
        check_same_loss(saved["hyper_parameters"], session.model.hparams)
    session.data.use_checkpoint(saved)
    session.model.use_architecture_of(saved)
    return saved


def _reached_limits(trainer: Trainer, epochs: int, steps: int) -> dict[str, str]:
    limit, most = trainer.max_epochs or 0, trainer.max_steps
    reached = {"max_epochs": f"all {limit} epochs" if limit > 1 else "its only epoch"} if 0 < limit <= epochs else {}
    return reached | ({"max_steps": f"{steps} of at most {most} steps"} if 0 < most <= steps else {})


def _settle_precision(session: Session) -> str:
    """Switch to float32 if the model does not run in a precision that the user did not choose; returns why."""
    reason, trainer = why_not_mixed(session.model.model), session.trainer
    is_replaced = session.may_use_float32 and reason is not None and str(trainer.precision) in MIXED
    if is_replaced:
        compute_in_float32(trainer)
    check_precision_of(session.model.model, str(trainer.precision))
    return str(reason) if is_replaced else ""


def _check_batches(session: Session, saved: dict[str, Any], loop: dict[str, Any]) -> str:
    """Stop if a fit would resume within an epoch whose batches are different now; returns `Start.position`."""
    data, trainer = session.data, session.trainer
    data.load_state_dict(datamodule_state(saved))
    if is_within_epoch(loop):
        data.check_same_batches(trainer)
    if is_within_epoch(loop) or "scored_step" in saved.get("glue_lit", {}) or not data.has_same_batches(trainer):
        return ""
    limit, batches = trainer.limit_train_batches, len(data.training_sampler(trainer))
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    per_step = batches_of_step(trainer, loop["epoch_progress"]["current"]["processed"] - 1)
    done = batches_of_unfinished_epoch(loop, batches, per_step)
    return f", after batch {done} of {batches} of its last epoch" if done else ""


@contextmanager
def explained(session: Session) -> Iterator[None]:
    """Stop at signals, and turn errors of the block into messages that say what to do.

    At the end, unlock the run directory and stop watching the other processes.

    Raises:
        Stopped: A signal stopped it.
        UsageError: Lightning refuses a setting of the trainer.
        RunError: Another process has died, or the checkpoint does not fit.
    """
    failed = True
    try:
        with session.stop.listening():
            yield
        failed = False
    except Stopped as stopped:
        failed = not stopped.agreed
        raise
    except Exception as error:
        shown = _explain(session, error)
        if (line := resume_advice(session.last, session.program)) is not None:
            shown.add_note(line)
        if shown is error:
            raise
        raise shown from error
    finally:
        session.watch.close(failed)
        session.directory.release()
        remove_unused_run(session.trainer)


def _explain(session: Session, error: Exception) -> Exception:
    if is_lost_connection(error) and (dead := session.watch.explain()) is not None:
        return RunError(dead)
    if (reason := explain_lightning_error(error)) is not None:
        return (UsageError if reason.startswith("trainer") else RunError)(reason)
    if (reason := explain_restore_error(session.checkpoint, error)) is not None:
        return RunError(reason)
    return error
