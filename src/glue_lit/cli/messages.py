"""What the trainer's commands print when they start and when they end."""

import math
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning.pytorch import Trainer

from glue_lit.data.custom_task import describe_task
from glue_lit.data.finding import Finding
from glue_lit.data.label_tensors import describe_counts
from glue_lit.data.model_inputs import describe_padding
from glue_lit.data.splits import TaskSplits
from glue_lit.encoder.trained_embedding import parameter_counts
from glue_lit.errors import Stopped
from glue_lit.evaluation.collapse import collapsed_label, explain_collapse
from glue_lit.evaluation.cut_points import describe_cut_points
from glue_lit.evaluation.thresholds import describe_thresholds
from glue_lit.runs.run import LOGS, find_runs, run_of_checkpoint
from glue_lit.system.console import print_list, say
from glue_lit.system.files import short_path
from glue_lit.tasks.glue import TaskSpec, log_prefix
from glue_lit.training.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from glue_lit.training.callbacks.signals import requeue_job
from glue_lit.training.callbacks.speed import TrainingSpeed
from glue_lit.training.classifier import SequenceClassifier
from glue_lit.training.evaluating import EvaluationResult
from glue_lit.training.fitting import FitResult
from glue_lit.training.resume_advice import resume_command
from glue_lit.training.session import Session, Start
from glue_lit.training.tensorboard.pages import tensorboard_loggers


def print_start(session: Session, start: Start) -> None:
    """Print which data, and which model or checkpoint, a command is about to work with."""
    if start.float32_reason:
        say(f"Computing in float32: this model does not run in bfloat16 ({start.float32_reason}).")
    _print_data(session.data.splits, session.command)
    if session.checkpoint is None:
        _print_model(session.model, session.trainer)
        return
    say(f"Checkpoint {short_path(session.checkpoint)}{start.position}")
    if start.reached:
        flags = " and ".join(f"`--trainer.{name} N`" for name in start.reached)
        say(f"It has done {' and '.join(start.reached.values())}; pass {flags} with a larger N to train further.")


def print_fit(session: Session, result: FitResult) -> None:
    """Print how a fit has ended, the scores of its best checkpoint, and useful next commands."""
    trainer, model = session.trainer, session.model
    if result.ended:
        say(result.ended)
    if result.checkpoint is None:
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            _print_unscored(session)
        return
    title = f"{result.task}: best checkpoint"
    print_scores(title, session.data.task, result.metrics, result.intervals, result.epoch)
    _print_thresholds(session)
    _print_collapsed(session, result.checkpoint)
    if model.parts.guard.skipped:
        say(f"{model.parts.guard.skipped} optimizer steps were skipped, since loss or gradient was not finite.")
    print_speed(session.speed, trainer)
    _print_next(session, result.checkpoint)


def print_evaluation(session: Session, result: EvaluationResult) -> None:
    """Print the scores of an evaluation, and where its predictions are."""
    if result.metrics:
        print_scores(f"{result.task}: {session.command}", session.data.task, result.metrics, result.intervals)
        _print_thresholds(session)
        _print_collapsed(session, result.checkpoint)
    for path in result.predictions:
        say(f"Predictions {short_path(path)}")
    if session.command != "predict" and not result.metrics:
        say("These rows have no labels, so there is nothing to score.")


def _print_data(data: TaskSplits, stage: str) -> None:
    """Print the task, the source and the numbers of rows."""
    rows = ", ".join(f"{name} {len(data.dataset(name, stage).examples):,}" for name in data.names_for(stage))
    known = {"hub": "Hub", "demo": "demo corpus"}
    source = known.get(data.source) or short_path(Path(data.source))
    say(f"{data.task.title} ({data.task.name}), {source}: {rows}")
    if stage == "fit" and (note := describe_padding(data.tokenizer, data.model_config)) is not None:
        say(note)
    for line in describe_task(data.custom, data.source) if data.custom.text_columns and stage == "fit" else ():
        say(line)
    if stage == "fit" and (indices := (store := data.dataset("train").store).label_indices) is not None:
        say(describe_counts(store.labels, indices, data.task.labels))
    _print_findings(data.findings(stage))


def _print_findings(findings: Sequence[Finding]) -> None:
    if findings:
        say("Worth a look in the data, which are used as they are:")
        cells = [(found.what, found.count, found.example, found.advice) for found in findings]
        print_list("", ("found", "how many", "for example", "what to do"), cells)


def _print_model(model: SequenceClassifier, trainer: Trainer) -> None:
    """Print the pretrained model, its size and the devices."""
    count, trained = parameter_counts(model)
    of_them = f" ({_millions(trained)} trained)" if trained < count else ""
    place = f"{trainer.world_size} x {trainer.strategy.root_device.type}, {_precision(trainer)}"
    name = model.hparams["name_or_path"]
    origin = model.hparams["init_from"]
    if origin is not None:
        say(
            f"Encoder of {short_path(Path(origin))}, {'and its head' if model.builder.has_trained_head else 'new head'}"
        )
    head = ", head kept (its labels are the task's)" if model.builder.has_trained_head and origin is None else ""
    name = short_path(Path(name)) if Path(name).is_absolute() else name
    say(f"{name}, {_millions(count)} parameters{of_them}{head}, on {place}")


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e6:.3f} M"


def _precision(trainer: Trainer) -> str:
    """The precision in words."""
    return {"32-true": "float32", "bf16-mixed": "bfloat16 with float32 weights"}.get(
        str(trainer.precision), str(trainer.precision)
    )


def _print_next(session: Session, best: Path) -> None:
    """Print where the checkpoint is, and useful next commands."""
    run, root = best.parent.parent, Path(session.trainer.default_root_dir)
    logs = Path(LOGS) if root == Path.cwd() else root / LOGS
    newest = [other.path.absolute() for other in find_runs(logs)[-1:]] == [run]
    place = "" if root == Path.cwd() else f" --trainer.default_root_dir {root}"
    say(f"Checkpoint  {short_path(best)}")
    named = f"--ckpt_path best{place}" if newest else f"--run {shlex.quote(short_path(run))}"
    say(f"Score it    {session.program} validate {named}")
    if tensorboard_loggers(session.trainer):
        say(f"Curves      tensorboard --logdir {logs if newest else shlex.quote(short_path(run))}")
    if session.data.splits.source == "demo":
        say("These scores are on the demo corpus, not on GLUE. For GLUE:")
        say(f"            {session.program} fit --config {session.data.task.name}")


def _print_thresholds(session: Session) -> None:
    model = session.model
    if line := describe_thresholds(session.data.task, model.thresholds) or describe_cut_points(model.task):
        say(line)


def _print_collapsed(session: Session, checkpoint: Path | None) -> None:
    """Warn if the model gives all rows the same label, since its accuracy can look fine."""
    task, run = session.data.task, None if checkpoint is None else run_of_checkpoint(checkpoint)
    found = {split: (rows, collapsed_label(task, rows)) for split, rows in session.labelled.items()}
    collapsed = [(split, len(rows), label) for split, (rows, label) in found.items() if label is not None]
    for split, rows, label in collapsed:
        say(f"The model has collapsed: it gives all {rows:,} rows of {split} {label}.")
    if collapsed:
        model = session.model
        say(explain_collapse(model.loss.guessing, None if run is None else run.path, model.hparams["learning_rate"]))


def _print_unscored(session: Session) -> None:
    """Print why a fit has no score."""
    trainer = session.trainer
    if not trainer.global_step:
        say("Nothing was trained, so there is no best checkpoint and no score.")
        return
    why = " (trainer.limit_val_batches is 0)" if trainer.limit_val_batches == 0 else ""
    say(f"Nothing was validated{why}, so there is no best checkpoint and no score.")
    say(f"Score it    {session.program} validate --ckpt_path last")


def print_speed(speed: TrainingSpeed, trainer: Trainer) -> None:
    """Print how fast training was, without start-up and evaluation."""
    samples, tokens, padding = speed.record(trainer).values()
    if samples is not None and tokens is not None and padding is not None:
        say(f"Speed       {samples:,.0f} samples/s, {tokens:,.0f} tokens/s, {padding:.1%} padding")


def print_stopped(stopped: Stopped, last: LastCheckpoint | None, best: BestCheckpoint, program: str) -> None:
    """Print what a stopped fit saved and how to resume; other commands print nothing."""
    if last is None:
        return
    name = signal.Signals(stopped.signum).name
    say("")
    say(f"Stopped by {'Ctrl-C' if stopped.signum == signal.SIGINT else name}.")
    if last.saved_at is None and not last.path.is_file():
        say("Nothing was trained yet, so there is nothing to resume; start again.")
        return
    if best.best_model_score is not None:
        say(f"Best so far {best.monitor} {float(best.best_model_score):.4f}")
    step = "unchanged: nothing was trained since" if last.saved_at is None else f"step {last.saved_at}"
    say(f"Checkpoint  {short_path(last.path)}, {step}")
    say(f"Resume      {resume_command(last, program)}")
    if name == "SIGUSR1" and requeue_job():
        say("SLURM will restart this job, and the run will be resumed.")


def print_scores(
    title: str,
    task: TaskSpec,
    scores: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float]] | None = None,
    epoch: int | None = None,
) -> None:
    """Print every metric of an evaluation, the monitored one marked with a star.

    Args:
        title: What was scored.
        task: Gives the metrics.
        scores: Scores by logged name.
        intervals: 95 % intervals by logged name, for some or all scores.
        epoch: Epoch of the checkpoint, if it is the best of several.
    """
    rows = []
    intervals = intervals or {}
    columns = ("split", "metric", "value", *(("95 % interval",) if intervals else ()))
    columns += () if epoch is None else ("best epoch",)
    for split in (*task.validation_splits, *task.test_splits):
        for name in (*task.metrics, "loss"):
            key = f"{log_prefix(split)}/{name}"
            if key in scores:
                cells = [split, name + (" *" if key == task.monitor else ""), _figure(name, scores[key])]
                cells += [_interval(intervals.get(key))] if intervals else []
                rows.append(cells if epoch is None else [*cells, str(epoch)])
    if not sys.stdout.isatty():
        say(title)
    print_list(title, columns, rows, right=("value", "best epoch"))
    if task.f1_label is not None:
        say(f"{task.label_metrics} {'are' if ' ' in task.label_metrics else 'is'} for the label {task.f1_label}.")
    missing = {row[1].removesuffix(" *") for row in rows if row[2] == "undefined"}
    for one in (one for one in task.scoring if one.logged in missing):
        say(f"{one.title()} is undefined if {one.spec.undefined}.")
    if any(row[2] == "nan" for row in rows):
        say("The loss is not a number (nan): the model has diverged.")


def _interval(ends: tuple[float, float] | None) -> str:
    return "" if ends is None or math.isnan(ends[0]) else f"{ends[0]:.4f} to {ends[1]:.4f}"


def _figure(name: str, value: float) -> str:
    if math.isnan(value):
        return "nan" if name == "loss" else "undefined"
    return f"{value:.6f}"
