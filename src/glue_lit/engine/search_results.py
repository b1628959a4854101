"""Results of a search: the table of trials, the best settings and the pictures."""

import csv
import shlex
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from optuna.trial import FrozenTrial

from glue_lit.engine.search import Search
from glue_lit.engine.search_pictures import draw_search
from glue_lit.engine.search_space import settings_to_yaml
from glue_lit.engine.tune_result import TrialResult, TuneResult
from glue_lit.system.console import count_of
from glue_lit.system.files import open_atomic, short_path, write_text


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
    best_file = search.folder / "best.yaml"
    files = [shlex.quote(short_path(path)) for path in (search.base, best_file)]
    tried = count_of(len(search.all_trials()), "trial")
    header = (
        f"# Best of {tried} (number {best.number}): {search.monitor} {best.value:.6f}\n"
        f"# glue-lit fit --config {files[0]} --config {files[1]}\n"
    )
    write_text(best_file, header + settings_to_yaml(best.params))
    with suppress(ImportError):  # pictures need optional packages, and the search is complete without them
        draw_search(search)


def _csv_row(search: Search, trial: FrozenTrial) -> list[Any]:
    """A row of ``trials.csv``, with the last value of a trial that did not finish."""
    found = _trial_result(search, trial)
    last = max(trial.intermediate_values.items(), default=(0, None))[1]
    return [
        found.number, found.state, last if found.value is None else found.value,
        *(found.settings.get(key, "") for key in search.space), found.seconds and round(found.seconds, 1), found.error,
        found.run and found.run.relative_to(search.folder),
    ]  # fmt: skip


def search_result(search: Search) -> TuneResult:
    """The result of a search so far."""
    trials = {trial.number: _trial_result(search, trial) for trial in search.all_trials()}
    ranked = tuple(trials[trial.number] for trial in search.ranked_trials())
    return TuneResult(search.folder, search.monitor, tuple(trials.values()), ranked)


def _trial_result(search: Search, trial: FrozenTrial) -> TrialResult:
    run = search.job(trial).run
    return TrialResult(
        trial.number,
        trial.state.name.lower(),
        trial.value,
        {key: trial.params[key] for key in search.space if key in trial.params},
        None if trial.duration is None else trial.duration.total_seconds(),
        search.error_of(trial),
        None if run is None else run.path,
    )
