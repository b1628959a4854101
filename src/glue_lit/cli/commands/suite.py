"""``glue-lit suite``: train all tasks over several seeds, and print the averages."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from glue_lit.cli.commands.submit import submit
from glue_lit.cli.engine_arguments import check_contradictions, full_configurations, parse
from glue_lit.data.custom_task import task_of_settings
from glue_lit.engine.estimates import estimate_seconds
from glue_lit.engine.suite import Suite, SuiteResult, run_suite, suite_folder
from glue_lit.engine.suite_files import missing_recipes
from glue_lit.engine.suite_plan import PlannedJob, describes_own_task
from glue_lit.errors import GlueLitError, RunError, Stopped, UsageError
from glue_lit.outputs.submitted_runs import named_runs
from glue_lit.runs.command_line import CommandLine
from glue_lit.system.console import count_of, duration, json_document, print_table, say
from glue_lit.tasks.glue import TASKS, TaskSpec


def main() -> None:
    """Train the rest of a suite and print its results, or print its plan; as JSON for scripts."""
    line = CommandLine(sys.argv[2:])
    with json_document(line.asks_for_json) as give:
        give(suite_document(line.without("--json").words))


def suite_document(words: Sequence[str]) -> Any:
    """Run the suite of a command line, and print what happens; returns the results, or the plan, for JSON."""
    suite, engine, arguments = parse("suite", Suite, words)
    if describes_own_task(arguments) and (own := CommandLine(arguments, "fit").setting_or_variable("data.task")):
        suite.default_to(own)
    line = CommandLine(words).with_found_configs()
    suite.find_files(line.folder_of("suite.init_from"), line.folder_of("suite.recipes"))
    check_contradictions(arguments, _decided(suite))
    # Each task's configuration is read now, so that errors show before the first training.
    drafts = {(p.model, p.task): p for p in suite.plan(Path(suite.name), arguments)}
    texts = full_configurations([arguments, *(draft.job.arguments for draft in drafts.values())])
    settings, *of_each = map(yaml.safe_load, texts)
    tasks = _tasks(suite, dict(zip(drafts, of_each, strict=True)))
    if suite.own_task is None and (missing := missing_recipes(suite.recipes, suite.tasks, suite.models)):
        say(f"There is no recipe {', '.join(missing)}, so these tasks use the common settings alone.")
    if suite.dry_run:
        root = Path(settings["trainer"].get("default_root_dir") or ".")
        jobs = suite.plan(suite_folder(suite, settings), arguments)
        return _print_plan(jobs, estimate_seconds(dict(zip(drafts, of_each, strict=True)), root))
    try:
        result = run_suite(suite, engine, arguments, settings, tasks)
    except Stopped:
        say("The same command resumes the suite.")
        raise
    if suite.submit:
        _submit(suite, result)
    return {"folder": result.folder, **result.record}


def _tasks(suite: Suite, settings: Mapping[tuple[str, str], Any]) -> dict[str, TaskSpec]:
    """The suite's tasks by name; those of the user's own are read from their data.

    Args:
        suite: The suite.
        settings: A configuration of `fit` for each model and task.

    Raises:
        GlueLitError: A task cannot be trained, or the leaderboard does not have it.
    """
    tasks = {task: task_of_settings(each) for (_, task), each in settings.items() if task in suite.tasks}
    if suite.submit and (own := [task for task in tasks if task not in TASKS]):
        raise UsageError(f"suite.submit: the leaderboard has no task {own[0]}. Leave suite.submit out.")
    return tasks


def _decided(suite: Suite) -> dict[str, str]:
    """The settings of `fit` that a suite sets for each training, and what decides them."""
    decided = {"seed_everything": f"suite.seeds ({', '.join(map(str, suite.seeds))}). Use `--suite.seeds '[SEED]'`."}
    if suite.own_task is None:
        decided["data.task"] = "suite.tasks, which names the tasks. Use `--suite.tasks '[TASK]'`."
    if suite.models:
        decided["model.name_or_path"] = f"suite.models ({', '.join(suite.models)}). Give one of them."
    if suite.init_from:
        decided["model.init_from"] = "suite.init_from, which says what each task starts from. Give one of them."
    return decided


def _print_plan(jobs: list[PlannedJob], times: dict[tuple[str, str], float | None]) -> list[dict[str, Any]]:
    """Print the plan with times estimated from earlier runs; returns it for JSON."""
    rows, plan, total = [], [], 0.0
    for planned in jobs:
        seconds = times.get((planned.model, planned.task))
        done = planned.job.result is not None
        total += 0.0 if done or seconds is None else seconds
        time = "done" if done else duration(seconds)
        rows.append((planned.job.name, planned.start or "", time))
        plan.append({"training": planned.job.name, "after": planned.start, "done": done, "seconds": seconds})
    print_table("Plan, in this order", ("training", "after", "time"), rows, right=("time",))
    say(count_of(len(jobs), "training") + (f", about {duration(total)} one after the other" if total else ""))
    if not times:
        say("Times are unknown until a run of the model has finished.")
    return plan


def _submit(suite: Suite, result: SuiteResult) -> None:
    """Write a zip of the best seed of each task, for each model."""
    for model, runs in result.best_runs.items():
        output = result.folder / (f"submission-{model}.zip" if model else "submission.zip")
        try:
            submit(named_runs(runs), output, fill_missing=bool(suite.majority), overwrite=True)
        except GlueLitError as error:
            raise RunError(f"The submission {output} is not written: {error} The suite's results are kept.") from error
