"""``glue-lit tune``: search hyperparameters, then say which settings are best."""

import os
import statistics
import sys
from pathlib import Path
from typing import Any

import yaml

from glue_lit.errors import RunError, Stopped, UsageError
from glue_lit.runs.command_line import CommandLine
from glue_lit.runs.run import LOGS
from glue_lit.system.console import json_document, say
from glue_lit.system.files import write_text
from glue_lit.tasks.custom import parse_custom_task, resolve_task
from glue_lit.tasks.glue import monitor_mode

try:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
except ImportError:
    raise UsageError("`glue-lit tune` needs Optuna: `pip install 'glue-lit[tune]'`.") from None

from glue_lit.cli.engine_arguments import (
    Engine,
    check_contradictions,
    check_logger,
    full_configurations,
    open_executor,
    parse,
)
from glue_lit.engine.driver import Driver
from glue_lit.engine.fixed_queue import FixedQueue
from glue_lit.engine.job import Job, Outcome, Progress, lock_folder
from glue_lit.engine.progress_table import ProgressTable
from glue_lit.engine.search import Search
from glue_lit.engine.search_results import format_setting, last_parts, print_best, results_as_json, write_results
from glue_lit.engine.search_space import DEFAULT_SPACE, dotted_keys, parse_space, settings_to_yaml
from glue_lit.system.console import duration


class Tune:
    """What is searched, and how long.

    Args:
        trials: How many settings are tried.
        space: For each setting its type and range, e.g. {model.learning_rate: {type: float, low: 1e-5, high: 1e-4,
            log: true}}; null for learning rate, batch size and epochs. It replaces what configuration files say of
            them; a flag that says otherwise is an error.
        train_fraction: Share of the training rows that trials train on, in place of data.train_limit; null for all.
        name: Of the search, a folder in lightning_logs/tune; null for the task's. The same name goes on with it.
        refit: Train on all rows with the best settings, with so many seeds (1, 2, ...).
        sampler: Chooses what to try next; null for optuna.samplers.TPESampler.
        pruner: Gives up trials that do not look good; null for optuna.pruners.MedianPruner,
            optuna.pruners.NopPruner for none.
        storage: URL of a database that several drivers share (postgresql+psycopg://...); null for a file.
        seed: Of the sampler.
        keep_checkpoints: Keep those of all trials, not only the best one's.
    """

    def __init__(
        self,
        trials: int = 10,
        space: dict[str, Any] | None = None,
        train_fraction: float | None = None,
        name: str | None = None,
        refit: int = 0,
        sampler: BaseSampler | None = None,
        pruner: BasePruner | None = None,
        storage: str | None = None,
        seed: int = 0,
        keep_checkpoints: bool = False,
    ) -> None:
        for flag, value, least in (("trials", trials, 1), ("refit", refit, 0), ("seed", seed, 0)):
            if value < least:
                raise UsageError(f"--tune.{flag}: got {value}, allowed: {least} or more.")
        if train_fraction is not None and not 0 < train_fraction <= 1:
            raise UsageError(f"--tune.train_fraction: got {train_fraction}, allowed: above 0, up to 1.")
        if name is not None and (name in ("", "..") or Path(name).name != name):
            raise UsageError(f"--tune.name: got {name!r}, allowed: the name of a folder, without /.")
        self.trials, self.refit, self.seed, self.name = trials, refit, seed, name
        self.space = DEFAULT_SPACE if space is None else space
        self.train_fraction = train_fraction
        self.sampler, self.pruner, self.storage, self.keep_checkpoints = sampler, pruner, storage, keep_checkpoints


def main() -> None:
    """Search, and say what was found; or, for scripts, print it as JSON."""
    line = CommandLine(sys.argv[2:])
    sys.argv[2:] = line.without("--json").words
    with json_document(line.asks_for_json) as give:
        give(_run())


def _run() -> dict[str, Any]:
    tune, engine, arguments = parse("tune", Tune, sys.argv[2:])
    _check_contradictions(tune, arguments)
    (text,) = full_configurations([arguments])
    settings = yaml.safe_load(text)
    check_logger(settings)
    space = parse_space(tune.space, dotted_keys(settings))
    monitor, higher = _judged_by(settings)
    root = Path(settings["trainer"].get("default_root_dir") or ".")
    folder = (root / LOGS / "tune" / (tune.name or settings["data"]["task"])).absolute()
    lock = lock_folder(folder, "the search")
    try:
        _write_base(folder / "base.yaml", text)
        extra = () if tune.train_fraction in (None, 1) else ("--data.train_limit", str(tune.train_fraction))
        search = Search(
            folder, folder / "base.yaml", settings["data"]["task"], space, tune.trials, monitor, higher, extra,
            tune.sampler, tune.pruner, tune.storage, tune.seed, tune.keep_checkpoints,
        )  # fmt: skip
        _search(search, engine)
        refit = _refit(search, tune.refit, engine) if search.best is not None and tune.refit else []
        return {**results_as_json(search), "refit": refit}
    finally:
        if lock is not None:
            os.close(lock)


def _check_contradictions(tune: Tune, arguments: list[str]) -> None:
    """Stop where a trial would replace what the user asked for.

    The space wins over configuration files, which hold the recipe that it is to better; never over a flag.
    """
    searched = "tune.space" if tune.space is not DEFAULT_SPACE else "tune.space (its default)"
    check_contradictions(
        arguments,
        {
            key: f"{searched}, which searches {key}. Leave the flag out, or give a --tune.space without {key}."
            for key in tune.space
        },
    )
    if tune.train_fraction is not None:
        rows = (
            f"tune.train_fraction {tune.train_fraction:g}: both say how many rows a trial trains on. Give one of them."
        )
        check_contradictions(arguments, {"data.train_limit": rows}, in_files=True)


def _judged_by(settings: dict[str, Any]) -> tuple[str, bool]:
    """The value that trials are judged by, and whether a higher one is better."""
    checkpoint = settings.get("checkpoint") or {}
    monitor = checkpoint.get("monitor")
    if monitor is None:
        task = resolve_task(settings["data"]["task"], parse_custom_task(settings["data"].get("custom")))
        monitor = task.monitor
    if monitor.startswith("train/"):
        raise UsageError(f"checkpoint.monitor: {monitor} says nothing about new rows; trials need a validation value.")
    mode = checkpoint.get("mode") or monitor_mode(monitor)
    return str(monitor), mode == "max"


def _write_base(path: Path, text: str) -> None:
    """Keep what all trials begin with; an earlier one stays, to be compared with."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def _search(search: Search, engine: Engine) -> None:
    """Run the trials that are left, and write what was found whatever happens."""
    queue = _Told(search)
    try:
        with ProgressTable(("trial", *last_parts(search.space), search.monitor), queue.row, queue.summary) as board:
            queue.print = board.print
            left = search.trials - sum(trial.state.is_finished() for trial in search.all_trials())
            board.print(f"Search {search.folder}: {max(0, left)} of {search.trials} trials to run, {search.monitor}")
            executor = open_executor(engine)
            queue.slots = executor.free_slots
            Driver(queue, executor, board, engine.patience).work()
    except Stopped:
        write_results(search)
        say("The same command goes on with the search.")
        raise
    except RunError:
        write_results(search)
        raise
    write_results(search)
    print_best(search)


class _Told:
    """A search whose events are told to the user."""

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
        params = self.search.trial(int(job.name)).params
        last = f"{progress.values[-1][1]:.4f}" if progress.values else ""
        return (job.name, *(format_setting(params.get(key, "")) for key in self.search.space), last)

    def summary(self) -> str:
        done = sum(trial.state.is_finished() for trial in self.search.all_trials())
        best = self.search.best
        said = [f"{done} of {self.search.trials} trials"]
        said += [f"best {self.search.monitor} {best.value:.4f}"] if best is not None else []
        times = [t.duration.total_seconds() for t in self.search.all_trials() if t.duration is not None]
        if times:
            left = statistics.fmean(times) * (self.search.trials - done) / self.slots
            said.append(f"about {duration(left)} left")
        return ", ".join(said)


def _refit(search: Search, seeds: int, engine: Engine) -> list[dict[str, Any]]:
    """Train on all rows with the best settings; returns the score of each run."""
    assert search.best is not None
    base, best = str(search.base), search.job(search.best)
    trial = best.folder / "trial.yaml"
    if not trial.is_file():  # in a shared search, another driver's
        trial = search.folder / "refit" / f"trial_{best.folder.name}" / "trial.yaml"
        write_text(trial, settings_to_yaml(search.best.params))
    jobs = [
        Job(
            f"seed {seed}", search.folder / "refit" / f"trial_{best.folder.name}" / f"seed_{seed}",
            ("--config", base, "--config", str(trial), "--seed_everything", str(seed),
             "--trainer.enable_progress_bar", "false"),
            best.task,
        )
        for seed in range(1, seeds + 1)
    ]  # fmt: skip
    queue = FixedQueue(jobs)
    with ProgressTable(("refit",), lambda job, progress: (job.name,), queue.summary) as board:
        queue.print = board.print
        Driver(queue, open_executor(engine), board, engine.patience).work()
    done = [(job, result["metrics"][search.monitor]) for job in jobs if (result := job.result) is not None]
    values = [value or 0.0 for _, value in done]  # an undefined metric counts as 0, as in a suite
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    if values:
        say(f"On all rows {search.monitor} {statistics.fmean(values):.4f}{spread} ({len(values)} seeds)")
        say(f"Runs        {search.folder / 'refit'}")
    return [{"run": job.run and str(job.run.path), "value": value} for job, value in done]
