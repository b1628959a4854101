"""`run_suite`: train all tasks with several seeds, from the plan to the results."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glue_lit.data.sources import open_split
from glue_lit.engine.driver import Driver
from glue_lit.engine.fixed_queue import FixedQueue
from glue_lit.engine.job import Job, Progress, lock_folder
from glue_lit.engine.progress_table import ProgressTable
from glue_lit.engine.settings import Engine, open_executor
from glue_lit.engine.suite_files import find_recipes, find_starts
from glue_lit.engine.suite_plan import PlannedJob, model_names, plan_suite
from glue_lit.engine.suite_results import SuiteResults
from glue_lit.errors import UsageError, did_you_mean
from glue_lit.evaluation.glue_average import GLUE, task_score
from glue_lit.runs.command_line import CommandLine
from glue_lit.runs.run import LOGS
from glue_lit.system.console import count_of
from glue_lit.system.files import write_text
from glue_lit.tasks.glue import TaskSpec, get_task, log_prefix


class Suite:
    """What is trained, and how the results are combined.

    Args:
        tasks: Names of the tasks; null for the task of your own that the configuration describes, else for the nine of
            GLUE.
        seeds: Seeds of each task.
        models: Names of the models; null for that of the configuration.
        init_from: For a task, what its encoder starts from: another task, e.g. {rte: mnli}; the configuration of a
            training on other data, which runs first, e.g. {cola: configs/custom.yaml}; or the folder of an existing
            run or model, e.g. {stsb: lightning_logs/mnli/version_0}.
        recipes: File with each task's recipe, or the name of a shipped one. {task} and {model} stand for their names,
            the model's in lower case and without its owner; tasks without a file use only the common settings.
        name: Name of the suite, a folder in lightning_logs/suite; null for that of the task of your own, else glue. The
            same name resumes it.
        majority: Tasks that are not trained but given the most frequent label, as WNLI is in most papers.
        left_out: Tasks that do not count in the average.
        submit: Also write the leaderboard's zip, from the best seed of each task.
        dry_run: Show what would be trained, and how long it may take.
    """

    def __init__(
        self,
        tasks: list[str] | None = None,
        seeds: tuple[int, ...] = (1, 2, 3),
        models: list[str] | None = None,
        init_from: dict[str, str] | None = None,
        recipes: str | None = "configs/{task}.yaml",
        name: str | None = None,
        majority: tuple[str, ...] = (),
        left_out: tuple[str, ...] = (),
        submit: bool = False,
        dry_run: bool = False,
    ) -> None:
        if not seeds or len(set(seeds)) < len(seeds):
            raise UsageError(f"--suite.seeds: got {list(seeds)}, allowed: one or more different numbers.")
        if name is not None and (name in ("", "..") or Path(name).name != name):
            raise UsageError(f"--suite.name: got {name!r}, allowed: the name of a folder, without /.")
        trained = dict.fromkeys(GLUE if tasks is None else tasks)
        _check_of_average("majority", majority)
        _check_of_average("left_out", left_out)
        for task in majority:
            if get_task(task).is_regression:
                raise UsageError(f"--suite.majority: {task} has scores, and no most frequent label.")
            trained.pop(task, None)
        self.tasks, self.seeds, self.models = list(trained), seeds, list(dict.fromkeys(models or ()))
        self.init_from, self.recipes, self.name = init_from or {}, recipes, name or "glue"
        self._is_named, self._names_tasks = name is not None, tasks is not None
        self.own_task: str | None = None  # the task of a suite that names none
        self.majority, self.left_out, self.submit, self.dry_run = majority, left_out, submit, dry_run

    def default_to(self, task: str) -> None:
        """Train a task of the user's own if the settings name no tasks; the suite is named after it."""
        if not self._names_tasks:
            self.own_task, self.tasks, self.name = task, [task], self.name if self._is_named else task

    def find_files(self, init_from: Path | None, recipes: Path | None) -> None:
        """Find starts and recipes, also beside the files that name them.

        Args:
            init_from: Folder of the configuration file with the starts; ``None`` without one.
            recipes: The same for the recipes.
        """
        self.init_from = find_starts(self.init_from, self.tasks, init_from)
        self.recipes = find_recipes(self.recipes, self.tasks, self.models, recipes)

    def plan(self, folder: Path, arguments: Sequence[str]) -> list[PlannedJob]:
        """Plan the trainings, in order.

        Args:
            folder: Folder of the suite.
            arguments: Arguments of `fit` for all trainings.

        Raises:
            UsageError: A task is unknown, or what it starts from does not exist.
        """
        return plan_suite(folder, self.tasks, self.seeds, self.models, self.init_from, arguments, self.recipes)


def _check_of_average(flag: str, names: Sequence[str]) -> None:
    """Refuse a name that is not a task of the average."""
    for wrong in set(names).difference(GLUE):
        raise UsageError(f"--suite.{flag}: got {wrong!r}, allowed: {', '.join(GLUE)}.{did_you_mean(wrong, GLUE)}")


@dataclass(frozen=True)
class SuiteResult:
    """The result of a suite.

    Attributes:
        folder: Folder of the suite, with the tables.
        record: Content of its ``results.json``.
        best_runs: For each model, by its name in folders, the run of the best seed of each task; the name is empty if
            the configuration names the model.
    """

    folder: Path
    record: dict[str, Any]
    best_runs: dict[str, list[Path]]


def suite_folder(suite: Suite, settings: dict[str, Any]) -> Path:
    """The folder of a suite.

    Args:
        suite: The suite.
        settings: A full configuration of `fit`, which says where ``lightning_logs`` is.
    """
    root = Path(settings["trainer"].get("default_root_dir") or ".")
    return (root / LOGS / "suite" / suite.name).absolute()


def run_suite(
    suite: Suite, engine: Engine, arguments: Sequence[str], settings: dict[str, Any], tasks: Mapping[str, TaskSpec]
) -> SuiteResult:
    """Run the remaining trainings of a suite, then print and write its results.

    Args:
        suite: What is trained.
        engine: Where trainings run.
        arguments: Arguments of `fit` for all trainings.
        settings: The configuration that `fit` makes of them.
        tasks: The suite's tasks by name.

    Raises:
        RunError: Too many trainings failed in the same way, or another process is working on the suite.
        Stopped: A signal stopped it; calling this again resumes the suite.
    """
    folder = suite_folder(suite, settings)
    lock = lock_folder(folder, "the suite")
    try:
        jobs = suite.plan(folder, _keep_files(arguments, folder / "settings"))
        majority = {task: majority_score(get_task(task), settings["data"]["source"]) for task in suite.majority}
        own = settings["model"]
        models = [(name, own["revision"]) for name in suite.models or [own["name_or_path"]]]
        _train(jobs, folder, engine, models)
        results = SuiteResults(suite.name, tasks, suite.seeds, majority, suite.left_out)
        record = results.write([planned for planned in jobs if planned.task in suite.tasks], folder)
        names = model_names(suite.models) or {"": ""}
        return SuiteResult(folder, record, {short: _best_runs(tasks, jobs, model) for model, short in names.items()})
    finally:
        if lock is not None:
            os.close(lock)


def _keep_files(arguments: Sequence[str], folder: Path) -> list[str]:
    """Copy the configuration files in the arguments; return the arguments with the copies."""
    line = CommandLine(arguments)
    copies = {file: folder / f"{number}.yaml" for number, file in enumerate(line.config_files)}
    for file, copy in copies.items():
        write_text(copy, Path(file).read_text(encoding="utf-8"))
    return list(line.with_config_files({file: str(copy) for file, copy in copies.items()}).words)


def _train(jobs: list[PlannedJob], folder: Path, engine: Engine, models: list[tuple[str, str]]) -> None:
    queue = FixedQueue([planned.job for planned in jobs], {p.job.name: p.start for p in jobs if p.start is not None})
    with ProgressTable(("training", "last score"), _row, queue.summary) as table:
        queue.print = table.print
        table.print(f"Suite {folder}: {queue.waiting} of {count_of(len(jobs), 'training')} to run")
        Driver(queue, open_executor(engine, models), table, engine.patience).work()


def _row(job: Job, progress: Progress) -> tuple[str, ...]:
    return job.name, f"{progress.values[-1][1]:.4f}" if progress.values else ""


def majority_score(task: TaskSpec, source: str) -> float:
    """A task's score for the average, from 0 to 1, with its most frequent label for every dev row."""
    import torch

    from glue_lit.evaluation.task_metrics import TaskMetrics

    found: dict[str, float] = {}
    for split in task.validation_splits:
        labels = [label for label in open_split(task, source, split).read().labels if label is not None]
        target = torch.tensor(labels, dtype=torch.int64)
        metrics = TaskMetrics(task)
        metrics.update(torch.full_like(target, task.file_labels.index(task.most_common)), target, torch.zeros(()))
        found |= {f"{log_prefix(split)}/{name}": value for name, value in metrics.compute().items()}
    return task_score(task, found) or 0.0


def _best_runs(tasks: Mapping[str, TaskSpec], jobs: Sequence[PlannedJob], model: str) -> list[Path]:
    """The run of the best seed of each task that has a score."""
    runs = []
    for name, task in tasks.items():
        done = [
            (score, str(planned.job.run_path))
            for planned in jobs
            if (planned.task, planned.model) == (name, model)
            and (result := planned.job.result) is not None
            and (score := task_score(task, result["metrics"])) is not None
        ]
        runs += [Path(max(done)[1])] if done else []
    return runs
