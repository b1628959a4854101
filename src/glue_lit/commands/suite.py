"""``glue-lit suite``: all tasks over several seeds, and what they come to."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from glue_lit.configs import config_files
from glue_lit.console import print_table, say
from glue_lit.data.sources import open_split
from glue_lit.engine.averages import GLUE, Figure, glue_average, task_figures, task_score
from glue_lit.engine.driver import Driver
from glue_lit.engine.job import Job, Progress, claim
from glue_lit.engine.plan import Fixed
from glue_lit.engine.settings import Engine, full_configuration, open_executor, parse
from glue_lit.engine.suite import Planned, plan, without_recipe
from glue_lit.engine.view import Board, duration
from glue_lit.errors import RunError, Stopped, UsageError
from glue_lit.runs import LOGS, find_runs, whole_file, write_metrics, write_text
from glue_lit.tasks import get_task


class Suite:
    """Which trainings, and how their results are put together.

    Args:
        tasks: Names of the tasks; null for the nine of GLUE.
        seeds: Seeds of each.
        models: Names of the models; null for that of the configuration.
        init_from: By task the task whose encoder it starts from, e.g. {rte: mnli}.
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
        if not name or Path(name).name != name:
            raise UsageError(f"--suite.name: got {name!r}, allowed: the name of a folder, without /.")
        for task in majority:
            if get_task(task).is_regression:
                raise UsageError(f"--suite.majority: {task} has scores, and no commonest label.")
        chosen = [task for task in (GLUE if tasks is None else tasks) if task not in majority]
        self.tasks, self.seeds, self.models = list(dict.fromkeys(chosen)), seeds, models or []
        self.init_from, self.recipes, self.name = init_from or {}, recipes, name
        self.majority, self.left_out, self.submit, self.dry_run = majority, left_out, submit, dry_run


def main() -> None:
    """Train what is left of a suite, then write what it has come to."""
    suite, engine, arguments = parse("suite", Suite, sys.argv[2:])
    settings = yaml.safe_load(full_configuration(arguments))
    root = Path(settings["trainer"].get("default_root_dir") or ".")
    folder = (root / LOGS / "suite" / suite.name).absolute()
    if missing := without_recipe(suite.recipes, suite.tasks, suite.models):
        say(f"There is no {', '.join(missing)}, so these have the settings of all and no recipe of their own.")
    if suite.dry_run:
        _show(_plan(suite, folder, arguments), root)
        return
    jobs = _plan(suite, folder, _with_kept_files(arguments, folder))
    lock = claim(folder, "the suite")
    try:
        for number, file in enumerate(config_files(arguments)):
            write_text(folder / "settings" / f"{number}.yaml", Path(file).read_text(encoding="utf-8"))
        _train(jobs, folder, engine)
        _write(suite, jobs, folder, _of_majority(suite, settings["data"]["source"]))
        if suite.submit:
            _submit(suite, jobs, folder)
    finally:
        if lock is not None:
            os.close(lock)


def _plan(suite: Suite, folder: Path, arguments: list[str]) -> list[Planned]:
    return plan(folder, suite.tasks, suite.seeds, suite.models, suite.init_from, arguments, suite.recipes)


def _with_kept_files(arguments: list[str], folder: Path) -> list[str]:
    """The arguments with the suite's own copies of their configuration files."""
    files = {file: str(folder / "settings" / f"{n}.yaml") for n, file in enumerate(config_files(arguments))}
    kept = [files.get(argument, argument) for argument in arguments]
    return [f"--config={files[a.partition('=')[2]]}" if a.startswith("--config=") else a for a in kept]


def _train(jobs: list[Planned], folder: Path, engine: Engine) -> None:
    queue = Fixed([planned.job for planned in jobs], {p.job.name: p.start for p in jobs if p.start is not None})
    try:
        with Board(("training", "last score"), _row, queue.summary) as board:
            queue.say = board.event
            board.event(f"Suite {folder}: {queue.waiting} of {len(jobs)} trainings to run")
            Driver(queue, open_executor(engine), board, engine.patience).work()
    except Stopped:
        say("The same command goes on with the suite.")
        raise


def _row(job: Job, progress: Progress) -> tuple[str, ...]:
    return job.name, f"{progress.values[-1][1]:.4f}" if progress.values else ""


# -------------------------------------------------------------------- what is planned


def _show(jobs: list[Planned], root: Path) -> None:
    """Print the plan, with times as far as earlier runs tell."""
    speeds = _speeds(root)
    rows, total = [], 0.0
    times = {(p.model, p.task): _estimate(p, speeds) for p in {(p.model, p.task): p for p in jobs}.values()}
    for planned in jobs:
        seconds = times[planned.model, planned.task]
        done = planned.job.result is not None
        total += 0.0 if done or seconds is None else seconds
        time = "done" if done else duration(seconds)
        rows.append((planned.job.name, planned.start or "", time))
    print_table("Plan, in this order", ("training", "after", "time"), rows, right=("time",))
    say(f"{len(jobs)} trainings" + (f", about {duration(total)} one after the other" if total else ""))
    if not speeds:
        say("Times are not known before a run of the model has finished.")


def _speeds(root: Path) -> dict[tuple[str, str], float]:
    """Samples a second of finished runs by model and task, and by model alone."""
    found: dict[tuple[str, str], float] = {}
    places = [root / LOGS, *(root / LOGS).glob(f"suite/*/*/*/*/{LOGS}")]
    for run in (run for place in places for run in find_runs(place)):
        try:
            record = json.loads(run.metrics.read_text(encoding="utf-8"))
            speed, model = float(record["train_samples_per_second"]), str(record["model"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        found[model, record["task"]] = found[model, ""] = speed
    return found


def _estimate(planned: Planned, speeds: Mapping[tuple[str, str], float]) -> float | None:
    """Seconds that a training may take, start and validation left out."""
    settings = yaml.safe_load(full_configuration(planned.job.arguments))
    model, trainer = settings["model"]["name_or_path"], settings["trainer"]
    speed = speeds.get((model, planned.task)) or speeds.get((model, ""))
    rows, limit = get_task(planned.task).files["train"].rows, settings["data"].get("train_limit")
    rows = rows if limit is None else min(rows, round(limit * rows) if limit < 1 else limit)
    if speed is None or not trainer.get("max_epochs"):
        return None
    return float(rows * trainer["max_epochs"] / speed)


# -------------------------------------------------------------------- what came of it


def _of_majority(suite: Suite, source: str) -> dict[str, list[float]]:
    """Scores of the tasks that are given the commonest label: its share of the dev rows, for each seed."""
    found = {}
    for name in suite.majority:
        task = get_task(name)
        labels = open_split(task, source, str(task.monitored_split)).read().labels
        commonest = task.file_labels.index(task.most_common)
        found[name] = [sum(label == commonest for label in labels) / len(labels)] * len(suite.seeds)
    return found


def _write(suite: Suite, jobs: list[Planned], folder: Path, majority: dict[str, list[float]]) -> None:
    """Print the results and write them as Markdown, CSV and JSON."""
    columns = ("task", "metric", "mean ± std", "n", "time")
    table: list[tuple[str, ...]] = []
    record: dict[str, Any] = {"suite": suite.name, "seeds": list(suite.seeds), "models": {}}
    text = []
    for model in suite.models or [""]:
        of_model = [planned for planned in jobs if planned.model == model]
        figures, scores, seconds = _of_model(of_model)
        average = glue_average(scores | majority, suite.left_out)
        name = model or _name_of(of_model)
        rows = [
            (task, one.name, str(one), str(one.count), duration(seconds[task]))
            for task, found in figures.items() for one in found
        ]  # fmt: skip
        rows += [(task, "accuracy of the commonest label", f"{100 * v[0]:.2f}", "", "") for task, v in majority.items()]
        said = _said_of_average(suite, average, scores | majority)
        print_table(f"{name}, times 100", columns, rows, right=columns[2:])
        say(said)
        text += [f"## {name}", "", *(f"| {' | '.join(row)} |" for row in (columns, ("---",) * 5, *rows)), "", said, ""]
        table += [(name, *row) for row in rows]
        record["models"][name] = {
            "tasks": {task: [vars(one) for one in found] for task, found in figures.items()},
            "majority": {task: 100 * values[0] for task, values in majority.items()},
            "left_out": list(suite.left_out),
            "average": None if average is None else vars(average),
            "wall_seconds": seconds,
        }
    write_text(folder / "results.md", "\n".join([f"# Suite {suite.name}: dev scores times 100", "", *text]))
    with whole_file(folder / "results.csv") as file:
        csv.writer(file, lineterminator="\n").writerows([("model", *columns), *table])
    write_metrics(folder / "results.json", record)
    say(f"Results     {folder / 'results.md'}, results.csv, results.json")


def _of_model(
    jobs: list[Planned],
) -> tuple[dict[str, list[Figure]], dict[str, list[float]], dict[str, float]]:
    """Figures, scores for the average, and seconds of training, by task."""
    figures, scores, seconds = {}, {}, {}
    for task in dict.fromkeys(planned.task for planned in jobs):
        results = [r for planned in jobs if planned.task == task and (r := planned.job.result) is not None]
        if not results:
            continue
        figures[task] = task_figures(get_task(task), results)
        scores[task] = [task_score(get_task(task), result["metrics"]) or 0.0 for result in results]
        seconds[task] = sum(result.get("wall_seconds") or 0.0 for result in results)
    return figures, scores, seconds


def _name_of(jobs: list[Planned]) -> str:
    """The model's name by its runs, where the configuration names it."""
    return next((str(r["model"]) for planned in jobs if (r := planned.job.result) is not None), "model")


def _said_of_average(suite: Suite, average: Figure | None, scores: Mapping[str, list[float]]) -> str:
    counted = [task for task in GLUE if task not in suite.left_out]
    how = [f"without {', '.join(suite.left_out)}"] if suite.left_out else []
    how += [f"{', '.join(suite.majority)} by the commonest label"] if suite.majority else []
    if average is not None:
        return ", ".join([f"GLUE average of {len(counted)} tasks: {average} (n {average.count})", *how])
    missing = [task for task in counted if len(scores.get(task, ())) < len(suite.seeds)]
    return f"No GLUE average: {', '.join(missing)} not complete."


def _submit(suite: Suite, jobs: list[Planned], folder: Path) -> None:
    """Write a zip of the best seed of each task, for each model."""
    for model in suite.models or [""]:
        runs = []
        for task in suite.tasks:
            done = [(score, str(p.job.run.path)) for p in jobs if p.task == task and p.model == model
                    and p.job.run is not None and (r := p.job.result) is not None
                    and (score := task_score(get_task(task), r["metrics"])) is not None]  # fmt: skip
            runs += [max(done)[1]] if done else []
        name = f"submission-{model.rpartition('/')[2]}.zip" if model else "submission.zip"
        fill = ["--fill_missing", "majority"] if suite.majority else []
        command = [sys.executable, "-m", "glue_lit", "submit", *runs, "--output", str(folder / name), *fill]
        if subprocess.run(command, check=False).returncode:
            raise RunError(f"The submission {folder / name} could not be written; see above. The results stand.")
