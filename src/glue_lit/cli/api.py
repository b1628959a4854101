"""`glue_lit.fit` and `glue_lit.tune`: the commands as functions of Python."""

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from glue_lit.engine.tune_result import TuneResult
from glue_lit.errors import Stopped
from glue_lit.runs.config_values import to_flag
from glue_lit.system.library_warnings import quiet_libraries
from glue_lit.system.run_log import begin_log, end_log
from glue_lit.training.fitting import FitResult

PathLike = str | os.PathLike[str]


def fit(
    task: str | None = None,
    model: PathLike | None = None,
    *,
    source: PathLike | None = None,
    config: PathLike | Sequence[PathLike] = (),
    settings: Mapping[str, Any] | None = None,
    resume: PathLike | None = None,
) -> FitResult:
    """Fine-tune a model on a task, as the command ``glue-lit fit`` does, and score its best checkpoint.

    It trains in this process, prints what the command prints, and leaves the same run directory. What is given here
    wins over configuration files, and all settings have the command's defaults.

    Args:
        task: Name of a task (``data.task``); `glue_lit.TASKS` has those of GLUE.
        model: Name on the Hub, or a folder (``model.name_or_path``).
        source: Where the rows come from (``data.source``): hub, demo, a folder, or data of your own.
        config: A configuration file, or several (the later one wins), as ``--config`` takes them.
        settings: All other settings, by the dotted names that ``glue-lit fit --help`` lists.
        resume: A run directory, to continue its training from the last checkpoint with the run's own settings.

    Raises:
        GlueLitError: A setting, the data or the model cannot be used, or the training diverges; the message says what
            to do.
        KeyboardInterrupt: The training was interrupted; its last checkpoint is written, and ``resume`` continues it.

    Examples:
        >>> result = fit("cola", "distilbert-base-uncased", settings={"trainer.max_epochs": 3})  # doctest: +SKIP
        >>> result.metrics["val/matthews_correlation"], result.checkpoint  # doctest: +SKIP
    """
    named = {"data.task": task, "model.name_or_path": model, "data.source": source}
    words = _words(config, named, settings)
    if resume is not None:
        words += ["--run", os.fspath(resume), "--ckpt_path", "last"]
    with quiet_libraries():
        return _fit(words)


def _fit(words: Sequence[str]) -> FitResult:
    from glue_lit.cli import trainer_commands
    from glue_lit.cli.configure import configure, resolve

    begin_log(typed := ["fit", *words])
    try:
        trainer_commands.prepare_process()
        with _stop_raised():
            return trainer_commands.fit(configure(resolve("fit", words), typed))
    finally:
        end_log()


def tune(
    task: str | None = None,
    model: PathLike | None = None,
    *,
    trials: int | None = None,
    space: Mapping[str, Any] | None = None,
    source: PathLike | None = None,
    config: PathLike | Sequence[PathLike] = (),
    settings: Mapping[str, Any] | None = None,
) -> TuneResult:
    """Search for hyperparameters, as the command ``glue-lit tune`` does: many short trainings, then the best settings.

    Each trial trains in a process of its own, several at once where there is room. The same call resumes a search that
    was interrupted.

    Args:
        task: Name of a task, as for `fit`.
        model: Name on the Hub, or a folder, as for `fit`.
        trials: Number of trials (``tune.trials``).
        space: For each setting its type and range (``tune.space``), e.g. ``{"model.learning_rate": {"type": "float",
            "low": 1e-5, "high": 1e-4, "log": True}}``; by default learning rate, batch size and epochs.
        source: Where the rows come from, as for `fit`.
        config: A configuration file, or several (the later one wins), as ``--config`` takes them.
        settings: All other settings by the dotted names that ``glue-lit tune --help`` lists, as
            ``{"tune.train_fraction": 0.1, "engine.slots": 2}``, and those of `fit`, for every trial.

    Raises:
        GlueLitError: A setting cannot be used, or too many trials fail in the same way; the message says what to do.
        KeyboardInterrupt: The search was interrupted.

    Examples:
        >>> found = tune("cola", "distilbert-base-uncased", trials=10)  # doctest: +SKIP
        >>> result = fit("cola", "distilbert-base-uncased", config=found.config)  # doctest: +SKIP
    """
    from glue_lit.cli.commands.tune import tune as run

    named = {"data.task": task, "model.name_or_path": model, "data.source": source}
    words = _words(config, named | {"tune.trials": trials, "tune.space": space}, settings)
    with _stop_raised():
        return run(words)


def _words(
    config: PathLike | Sequence[PathLike], named: Mapping[str, Any], settings: Mapping[str, Any] | None
) -> list[str]:
    """The equivalent command line."""
    files = [config] if isinstance(config, str | os.PathLike) else config
    words = [word for file in files for word in ("--config", os.fspath(file))]
    given = {key: value for key, value in named.items() if value is not None} | dict(settings or {})
    return [*words, *(f"--{key}={_value(value)}" for key, value in given.items())]


def _value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return to_flag(value) if isinstance(value, Mapping | list | tuple) else str(value)


@contextmanager
def _stop_raised() -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` after Ctrl-C, as Python does."""
    try:
        yield
    except Stopped as stopped:
        if stopped.signum == signal.SIGINT:
            raise KeyboardInterrupt from stopped
        raise
