"""`run_validate`, `run_test` and `run_predict`: a checkpoint on rows that it was not trained on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glue_lit.training.session import Session, Start, explained, prepare


@dataclass(frozen=True)
class EvaluationResult:
    """What a checkpoint has done on rows.

    Attributes:
        task: Name of the task.
        checkpoint: The file, in full; ``None`` for a model that was fine-tuned elsewhere.
        metrics: Scores by their logged names, as ``val/accuracy``; empty where the rows have no labels.
        intervals: 95 % intervals of the metrics of a validation; in a run of several processes on the first alone.
        predicted: By split how many rows got each label.
        predictions: Files of predictions that were written.
        positive: The label that F1 is of, if it is among the task's metrics.
    """

    task: str
    checkpoint: Path | None
    metrics: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    predicted: dict[str, dict[str, int]] = field(default_factory=dict)
    predictions: tuple[Path, ...] = ()
    positive: str | None = None


OnStart = Callable[[Start], None]


def run_validate(session: Session, on_start: OnStart = lambda start: None) -> EvaluationResult:
    """Score a checkpoint on the validation rows.

    Args:
        session: A trainer that has not begun.
        on_start: Called before the evaluation, on the first device.

    Raises:
        GlueLitError: Something is wrong with the data, the checkpoint or a setting.
        Stopped: A signal asked for it.
    """
    return _evaluate(session, on_start, lambda options: session.trainer.validate(**options, verbose=False))


def run_test(session: Session, on_start: OnStart = lambda start: None) -> EvaluationResult:
    """Predict the test rows with a checkpoint, and score them where they have labels; see `run_validate`."""
    return _evaluate(session, on_start, lambda options: session.trainer.test(**options, verbose=False))


def run_predict(session: Session, on_start: OnStart = lambda start: None) -> EvaluationResult:
    """Predict the rows of a split (``data.predict_split``) with a checkpoint; see `run_validate`."""
    return _evaluate(session, on_start, lambda options: session.trainer.predict(**options, return_predictions=False))


def _evaluate(session: Session, on_start: OnStart, evaluate: Callable[[dict[str, Any]], object]) -> EvaluationResult:
    with explained(session):
        start = prepare(session)
        if session.trainer.is_global_zero:
            on_start(start)
        evaluate(session.options(session.checkpoint))
    model, writer, task = session.model, session.writer, session.data.task
    return EvaluationResult(
        task.name,
        None if session.checkpoint is None else session.checkpoint.absolute(),
        model.scores,
        session.score_intervals(),
        model.predicted,
        () if writer is None else tuple(path.absolute() for path in writer.written),
        task.positive_label if "f1" in task.metrics else None,
    )
