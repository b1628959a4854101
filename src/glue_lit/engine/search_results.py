"""Results of a search: the table of trials, the best settings and the pictures."""

import csv
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from glue_lit.engine.search import Search
from glue_lit.engine.search_pictures import draw_search
from glue_lit.engine.search_space import settings_to_yaml
from glue_lit.system.console import duration, print_table, say
from glue_lit.system.files import open_atomic, write_text


def last_parts(keys: Iterable[str]) -> tuple[str, ...]:
    """The last part of each dotted key, e.g. ``learning_rate``."""
    return tuple(key.rpartition(".")[2] for key in keys)


def format_setting(value: Any) -> str:
    """Format a setting for a table."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def write_results(search: Search) -> None:
    """Write ``trials.csv``, ``best.yaml`` and the pictures into the search's folder."""
    with open_atomic(search.folder / "trials.csv") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["trial", "state", search.monitor, *search.space, "seconds", "error", "run"])
        table.writerows(_csv_row(search, trial) for trial in search.all_trials())
    if (best := search.best) is None:
        return
    header = (
        f"# The best of {len(search.all_trials())} trials (number {best.number}): {search.monitor} {best.value:.6f}\n"
        "# glue-lit fit --config configs/TASK.yaml --config THIS_FILE\n"
    )
    write_text(search.folder / "best.yaml", header + settings_to_yaml(best.params))
    with suppress(ImportError):  # pictures need more packages, and the search is complete without them
        draw_search(search)


def _csv_row(search: Search, trial: FrozenTrial) -> list[Any]:
    """A row of ``trials.csv``; a trial that did not finish has its last value there."""
    values = _as_json(search, trial)
    last = max(trial.intermediate_values.items(), default=(0, None))[1]
    run = values["run"] and Path(values["run"]).relative_to(search.folder)
    seconds = values["seconds"] and round(values["seconds"], 1)
    return [
        trial.number, values["state"], last if trial.value is None else trial.value,
        *(trial.params.get(key, "") for key in search.space), seconds, values["error"], run,
    ]  # fmt: skip


def results_as_json(search: Search) -> dict[str, Any]:
    """All trials and the best one, as values for JSON."""
    trials = {trial.number: _as_json(search, trial) for trial in search.all_trials()}
    return {
        "folder": str(search.folder),
        "monitor": search.monitor,
        "best": None if search.best is None else trials[search.best.number],
        "trials": list(trials.values()),
    }


def _as_json(search: Search, trial: FrozenTrial) -> dict[str, Any]:
    run = search.job(trial).run
    return {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        "value": trial.value,
        "params": trial.params,
        "seconds": _seconds(trial),
        "error": search.error_of(trial) or None,
        "run": run and str(run.path),
    }


def _seconds(trial: FrozenTrial) -> float | None:
    return None if trial.duration is None else trial.duration.total_seconds()


def print_best(search: Search) -> None:
    """Print the five best trials, and where all results are."""
    ranked = search.ranked_trials()
    if not ranked:
        say(f"No trial has finished; see {search.folder / 'trials.csv'}.")
        return
    rows = []
    for trial in ranked[:5]:
        params = (format_setting(trial.params.get(key, "")) for key in search.space)
        rows.append((str(trial.number), f"{trial.value:.4f}", *params, duration(_seconds(trial))))
    print_table("Best trials", ("trial", search.monitor, *last_parts(search.space), "time"), rows)
    say(f"Best        {search.folder / 'best.yaml'}")
    say(f"All         {search.folder / 'trials.csv'}, study.db (`optuna-dashboard sqlite:///study.db`), pictures.html")
