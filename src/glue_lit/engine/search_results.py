"""What a search has found: the table of trials, the best settings and the pictures."""

import csv
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from glue_lit.engine.search import Search
from glue_lit.engine.search_pictures import draw_search
from glue_lit.engine.search_space import settings_to_yaml
from glue_lit.system.console import duration, print_table, say
from glue_lit.system.files import open_atomic, write_text


def last_parts(keys: Iterable[str]) -> tuple[str, ...]:
    """The last parts of dotted keys."""
    return tuple(key.rpartition(".")[2] for key in keys)


def format_setting(value: Any) -> str:
    """A setting as tables show it."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def write_results(search: Search) -> None:
    """Write trials.csv, best.yaml and the pictures into the search's folder."""
    with open_atomic(search.folder / "trials.csv") as file:
        columns = ["trial", "state", search.monitor, *search.space, "seconds", "error", "run"]
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        for trial in search.all():
            job = search.job(trial)
            last = max(trial.intermediate_values.items(), default=(0, None))[1]
            value = trial.value if trial.value is not None else last
            seconds = round(trial.duration.total_seconds(), 1) if trial.duration is not None else ""
            run = job.run.path.relative_to(search.folder) if job.run is not None else ""
            params = [trial.params.get(key, "") for key in search.space]
            table.writerow(
                [trial.number, trial.state.name.lower(), value, *params, seconds, search.error_of(trial), run]
            )
    if search.best is None:
        return
    best = search.best
    header = (
        f"# The best of {len(search.all())} trials (number {best.number}): {search.monitor} {best.value:.6f}\n"
        "# glue-lit fit --config configs/TASK.yaml --config THIS_FILE\n"
    )
    write_text(search.folder / "best.yaml", header + settings_to_yaml(best.params))
    with suppress(ImportError):  # pictures need more packages, and are no reason to fail
        draw_search(search)


def results_as_json(search: Search) -> dict[str, Any]:
    """What a search has found, for scripts: all trials, and which is the best."""
    trials = []
    for trial in search.all():
        run = search.job(trial).run
        trials.append(
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                "value": trial.value,
                "params": trial.params,
                "seconds": trial.duration.total_seconds() if trial.duration is not None else None,
                "error": search.error_of(trial) or None,
                "run": run and str(run.path),
            }
        )
    best = search.best
    return {
        "folder": str(search.folder),
        "monitor": search.monitor,
        "best": next((trial for trial in trials if best is not None and trial["trial"] == best.number), None),
        "trials": trials,
    }


def print_best(search: Search) -> None:
    """Print the five best trials and where the rest is."""
    done = sorted(
        (t for t in search.all() if t.state.name == "COMPLETE"),
        key=lambda t: float(t.value or 0),
        reverse=search.higher_is_better,
    )
    if not done:
        say(f"No trial has come to its end; see {search.folder / 'trials.csv'}.")
        return
    rows = [
        (str(t.number), f"{t.value:.4f}", *(format_setting(t.params.get(key, "")) for key in search.space),
         duration(t.duration.total_seconds() if t.duration is not None else None))
        for t in done[:5]
    ]  # fmt: skip
    print_table("Best trials", ("trial", search.monitor, *last_parts(search.space), "time"), rows)
    say(f"Best        {search.folder / 'best.yaml'}")
    say(f"All         {search.folder / 'trials.csv'}, study.db (`optuna-dashboard sqlite:///study.db`), pictures.html")
