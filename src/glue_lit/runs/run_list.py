"""`list_runs`: the runs below a folder, chosen and sorted."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from glue_lit.runs.listing import RunFacts, State, find_all_runs, read_facts
from glue_lit.runs.run import version_of
from glue_lit.tasks.glue import TASKS


@dataclass(frozen=True)
class RunList:
    """The runs below a folder.

    Attributes:
        runs: The wanted ones, in order.
        found: All of them.
        unreadable: A line for each folder that cannot be read.
    """

    runs: tuple[RunFacts, ...]
    found: tuple[RunFacts, ...]
    unreadable: tuple[str, ...]


def list_runs(
    folder: Path,
    *,
    task: str | None = None,
    model: str | None = None,
    state: State | None = None,
    sort: Literal["metric", "date"] = "metric",
    limit: int | None = None,
    nested: bool = False,
) -> RunList:
    """Find runs and read the facts about them; a folder that does not exist has none.

    Args:
        folder: Folder of logs, such as ``lightning_logs``, or of a task.
        task: Only runs of this task.
        model: Only runs whose model's name contains this text, in any case.
        state: Only runs in this state.
        sort: ``metric``: by task, the best first; ``date``: the newest first.
        limit: Only the first ones.
        nested: Include the runs of `tune` and `suite`.
    """
    paths, unreadable = find_all_runs(folder, nested) if os.path.isdir(folder) else ([], [])
    found = tuple(read_facts(run) for run in paths)
    wanted = [
        facts
        for facts in found
        if _is_wanted(task, facts.task)
        and _is_wanted(state, facts.state)
        and (model is None or model.casefold() in (facts.model or "").casefold())
    ]
    wanted.sort(key=_by_date if sort == "date" else _by_metric)
    return RunList(tuple(wanted[:limit]), found, tuple(unreadable))


def _is_wanted(asked: str | None, found: str | None) -> bool:
    return asked is None or found == asked


def _by_date(facts: RunFacts) -> tuple[float, int]:
    return -(facts.started or 0.0), -version_of(facts.path)


def _by_metric(facts: RunFacts) -> tuple[Any, ...]:
    """GLUE's tasks in their order, then others; within a task and metric the best first, runs without a score last."""
    place = list(TASKS).index(facts.task) if facts.task in TASKS else len(TASKS)
    best = 0.0 if facts.best is None else facts.best if facts.mode == "min" else -facts.best
    return place, facts.task or "", facts.monitor or "", facts.best is None, best, *_by_date(facts)
