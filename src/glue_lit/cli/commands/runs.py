"""``glue-lit runs``: all runs of a folder, best first, and some of them side by side."""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

from glue_lit.cli.commands.delete_runs import delete
from glue_lit.cli.commands.flags import Flags
from glue_lit.errors import RunError, UsageError, did_you_mean
from glue_lit.runs.differences import MISSING, Comparison, compare_runs, format_result, format_value
from glue_lit.runs.listing import RunFacts, State, find_all_runs, read_facts
from glue_lit.runs.run import LOGS, open_run
from glue_lit.runs.run_list import list_runs
from glue_lit.system.console import console, count_of, note, print_json, print_list


def _options(arguments: Sequence[str]) -> Any:
    flags = Flags(
        "glue-lit runs",
        description="List the runs below lightning_logs: by task, the best first. Or compare or delete some of them.",
        allow_abbrev=False,
    )
    flags.add_argument(
        "folder", nargs="?", type=Path, metavar="FOLDER", help="where lightning_logs lies, or such a folder itself"
    )
    flags.add_argument("--trainer.default_root_dir", dest="root", type=Path, help="where lightning_logs lies")
    flags.add_argument("--task", help="only runs of this task")
    flags.add_argument("--model", help="only runs whose model's name contains this text")
    flags.add_argument("--state", choices=get_args(State), help="only runs in this state")
    flags.add_argument(
        "--sort",
        choices=["metric", "date"],
        default="metric",
        help="metric: by task, the best first (default); date: the newest first",
    )
    flags.add_argument("--limit", type=int, metavar="N", help="only the first N of them")
    flags.add_argument("--all", dest="nested", action="store_true", help="include runs of `tune` and `suite`")
    flags.add_argument("--compare", nargs="+", type=Path, metavar="RUN", help="what differs between these runs")
    flags.add_argument("--delete", nargs="+", type=Path, metavar="RUN", help="delete these runs with their checkpoints")
    flags.add_argument("--yes", action="store_true", help="with --delete: do not ask")
    flags.add_argument("--json", action="store_true", help="print JSON, for scripts")
    options = flags.parse_args(arguments)
    _check(options, flags)
    return options


def _check(options: Any, flags: argparse.ArgumentParser) -> None:
    if options.limit is not None and options.limit < 1:
        raise UsageError(f"--limit: got {options.limit}, allowed: 1 or more.")
    if options.folder is not None and options.root is not None:
        raise UsageError("runs: a folder is given twice; leave FOLDER or --trainer.default_root_dir out.")
    if options.yes and options.delete is None:
        raise UsageError("--yes goes with --delete.")
    for mode, own in (("delete", ("yes", "json")), ("compare", ("json",))):
        others = [name for name, value in vars(options).items() if value != flags.get_default(name)]
        if getattr(options, mode) is not None and set(others).difference((mode, *own)):
            *first, last = ("runs", *(f"--{name}" for name in own))
            raise UsageError(
                f"--{mode} takes {', '.join(first)} and {last} only: leave the folder and the other flags out."
            )
    if options.compare is None:
        return
    if len(options.compare) < 2:
        raise UsageError(
            f"--compare: got 1 run ({options.compare[0]}), allowed: 2 or more. `glue-lit runs` lists them."
        )
    real = [os.path.realpath(path) for path in options.compare]
    if twice := [path for path, other in zip(options.compare, real, strict=True) if real.count(other) > 1]:
        raise UsageError(f"--compare: {twice[0]} is given twice; name each run once.")


def main() -> None:
    """Print the list or the comparison, or delete runs."""
    options = _options(sys.argv[2:])
    if options.compare is not None:
        _compare(options.compare, options.json)
        return
    if options.delete is not None:
        delete(options.delete, options.yes, options.json)
        return
    folder = _folder(options)
    listed = list_runs(
        folder, task=options.task, model=options.model, state=options.state, sort=options.sort, limit=options.limit,
        nested=options.nested,
    )  # fmt: skip
    if listed.unreadable and not listed.found:
        raise RunError(f"{listed.unreadable[0]} Choose another folder: `--trainer.default_root_dir DIR`.")
    for text in listed.unreadable:
        note(text)
    if options.json:
        print_json([_as_json(facts) for facts in listed.runs])
    elif listed.runs:
        _print(listed.runs, folder, by_task=options.sort == "metric")
    else:
        note(_nothing(listed.found, folder, options))


def _folder(options: Any) -> Path:
    """The requested folder of logs.

    Raises:
        RunError: One that was named is not there.
    """
    named = options.folder or options.root
    if named is None:
        return Path(LOGS)
    if not os.path.isdir(named):
        flag = "runs" if options.root is None else "--trainer.default_root_dir"
        raise RunError(f"{flag}: there is no directory {str(named)!r}. Name the one in which {LOGS} lies.")
    inside: Path = named / LOGS
    return inside if options.root is not None or os.path.isdir(inside) else named


def _nothing(runs: Sequence[RunFacts], folder: Path, options: Any) -> str:
    """A message on why nothing is listed, and what to do."""
    if runs:
        tasks = sorted({facts.task for facts in runs if facts.task})
        near = did_you_mean(options.task, tasks) if options.task and options.task not in tasks else ""
        total = count_of(len(runs), "run")
        return f"No run in {folder} matches ({total} in all).{near} Their tasks are: {', '.join(tasks)}."
    if not options.nested and os.path.isdir(folder) and (deeper := len(find_all_runs(folder, nested=True)[0])):
        return f"There is no run in {folder} itself; `--all` lists the {deeper} further down."
    return (
        f"There is no run in {folder}. Train one first, e.g. `glue-lit fit --config cola`, or say where "
        f"{LOGS} lies: `--trainer.default_root_dir DIR`."
    )


_COLUMNS = ("run", "name", "task", "model", "metric", "best", "started", "state")
_FEWER = ("run", "name", "best", "model", "started", "state")
_WIDE = 110  # columns of a terminal that fit the whole table


def _print(runs: Sequence[RunFacts], folder: Path, by_task: bool) -> None:
    rows = [_row(facts) for facts in runs]
    if not sys.stdout.isatty():
        _print_columns("", _COLUMNS, rows)
    elif by_task:  # task and metric stand above each table
        for group in dict.fromkeys((row[2], row[4]) for row in rows):
            _print_columns(", ".join(filter(None, group)), _FEWER, [row for row in rows if (row[2], row[4]) == group])
    else:
        columns = _COLUMNS if console().width >= _WIDE else _FEWER
        _print_columns(f"{count_of(len(runs), 'run')} in {folder}", columns, rows)


def _print_columns(title: str, columns: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:
    """Print some columns of the rows, that of the names only if a run has one."""
    shown = [column for column in columns if column != "name" or any(row[1] for row in rows)]
    print_list(title, shown, [tuple(row[_COLUMNS.index(column)] for column in shown) for row in rows], right=("best",))


def _row(facts: RunFacts) -> tuple[str, ...]:
    best = "" if facts.best is None else f"{facts.best:.4f}"
    started = _moment(facts.started)
    when = "" if started is None else f"{started:%Y-%m-%d %H:%M}"
    return (
        str(facts.path),
        facts.name or "",
        facts.task or "",
        facts.model or "",
        facts.monitor or "",
        best,
        when,
        _state(facts),
    )


def _state(facts: RunFacts) -> str:
    if facts.state == "damaged":
        return facts.problem
    return facts.state if facts.step is None else f"{facts.state}, step {facts.step}, epoch {facts.epoch}"


def _moment(seconds: float | None) -> datetime | None:
    """A local time; ``None`` if a file's time is out of range."""
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds).astimezone()
    except (OverflowError, ValueError, OSError):  # a disk can hold any number
        return None


def _as_json(facts: RunFacts) -> dict[str, Any]:
    started = _moment(facts.started)
    return {
        "run": facts.path,
        "name": facts.name,
        "task": facts.task,
        "model": facts.model,
        "monitor": facts.monitor,
        "mode": facts.mode,
        "best": facts.best,
        "metrics": facts.record.get("metrics"),
        "started": None if started is None else started.isoformat(timespec="seconds"),
        "state": facts.state,
        "problem": facts.problem or None,
        "step": facts.step,
        "epoch": facts.epoch,
    }


def _compare(paths: list[Path], as_json: bool) -> None:
    try:
        runs = [read_facts(open_run(path, "--compare")) for path in paths]
    except OSError as error:
        raise RunError(f"--compare: {error.filename} cannot be read ({error.strerror}).") from None
    found = compare_runs(runs)
    names = [str(path.absolute() if as_json else path) for path in paths]
    if as_json:
        sides = {"config": found.config, "results": found.results}
        print_json(
            {"runs": [_as_json(facts) for facts in runs]}
            | {
                side: {
                    key: {name: value for name, value in zip(names, row, strict=True) if value is not MISSING}
                    for key, row in rows.items()
                }
                for side, rows in sides.items()
            }
        )
        return
    _print_comparison(found, names)


def _print_comparison(found: Comparison, names: list[str]) -> None:
    for path, problem in found.problems.items():
        note(f"{path}: {problem}")
    title = f"{len(found.config)} of {found.settings} settings differ"
    config = [(key, *map(format_value, values)) for key, values in found.config.items()]
    if config:
        print_list(title, ("setting", *names), config)
        if not sys.stdout.isatty():
            print()
    else:
        note(f"{title}.")
    results = [(key, *map(format_result, values)) for key, values in found.results.items()]
    print_list("Results", ("result", *names), results)
