"""`run_validate`, `run_test` and `run_predict`: evaluate a checkpoint."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glue_lit.training.session import Session, Start, explained, prepare


@dataclass(frozen=True)
class EvaluationResult:
    """The result of an evaluation.

    Attributes:
        task: Name of the task.
        checkpoint: Absolute path of the file; ``None`` for a model that was fine-tuned elsewhere.
        metrics: Scores by their logged names, such as ``val/accuracy``; empty if the rows have no labels.
        intervals: 95 % intervals of the metrics; with several processes, only on the first.
        predicted: By split, the number of rows that got each label.
        predictions: Prediction files that were written.
        positive: Label that F1 is computed for; ``None`` if F1 is not among the task's metrics.
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
        session: With a trainer that has not run yet.
        on_start: Called before the evaluation, on the first device.

    Raises:
        GlueLitError: Something is wrong with the data, the checkpoint or a setting.
        Stopped: A signal stopped it.
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
        task.f1_label,
    )
