"""``glue-lit tune``: search hyperparameters, then print which settings are best."""

import statistics
import sys
from collections.abc import Sequence
from typing import Any

from glue_lit.errors import Stopped, UsageError

try:
    import optuna  # noqa: F401 - the modules below need it
except ImportError:
    raise UsageError("`glue-lit tune` needs Optuna: `pip install 'glue-lit[tune]'`.") from None

from glue_lit.cli.engine_arguments import check_contradictions, full_configurations, parse
from glue_lit.engine.search_results import format_setting, last_parts
from glue_lit.engine.tune_result import TrialResult, TuneResult
from glue_lit.engine.tuning import Tune, run_tune
from glue_lit.runs.command_line import CommandLine
from glue_lit.system.console import count_of, duration, json_document, print_table, say


def main() -> None:
    """Search, and print what was found, as JSON for scripts."""
    line = CommandLine(sys.argv[2:])
    with json_document(line.asks_for_json) as give:
        give(tune_document(tune(line.without("--json").words)))


def tune(words: Sequence[str]) -> TuneResult:
    """Run the search of a command line, and print what happens."""
    settings, engine, arguments = parse("tune", Tune, words)
    _check_contradictions(settings, arguments)
    (base,) = full_configurations([arguments])
    try:
        result = run_tune(settings, engine, base, _print_best)
    except Stopped:
        say("The same command resumes the search.")
        raise
    if values := [refit.value for refit in result.refits]:
        spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
        say(f"On all rows {result.monitor} {statistics.fmean(values):.4f}{spread} ({count_of(len(values), 'seed')})")
        say(f"Runs        {result.folder / 'refit'}")
    return result


def _check_contradictions(tune: Tune, arguments: Sequence[str]) -> None:
    """Stop at settings of the user that trials would override.

    The space wins over configuration files, which hold the recipe that it is to better; never over a flag.
    """
    searched = "tune.space (its default)" if tune.space is None else "tune.space"
    check_contradictions(
        arguments,
        {
            key: f"{searched}, which searches {key}. Leave the flag out, or give a --tune.space without {key}."
            for key in tune.searched
        },
    )
    if tune.train_fraction is not None:
        rows = (
            f"tune.train_fraction {tune.train_fraction:g}: both say how many rows a trial trains on. Give one of them."
        )
        check_contradictions(arguments, {"data.train_limit": rows, "data.shots": rows}, in_files=True)


def _print_best(result: TuneResult) -> None:
    """Print the five best trials, and where all results are."""
    if not result.ranked:
        say(f"No trial has finished; see {result.folder / 'trials.csv'}.")
        return
    columns = ("trial", result.monitor, *last_parts(result.ranked[0].settings), "time")
    rows = [
        (
            str(trial.number),
            f"{trial.value:.4f}",
            *map(format_setting, trial.settings.values()),
            duration(trial.seconds),
        )
        for trial in result.ranked[:5]
    ]
    print_table("Best trials", columns, rows)
    say(f"Best        {result.config}")
    say(f"All         {result.folder / 'trials.csv'}, study.db (`optuna-dashboard sqlite:///study.db`), pictures.html")


def tune_document(result: TuneResult) -> dict[str, Any]:
    """The result of a search for ``--json``."""
    return {
        "folder": result.folder,
        "monitor": result.monitor,
        "best": None if result.best is None else _trial_document(result.best),
        "trials": [_trial_document(trial) for trial in result.trials],
        "refit": [{"run": refit.run, "value": refit.value} for refit in result.refits],
    }


def _trial_document(trial: TrialResult) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "state": trial.state,
        "value": trial.value,
        "params": trial.settings,
        "seconds": trial.seconds,
        "error": trial.error or None,
        "run": trial.run,
    }
