"""Find runs below a folder; get state, task, model and score of each, reading as little as possible."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from glue_lit.errors import RunError
from glue_lit.runs.last_position import read_last_position
from glue_lit.runs.locks import is_locked
from glue_lit.runs.reading import read_record, read_run_config
from glue_lit.runs.run import Run, is_version
from glue_lit.tasks.custom import parse_custom_task, resolve_task
from glue_lit.tasks.glue import TASKS, monitor_mode

State = Literal["running", "finished", "interrupted", "damaged"]


@dataclass(frozen=True)
class RunFacts:
    """Facts about a run.

    Attributes:
        path: Its directory.
        state: ``running`` if a process holds its lock, else ``damaged`` if one of its files is, else ``finished`` if
            it has final metrics, else ``interrupted``.
        problem: What is wrong, e.g. ``damaged metrics.json``; empty if nothing is.
        name: The name that ``--name`` gave it.
        task: ``data.task``, else the name of the folder above its directory.
        model: ``model.name_or_path``.
        monitor: Logged name of the metric that picks the best checkpoint.
        mode: ``max`` or ``min``: which value of the monitor is best.
        started: When it was last started or resumed, in seconds since 1970.
        record: Content of ``metrics.json``; empty without one.
        step: Optimizer steps of the last checkpoint of an interrupted run.
        epoch: Epoch of that checkpoint, from 1.
    """

    path: Path
    state: State
    problem: str = ""
    name: str | None = None
    task: str | None = None
    model: str | None = None
    monitor: str | None = None
    mode: str = "max"
    started: float | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    step: int | None = None
    epoch: int | None = None

    @property
    def best(self) -> float | None:
        """The best value of the monitor; ``None`` if it is unknown or undefined."""
        return finite_number(_section(self.record, "metrics").get(self.monitor or ""))


def read_facts(run: Run) -> RunFacts:
    """Read the facts about a run."""
    record, problem = {}, ""
    try:
        record = read_record(run)
    except RunError as error:
        problem = str(error)
    # The record of a finished run includes the configuration as JSON, which is read forty times as fast.
    config, started, config_problem = _config(run, needed=not _section(record, "config"))
    config = config or _section(record, "config")
    problem = config_problem or problem
    data, model, checkpoint = (_section(config, name) for name in ("data", "model", "checkpoint"))
    task = _text(record.get("task")) or _text(data.get("task")) or run.path.absolute().parent.name
    monitor = _text(record.get("monitor")) or _text(checkpoint.get("monitor"))
    own, own_mode = _own_monitor(task, data, monitor)
    mode = record.get("mode") or checkpoint.get("mode")
    state: State = "running" if is_locked(run) else "damaged" if problem else "finished" if record else "interrupted"
    epoch, step = read_last_position(run.checkpoints / "last.ckpt") if state == "interrupted" else (None, None)
    return RunFacts(
        path=run.path,
        state=state,
        problem=problem,
        name=_text(config.get("name")),
        task=task,
        model=_text(record.get("model")) or _text(model.get("name_or_path")),
        monitor=monitor or own,
        mode=mode if mode in ("max", "min") else own_mode,
        started=started,
        record=record,
        step=step,
        epoch=epoch,
    )


def _section(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = values.get(key)
    return found if isinstance(found, dict) else {}


def _text(value: Any) -> str | None:
    """A text or a number as text, since YAML reads a task called 2024 as a number; ``None`` for other values."""
    return str(value) if isinstance(value, str | int | float) and value != "" else None


def _own_monitor(task: str, data: Mapping[str, Any], monitor: str | None) -> tuple[str | None, str]:
    """The metric that picks the best checkpoint of a task, ``None`` for an unknown one, and the mode of ``monitor``."""
    try:
        known = task in TASKS and not data.get("metrics")
        spec = TASKS[task] if known else resolve_task(task, parse_custom_task(data.get("custom")), data.get("metrics"))
        return spec.monitor, monitor_mode(monitor or spec.monitor, spec)
    except Exception:  # a configuration edited by hand can raise anything
        return None, monitor_mode(monitor or "")


def _config(run: Run, needed: bool) -> tuple[Mapping[str, Any], float | None, str]:
    """Read the configuration if it is needed, the time it was written, and what is wrong with it."""
    try:
        status = run.config.stat()
        config = read_run_config(run) if needed or not status.st_size else {}
        return config, status.st_mtime, ""
    except RunError as error:
        return {}, status.st_mtime, str(error)
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError)
        folder = _stat(run.path)
        problem = f"no {run.config.name}" if is_missing else f"unreadable ({error.strerror})"
        return {}, None if folder is None else folder.st_mtime, problem


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def finite_number(value: Any) -> float | None:
    """The value if it is a finite number, else ``None``."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # an integer of hundreds of digits
        return None


def find_all_runs(folder: Path, nested: bool = False) -> tuple[list[Run], list[str]]:
    """Runs below a folder, sorted by path, and a line for each folder that cannot be read.

    Args:
        folder: Folder of logs, such as ``lightning_logs``, or of a task.
        nested: Whether to search deeper than task folders, for the runs of `tune` and `suite`.
    """
    runs, unreadable = [], []
    seen: set[tuple[int, int]] = set()  # links may form a cycle
    level, depth = [folder], 0
    while level:
        below: list[Path] = []
        for place in level:
            try:
                inner = _folders(place)
            except OSError as error:
                unreadable.append(f"{place} cannot be read ({error.strerror}).")
                continue
            for path in inner:
                if (status := _stat(path)) is not None:
                    if (status.st_dev, status.st_ino) in seen:
                        continue
                    seen.add((status.st_dev, status.st_ino))
                if is_version(path) and _is_run(path):
                    runs.append(Run(path))
                elif depth == 0 or nested:
                    below.append(path)
        level, depth = below, depth + 1
    return sorted(runs, key=lambda run: run.path), unreadable


def _folders(place: Path) -> list[Path]:
    """Folders in a folder, links last, so that a run is listed under its own path and not a link's."""
    with os.scandir(place) as entries:
        found = sorted((entry.is_symlink(), entry.path) for entry in entries if _is_folder(entry))
    return [Path(path) for _, path in found]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return is_version(Path(entry.name))


def _is_run(path: Path) -> bool:
    """Whether a directory has a file of a run, or cannot be searched for one."""
    run = Run(path)
    for part in (run.config, run.metrics, run.checkpoints):
        try:
            part.stat()
            return True
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return True
    return False
