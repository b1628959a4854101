"""`run_tune`: a hyperparameter search, from its settings to its results."""

import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from glue_lit.data.custom_task import task_of_settings
from glue_lit.engine.driver import Driver
from glue_lit.engine.fixed_queue import FixedQueue
from glue_lit.engine.job import Job, Outcome, Progress, lock_folder
from glue_lit.engine.progress_table import ProgressTable
from glue_lit.engine.search import Search
from glue_lit.engine.search_results import format_setting, last_parts, search_result, write_results
from glue_lit.engine.search_space import DEFAULT_SPACE, dotted_keys, parse_space, settings_to_yaml
from glue_lit.engine.settings import Engine, open_executor
from glue_lit.engine.tune_result import RefitResult, TuneResult
from glue_lit.errors import UsageError
from glue_lit.runs.run import LOGS
from glue_lit.system.console import count_of, duration, say
from glue_lit.system.files import write_text
from glue_lit.tasks.glue import monitor_mode


@dataclass
class Tune:
    """What is searched, and how long.

    Args:
        trials: How many combinations of settings are tried.
        space: Type and range of each setting, e.g. {model.learning_rate: {type: float, low: 1e-5, high: 1e-4,
            log: true}}; null searches learning rate, batch size and epochs. It overrides their values in configuration
            files; a flag that sets one of them is an error.
        train_fraction: Share of the training rows that trials train on, instead of data.train_limit; null for all.
        name: Name of the search, a folder in lightning_logs/tune; null for the task's. The same name resumes it.
        refit: Train on all rows with the best settings, with this many seeds (1, 2, ...).
        sampler: Chooses what to try next; null for optuna.samplers.TPESampler.
        pruner: Stops trials that do not look good; null for optuna.pruners.MedianPruner, optuna.pruners.NopPruner for
            none.
        storage: URL of a database that several drivers share (postgresql+psycopg://...); null for a file.
        seed: Seed of the sampler.
        keep_checkpoints: Keep the checkpoints of all trials, not only those of the best one.

    Raises:
        UsageError: A value is out of range.
    """

    trials: int = 10
    space: dict[str, Any] | None = None
    train_fraction: float | None = None
    name: str | None = None
    refit: int = 0
    sampler: BaseSampler | None = None
    pruner: BasePruner | None = None
    storage: str | None = None
    seed: int = 0
    keep_checkpoints: bool = False

    def __post_init__(self) -> None:
        for flag, value, least in (("trials", self.trials, 1), ("refit", self.refit, 0), ("seed", self.seed, 0)):
            if value < least:
                raise UsageError(f"--tune.{flag}: got {value}, allowed: {least} or more.")
        fraction, name = self.train_fraction, self.name
        if fraction is not None and not 0 < fraction <= 1:
            raise UsageError(f"--tune.train_fraction: got {fraction}, allowed: above 0, up to 1.")
        if name is not None and (name in ("", "..") or Path(name).name != name):
            raise UsageError(f"--tune.name: got {name!r}, allowed: the name of a folder, without /.")

    @property
    def searched(self) -> dict[str, Any]:
        """The space, or the default one."""
        return DEFAULT_SPACE if self.space is None else self.space


def run_tune(
    tune: Tune, engine: Engine, base: str, on_found: Callable[[TuneResult], None] = lambda result: None
) -> TuneResult:
    """Run the remaining trials of a search, then train with the best settings if ``tune.refit`` asks for it.

    Args:
        tune: What is searched.
        engine: Where trials run.
        base: A full configuration of `fit`, as YAML, which all trials start from.
        on_found: Called with the result once the trials have ended, before the trainings with the best settings.

    Raises:
        UsageError: A setting cannot be searched, or there is a search of this name with other settings.
        RunError: Too many trials failed in the same way, or another process is working on the search.
        Stopped: A signal stopped it; calling this again resumes the search.
    """
    settings = yaml.safe_load(base)
    space = parse_space(tune.searched, dotted_keys(settings))
    monitor, higher_is_better = _objective(settings)
    root, task = Path(settings["trainer"].get("default_root_dir") or "."), settings["data"]["task"]
    folder = (root / LOGS / "tune" / (tune.name or task)).absolute()
    lock = lock_folder(folder, "the search")
    try:
        file = folder / "base.yaml"
        if not file.exists() or file.read_text(encoding="utf-8") != base:
            write_text(file, base)
        extra = () if tune.train_fraction in (None, 1) else ("--data.train_limit", str(tune.train_fraction))
        search = Search(
            folder, file, task, space, tune.trials, monitor, higher_is_better, extra,
            tune.sampler, tune.pruner, tune.storage, tune.seed, tune.keep_checkpoints,
        )  # fmt: skip
        models = [(settings["model"]["name_or_path"], settings["model"]["revision"])]
        _run_trials(search, engine, models)
        result = search_result(search)
        on_found(result)
        return (
            replace(result, refits=_refit(search, tune.refit, engine, models))
            if result.ranked and tune.refit
            else result
        )
    finally:
        if lock is not None:
            os.close(lock)


def _objective(settings: dict[str, Any]) -> tuple[str, bool]:
    """The value that trials are judged by, and whether a higher one is better."""
    checkpoint = settings.get("checkpoint") or {}
    task = task_of_settings(settings)
    monitor = checkpoint.get("monitor") or task.monitor
    if monitor.startswith("train/"):
        raise UsageError(
            f"checkpoint.monitor: {monitor} is measured on training rows, but trials need a validation metric."
        )
    return str(monitor), (checkpoint.get("mode") or monitor_mode(monitor, task)) == "max"


def _run_trials(search: Search, engine: Engine, models: list[tuple[str, str]]) -> None:
    """Run the remaining trials; write the results whatever happens."""
    queue = _PrintedSearch(search)
    try:
        with ProgressTable(("trial", *last_parts(search.space), search.monitor), queue.row, queue.summary) as table:
            queue.print = table.print
            left = search.trials - sum(trial.state.is_finished() for trial in search.all_trials())
            table.print(
                f"Search {search.folder}: {max(0, left)} of {count_of(search.trials, 'trial')} to run, {search.monitor}"
            )
            executor = open_executor(engine, models)
            queue.slots = executor.free_slots
            Driver(queue, executor, table, engine.patience).work()
    finally:
        write_results(search)


class _PrintedSearch:
    """A search whose events are printed."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self.print = say
        self.slots = 1

    def next_job(self) -> Job | None:
        return self.search.next_job()

    def record_progress(self, job: Job, progress: Progress) -> bool:
        return self.search.record_progress(job, progress)

    def record_outcome(self, job: Job, outcome: Outcome) -> None:
        self.search.record_outcome(job, outcome)
        if outcome.state == "stopped":
            return
        trial = self.search.trial(int(job.name))
        state = trial.state.name.lower().replace("fail", "failed")
        value = "" if trial.value is None else f" {trial.value:.4f}"
        best = self.search.best
        so_far = f"; best {best.value:.4f} (trial {best.number})" if best is not None else ""
        error = f": {self.search.error_of(trial)}" if self.search.error_of(trial) else ""
        params = ", ".join(f"{key.rpartition('.')[2]} {format_setting(v)}" for key, v in trial.params.items())
        self.print(f"trial {trial.number} {state}{value}{error} ({params}){so_far}")

    def row(self, job: Job, progress: Progress) -> tuple[str, ...]:
        """The cells of a trial in the table."""
        params = self.search.trial(int(job.name)).params
        last = f"{progress.values[-1][1]:.4f}" if progress.values else ""
        return (job.name, *(format_setting(params.get(key, "")) for key in self.search.space), last)

    def summary(self) -> str:
        """A line that sums up all trials."""
        trials = self.search.all_trials()
        done, best = sum(trial.state.is_finished() for trial in trials), self.search.best
        parts = [f"{done} of {count_of(self.search.trials, 'trial')}"]
        parts += [f"best {self.search.monitor} {best.value:.4f}"] if best is not None else []
        if times := [trial.duration.total_seconds() for trial in trials if trial.duration is not None]:
            left = statistics.fmean(times) * (self.search.trials - done) / self.slots
            parts.append(f"about {duration(left)} left")
        return ", ".join(parts)


def _refit(search: Search, seeds: int, engine: Engine, models: list[tuple[str, str]]) -> tuple[RefitResult, ...]:
    """Train on all rows with the best settings."""
    assert search.best is not None
    best = search.job(search.best)
    folder = search.folder / "refit" / f"trial_{best.folder.name}"
    trial = best.folder / "trial.yaml"
    if not trial.is_file():  # in a shared search, another driver may have run the best trial
        trial = folder / "trial.yaml"
        write_text(trial, settings_to_yaml(search.best.params))
    files = ("--config", str(search.base), "--config", str(trial))
    jobs = [
        Job(f"seed {seed}", folder / f"seed_{seed}",
            (*files, "--seed_everything", str(seed), "--trainer.enable_progress_bar", "false"), best.task)
        for seed in range(1, seeds + 1)
    ]  # fmt: skip
    queue = FixedQueue(jobs)
    with ProgressTable(("refit",), lambda job, progress: (job.name,), queue.summary) as table:
        queue.print = table.print
        Driver(queue, open_executor(engine, models), table, engine.patience).work()
    done = [(job, result["metrics"][search.monitor]) for job in jobs if (result := job.result) is not None]
    # An undefined metric counts as 0, as in a suite.
    return tuple(RefitResult(None if job.run is None else job.run.path, value or 0.0) for job, value in done)
