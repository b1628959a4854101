"""Lightning's callbacks that a fit refuses, each with the reason and what to use in its place."""

from collections.abc import Iterable
from typing import Any

from lightning.pytorch.callbacks import (
    BaseFinetuning,
    BatchSizeFinder,
    LearningRateFinder,
    ModelPruning,
    OnExceptionCheckpoint,
    SpikeDetection,
    StochasticWeightAveraging,
    WeightAveraging,
)

from glue_lit.errors import UsageError
from glue_lit.training.averaging import WeightAverage
from glue_lit.training.lightning_internals import is_run_by_tuner

REFUSED: dict[type, tuple[str, str]] = {
    LearningRateFinder: (
        "trains with another learning rate than the run's files record, and searches again when the fit is resumed.",
        "`glue-lit tune` searches for one and records it, `--model.learning_rate` sets it; from Python, "
        "`Tuner(trainer).lr_find(model, datamodule=data)` sets it before the fit.",
    ),
    BatchSizeFinder: (
        "changes the batch size after the learning rate schedule has been built, and does not record it.",
        "Set `--data.batch_size`, and `--trainer.accumulate_grad_batches` for larger steps; from Python, "
        "`Tuner(trainer).scale_batch_size(model, datamodule=data)` sets it before the fit.",
    ),
    WeightAveraging: (
        "also averages buffers, such as position ids, and a fit that is stopped during a validation resumes with the "
        "average instead of the weights.",
        "Use `--model.average 0.99` instead.",
    ),
    StochasticWeightAveraging: (
        "replaces the learning rate schedule, and validates the weights themselves, not their average.",
        "Use `--model.average 0.99` instead.",
    ),
    ModelPruning: (
        "replaces weights by masks, so that checkpoints do not hold the model that their configuration describes.",
        "Prune the model that `glue-lit export` writes.",
    ),
    SpikeDetection: (
        "writes state into checkpoints that it cannot read again, so that no fit could be resumed.",
        "`--model.non_finite stop` (the default) ends a fit whose loss or gradient is not finite, `skip` skips such "
        "steps.",
    ),
    OnExceptionCheckpoint: (
        "writes wherever an exception occurs, even within a step, and waits for processes that may be gone.",
        "`fit` writes `last.ckpt` after an exception by itself; from Python, add `glue_lit.LastCheckpoint()`.",
    ),
    BaseFinetuning: (
        "freezes parts of a model before it is built, and adds parameters that the schedule and a resumed fit do not "
        "know.",
        "Use `--model.freeze N` or `--model.layer_decay 0.9` instead.",
    ),
}


def as_list(given: Any) -> list[Any]:
    """A trainer's ``callbacks`` or ``logger`` (``None``, an object or a list) as a list."""
    return [*given] if isinstance(given, list | tuple) else [] if given is None else [given]


def is_refused(callback: object) -> bool:
    """Whether a fit refuses the callback; a finder that Lightning's Tuner runs before the fit is allowed."""
    return isinstance(callback, tuple(REFUSED)) and not (
        isinstance(callback, WeightAverage) or is_run_by_tuner(callback)
    )


def check_callbacks(callbacks: Iterable[object]) -> None:
    """Stop at a callback that would leave a wrong schedule, wrong records or a fit that cannot be resumed.

    Raises:
        UsageError: A callback, or a class that it inherits from, is refused.
    """
    for callback in callbacks:
        if is_refused(callback):
            why, instead = next(reason for kind, reason in REFUSED.items() if isinstance(callback, kind))
            raise UsageError(f"trainer.callbacks: {type(callback).__name__} {why} {instead}", everywhere=True)


def refuse_callbacks(trainer: Any) -> None:
    """Remove refused callbacks from a trainer, then stop at them as `check_callbacks` does.

    Raises:
        UsageError: A callback is refused.
    """
    given = trainer.callbacks
    # OnExceptionCheckpoint would react to the error and save a model that is not built yet.
    trainer.callbacks = [callback for callback in given if not is_refused(callback)]
    check_callbacks(given)


def allowed_callbacks(callbacks: Any, is_fit: bool) -> list[Any]:
    """The user's callbacks without the refused ones, so that an old run that used one can still be evaluated.

    Args:
        callbacks: The trainer's setting.
        is_fit: Whether the command is a fit.

    Raises:
        UsageError: A fit has a refused callback.
    """
    given = as_list(callbacks)
    if is_fit:
        check_callbacks(given)
    return [callback for callback in given if not is_refused(callback)]
