"""The commands ``fit``, ``validate``, ``test`` and ``predict``: configure, call the command's function, print."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from glue_lit.cli.configure import Classes, configure, resolve
from glue_lit.cli.messages import print_evaluation, print_fit, print_start, print_stopped
from glue_lit.cli.reporting import report_errors
from glue_lit.cli.run_arguments import TRAINER_COMMANDS
from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.engine.job_progress import end_with_driver
from glue_lit.errors import Stopped, UsageError
from glue_lit.runs.command_line import CommandLine
from glue_lit.system.console import json_document
from glue_lit.system.hardware import keep_freed_memory
from glue_lit.system.library_warnings import filter_warnings, quiet_lightning
from glue_lit.system.run_log import begin_log
from glue_lit.training.callbacks.rank_watch import die_with_parent
from glue_lit.training.classifier import SequenceClassifier
from glue_lit.training.evaluating import EvaluationResult, run_predict, run_test, run_validate
from glue_lit.training.fitting import FitResult, run_fit
from glue_lit.training.session import Session

_EVALUATIONS = {"validate": run_validate, "test": run_test, "predict": run_predict}


def main(
    model_class: type[SequenceClassifier] = SequenceClassifier,
    datamodule_class: type[GLUEDataModule] = GLUEDataModule,
) -> None:
    """Run one of the trainer's commands on ``sys.argv``, with the messages and exit statuses of ``glue-lit``.

    Args:
        model_class: Class whose settings are the flags ``--model.*``.
        datamodule_class: Class whose settings are the flags ``--data.*``.
    """
    filter_warnings()
    report_errors(partial(run, model_class, datamodule_class))


def run(
    model_class: type[SequenceClassifier] = SequenceClassifier,
    datamodule_class: type[GLUEDataModule] = GLUEDataModule,
) -> None:
    """Run one of the trainer's commands as `main` does, and raise its errors.

    Raises:
        GlueLitError: The command fails.
        Stopped: A signal stopped it.
    """
    if sys.argv[1:2] == [] or sys.argv[1] not in TRAINER_COMMANDS:
        given = f"got {sys.argv[1]!r}" if sys.argv[1:] else "the command is missing"
        raise UsageError(f"{given}; allowed: {', '.join(TRAINER_COMMANDS)}, each with `--help` for its flags.")
    line = CommandLine(sys.argv[2:], sys.argv[1])
    end_with_driver()
    if line.command == "fit":
        begin_log(sys.argv[1:])
    with json_document(line.asks_for_json) as give:
        session = _session(line.command, line.without("--json").words, (model_class, datamodule_class))
        document = fit_document(fit(session)) if line.command == "fit" else evaluation_document(evaluate(session))
        if session.trainer.is_global_zero:
            give({"command": line.command, **document})


def predict(words: Sequence[str]) -> EvaluationResult:
    """Run ``predict`` with its flags, as a part of another command."""
    return evaluate(_session("predict", words))


def _session(command: str, words: Sequence[str], *classes: Classes) -> Session:
    """Build the session of a command line, and put the full line into ``sys.argv`` for the processes of DDP."""
    prepare_process()
    line = resolve(command, words, *classes)
    sys.argv[1:] = [command, *line.words]
    return configure(line, [command, *words], *classes)


def prepare_process() -> None:
    """Apply the settings of a trainer's command that are for the whole process."""
    quiet_lightning()
    die_with_parent()
    keep_freed_memory()


def fit(session: Session) -> FitResult:
    """Train, and print what happens."""
    with _stop_printed(session):
        result = run_fit(session, partial(print_start, session))
    if session.trainer.is_global_zero:
        print_fit(session, result)
    return result


def evaluate(session: Session) -> EvaluationResult:
    """Validate, test or predict, and print the result."""
    with _stop_printed(session):
        result = _EVALUATIONS[session.command](session, partial(print_start, session))
    if session.trainer.is_global_zero:
        print_evaluation(session, result)
    return result


@contextmanager
def _stop_printed(session: Session) -> Iterator[None]:
    try:
        yield
    except Stopped as stopped:
        if session.trainer.is_global_zero:
            print_stopped(stopped, session.last, session.best, session.program)
        raise


def fit_document(result: FitResult) -> dict[str, Any]:
    """The result of a fit for ``--json``."""
    if result.checkpoint is None:
        return {"task": result.task, "checkpoint": None, "metrics": {}}
    places = {"run": result.run, "checkpoint": result.checkpoint}
    return {"task": result.task, **places, **result.record, "intervals": result.intervals}


def evaluation_document(result: EvaluationResult) -> dict[str, Any]:
    """The result of an evaluation for ``--json``."""
    return {
        "task": result.task,
        "checkpoint": result.checkpoint,
        "metrics": result.metrics,
        "intervals": result.intervals,
        "predicted": result.predicted,
        "predictions": result.predictions,
    } | ({"positive": result.positive} if result.positive is not None else {})
