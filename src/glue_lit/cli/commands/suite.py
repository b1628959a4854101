"""``glue-lit suite``: train all tasks over several seeds, and print the averages."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from glue_lit.cli.commands.submit import submit
from glue_lit.cli.engine_arguments import check_contradictions, full_configurations, parse
from glue_lit.engine.estimates import estimate_seconds
from glue_lit.engine.settings import check_logger
from glue_lit.engine.suite import Suite, SuiteResult, run_suite, suite_folder
from glue_lit.engine.suite_plan import PlannedJob, missing_recipes
from glue_lit.errors import GlueLitError, RunError, Stopped
from glue_lit.outputs.submitted_runs import named_runs
from glue_lit.runs.command_line import CommandLine
from glue_lit.system.console import count_of, duration, json_document, print_table, say


def main() -> None:
    """Train the rest of a suite and print its results, or print its plan; as JSON for scripts."""
    line = CommandLine(sys.argv[2:])
    with json_document(line.asks_for_json) as give:
        give(suite_document(line.without("--json").words))


def suite_document(words: Sequence[str]) -> Any:
    """Run the suite of a command line, and print what happens; returns the results, or the plan, for JSON."""
    suite, engine, arguments = parse("suite", Suite, words)
    check_contradictions(arguments, _decided(suite))
    # Each task's configuration is read now, so that errors show before the first training.
    drafts = {(p.model, p.task): p for p in suite.plan(Path(suite.name), arguments)}
    texts = full_configurations([arguments, *(draft.job.arguments for draft in drafts.values())])
    settings, *of_each = map(yaml.safe_load, texts)
    for each in of_each:
        check_logger(each)
    if missing := missing_recipes(suite.recipes, suite.tasks, suite.models):
        say(f"There is no {', '.join(missing)}, so these tasks use the common settings, without a recipe of their own.")
    if suite.dry_run:
        root = Path(settings["trainer"].get("default_root_dir") or ".")
        jobs = suite.plan(suite_folder(suite, settings), arguments)
        return _print_plan(jobs, estimate_seconds(dict(zip(drafts, of_each, strict=True)), root))
    try:
        result = run_suite(suite, engine, arguments, settings)
    except Stopped:
        say("The same command resumes the suite.")
        raise
    if suite.submit:
        _submit(suite, result)
    return {"folder": str(result.folder), **result.record}


def _decided(suite: Suite) -> dict[str, str]:
    """The settings of `fit` that a suite sets for each training, and what decides them."""
    decided = {
        "data.task": "suite.tasks, which names the tasks. Use `--suite.tasks '[TASK]'`.",
        "seed_everything": f"suite.seeds ({', '.join(map(str, suite.seeds))}). Use `--suite.seeds '[SEED]'`.",
    }
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
