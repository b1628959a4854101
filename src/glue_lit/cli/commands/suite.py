"""``glue-lit suite``: all tasks over several seeds, and what they come to."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from glue_lit.cli.engine_arguments import check_contradictions, full_configurations, parse
from glue_lit.data.sources import open_split
from glue_lit.engine.driver import Driver
from glue_lit.engine.estimates import estimate_seconds
from glue_lit.engine.fixed_queue import FixedQueue
from glue_lit.engine.job import Job, Progress, lock_folder
from glue_lit.engine.progress_table import ProgressTable
from glue_lit.engine.settings import Engine, check_logger, open_executor
from glue_lit.engine.suite_plan import PlannedJob, missing_recipes, model_names, plan_suite
from glue_lit.engine.suite_results import SuiteResults
from glue_lit.errors import RunError, Stopped, UsageError, did_you_mean
from glue_lit.evaluation.glue_average import GLUE, task_score
from glue_lit.runs.command_line import CommandLine
from glue_lit.runs.run import LOGS
from glue_lit.system.console import duration, json_document, print_table, say
from glue_lit.system.files import write_text
from glue_lit.tasks.glue import TaskSpec, get_task, log_prefix


class Suite:
    """Which trainings, and how their results are put together.

    Args:
        tasks: Names of the tasks; null for the nine of GLUE.
        seeds: Seeds of each.
        models: Names of the models; null for that of the configuration.
        init_from: By task the task whose encoder it starts from, e.g. {rte: mnli}, or the configuration of a training
            on other data that comes before, e.g. {cola: configs/custom.yaml}, or the folder of a run or a model that
            is there already, e.g. {stsb: lightning_logs/mnli/version_0}.
        recipes: File with each task's recipe, {task} and {model} standing for their names, the model's in lower case
            and without its owner; tasks without one have the settings of all.
        name: Of the suite, a folder in lightning_logs/suite. The same name goes on with it.
        majority: Tasks that are not trained, but given the commonest label, as WNLI is in most papers.
        left_out: Tasks that do not count in the average.
        submit: Write the leaderboard's zip too, of the best seed of each task.
        dry_run: Show what would be trained, and how long it may take.
    """

    def __init__(
        self,
        tasks: list[str] | None = None,
        seeds: tuple[int, ...] = (1, 2, 3),
        models: list[str] | None = None,
        init_from: dict[str, str] | None = None,
        recipes: str | None = "configs/{task}.yaml",
        name: str = "glue",
        majority: tuple[str, ...] = (),
        left_out: tuple[str, ...] = (),
        submit: bool = False,
        dry_run: bool = False,
    ) -> None:
        if not seeds or len(set(seeds)) < len(seeds):
            raise UsageError(f"--suite.seeds: got {list(seeds)}, allowed: one or more different numbers.")
        if name in ("", "..") or Path(name).name != name:
            raise UsageError(f"--suite.name: got {name!r}, allowed: the name of a folder, without /.")
        trained = dict.fromkeys(GLUE if tasks is None else tasks)
        _check_of_average("majority", majority)
        _check_of_average("left_out", left_out)
        for task in majority:
            if get_task(task).is_regression:
                raise UsageError(f"--suite.majority: {task} has scores, and no commonest label.")
            trained.pop(task, None)
        self.tasks, self.seeds, self.models = list(trained), seeds, list(dict.fromkeys(models or ()))
        self.init_from, self.recipes, self.name = init_from or {}, recipes, name
        self.majority, self.left_out, self.submit, self.dry_run = majority, left_out, submit, dry_run


def _check_of_average(flag: str, names: Sequence[str]) -> None:
    """Stop at a name that is none of the average's."""
    for wrong in set(names).difference(GLUE):
        raise UsageError(f"--suite.{flag}: got {wrong!r}, allowed: {', '.join(GLUE)}.{did_you_mean(wrong, GLUE)}")


def main() -> None:
    """Train what is left of a suite, then write what it has come to; or, for scripts, print it as JSON."""
    line = CommandLine(sys.argv[2:])
    sys.argv[2:] = line.without("--json").words
    with json_document(line.asks_for_json) as give:
        give(_run())


def _run() -> Any:
    suite, engine, arguments = parse("suite", Suite, sys.argv[2:])
    check_contradictions(arguments, _decided(suite))
    # What each task's training would be is read now, and not when the others have been trained.
    drafts = {(p.model, p.task): p for p in _plan(suite, Path(suite.name), arguments)}
    texts = full_configurations([arguments, *(draft.job.arguments for draft in drafts.values())])
    settings, *of_each = map(yaml.safe_load, texts)
    for each in of_each:
        check_logger(each)
    root = Path(settings["trainer"].get("default_root_dir") or ".")
    folder = (root / LOGS / "suite" / suite.name).absolute()
    if missing := missing_recipes(suite.recipes, suite.tasks, suite.models):
        say(f"There is no {', '.join(missing)}, so these have the settings of all and no recipe of their own.")
    if suite.dry_run:
        return _show(_plan(suite, folder, arguments), estimate_seconds(dict(zip(drafts, of_each, strict=True)), root))
    jobs = _plan(suite, folder, _with_kept_files(arguments, folder))
    lock = lock_folder(folder, "the suite")
    try:
        for number, file in enumerate(CommandLine(arguments).config_files):
            write_text(folder / "settings" / f"{number}.yaml", Path(file).read_text(encoding="utf-8"))
        majority = {task: _of_majority(get_task(task), settings["data"]["source"]) for task in suite.majority}
        _train(jobs, folder, engine)
        results = SuiteResults(suite.name, suite.seeds, majority, suite.left_out)
        record = results.write([planned for planned in jobs if planned.task in suite.tasks], folder)
        if suite.submit:
            _submit(suite, jobs, folder)
        return {"folder": str(folder), **record}
    finally:
        if lock is not None:
            os.close(lock)


def _decided(suite: Suite) -> dict[str, str]:
    """The settings of `fit` that a suite gives each training, and what decides them."""
    decided = {
        "data.task": "suite.tasks, which names the tasks. Use `--suite.tasks '[TASK]'`.",
        "seed_everything": f"suite.seeds ({', '.join(map(str, suite.seeds))}). Use `--suite.seeds '[SEED]'`.",
    }
    if suite.models:
        decided["model.name_or_path"] = f"suite.models ({', '.join(suite.models)}). Give one of them."
    if suite.init_from:
        decided["model.init_from"] = "suite.init_from, which says what each task starts from. Give one of them."
    return decided


def _plan(suite: Suite, folder: Path, arguments: list[str]) -> list[PlannedJob]:
    return plan_suite(folder, suite.tasks, suite.seeds, suite.models, suite.init_from, arguments, suite.recipes)


def _with_kept_files(arguments: list[str], folder: Path) -> list[str]:
    """The arguments with the suite's own copies of their configuration files."""
    line = CommandLine(arguments)
    copies = {file: str(folder / "settings" / f"{number}.yaml") for number, file in enumerate(line.config_files)}
    return list(line.with_config_files(copies).words)


def _train(jobs: list[PlannedJob], folder: Path, engine: Engine) -> None:
    queue = FixedQueue([planned.job for planned in jobs], {p.job.name: p.start for p in jobs if p.start is not None})
    try:
        with ProgressTable(("training", "last score"), _row, queue.summary) as board:
            queue.print = board.print
            board.print(f"Suite {folder}: {queue.waiting} of {len(jobs)} trainings to run")
            Driver(queue, open_executor(engine), board, engine.patience).work()
    except Stopped:
        say("The same command goes on with the suite.")
        raise


def _row(job: Job, progress: Progress) -> tuple[str, ...]:
    return job.name, f"{progress.values[-1][1]:.4f}" if progress.values else ""


def _show(jobs: list[PlannedJob], times: dict[tuple[str, str], float | None]) -> list[dict[str, Any]]:
    """Print the plan, with times as far as earlier runs tell; returns it."""
    rows, plan, total = [], [], 0.0
    for planned in jobs:
        seconds = times.get((planned.model, planned.task))
        done = planned.job.result is not None
        total += 0.0 if done or seconds is None else seconds
        time = "done" if done else duration(seconds)
        rows.append((planned.job.name, planned.start or "", time))
        plan.append({"training": planned.job.name, "after": planned.start, "done": done, "seconds": seconds})
    print_table("Plan, in this order", ("training", "after", "time"), rows, right=("time",))
    say(f"{len(jobs)} trainings" + (f", about {duration(total)} one after the other" if total else ""))
    if not times:
        say("Times are not known before a run of the model has finished.")
    return plan


def _of_majority(task: TaskSpec, source: str) -> float:
    """A task's score for the average with its commonest label for every dev row."""
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


def _submit(suite: Suite, jobs: list[PlannedJob], folder: Path) -> None:
    """Write a zip of the best seed of each task, for each model."""
    for model, of_model in (model_names(suite.models) or {"": ""}).items():
        runs = []
        for task in suite.tasks:
            done = [(score, str(p.job.run.path)) for p in jobs if p.task == task and p.model == model
                    and p.job.run is not None and (r := p.job.result) is not None
                    and (score := task_score(get_task(task), r["metrics"])) is not None]  # fmt: skip
            runs += [max(done)[1]] if done else []
        name = f"submission-{of_model}.zip" if model else "submission.zip"
        fill = ["--fill_missing", "majority"] if suite.majority else []
        command = [sys.executable, "-m", "glue_lit", "submit", *runs, "--output", str(folder / name), *fill]
        if subprocess.run(command, check=False).returncode:
            raise RunError(f"The submission {folder / name} could not be written; see above. The results stand.")
