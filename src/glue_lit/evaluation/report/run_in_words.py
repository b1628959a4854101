"""What a run says of itself: its settings, its record, and both in words."""

import math
from collections.abc import Mapping
from typing import Any

import yaml

from glue_lit.errors import RunError
from glue_lit.runs.config_file import check_config
from glue_lit.runs.config_values import read_config
from glue_lit.runs.run import Run
from glue_lit.system.files import read_json
from glue_lit.tasks.custom import CustomTask, parse_custom_task, resolve_task
from glue_lit.tasks.glue import TaskSpec

Record = Mapping[str, Any]


def settings_of(run: Run) -> dict[str, Any]:
    """A run's configuration.

    Raises:
        UsageError: It is no configuration.
        RunError: It holds what is no plain value.
    """
    check_config(str(run.config))
    try:
        values = read_config(run.config.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise RunError(f"{run.config}: not a configuration ({' '.join(str(error).split())}).") from None
    return dict(values)


def section(values: Record, *names: str) -> dict[str, Any]:
    """A mapping below some keys; an empty one where there is none."""
    found: Any = values
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}


def task_in(settings: Record, run: Run, name: str | None = None) -> tuple[TaskSpec, CustomTask]:
    """The task of a run, or another one that it can predict.

    Raises:
        RunError: The configuration does not say.
        UsageError: There is no such task.
    """
    data = section(settings, "data")
    own = data.get("task")
    if not isinstance(own, str):
        raise RunError(f"{run.config}: data.task is {own!r}, which names no task.")
    try:
        custom = parse_custom_task(section(data, "custom"))
    except TypeError as error:
        raise RunError(f"{run.config}: data.custom is no description of a task ({error}).") from None
    if name is None or name == own:
        return resolve_task(own, custom), custom
    return resolve_task(name, CustomTask()), CustomTask()


def record_of(run: Run) -> tuple[dict[str, Any], list[str]]:
    """What ``metrics.json`` holds, and what is wrong with it; a fit that was stopped leaves none."""
    if not run.metrics.is_file():
        return {}, ["The fit was not finished: there is no metrics.json, so neither time nor device are known."]
    try:
        found = read_json(run.metrics)
        if isinstance(found, dict):
            return found, []
        what = "it is no JSON object"
    except (OSError, ValueError) as error:
        what = str(error)
    return {}, [f"metrics.json cannot be read ({what}), so neither time nor device are known."]


def outcome(record: Record) -> dict[str, str]:
    """What a finished fit says beside its scores: parameters, steps, time, device."""
    parameters, best, device = (section(record, name) for name in ("parameters", "best", "device"))
    versions, git = section(record, "versions"), section(record, "git")
    train = section(record, "data", "splits", "train")
    speed = record.get("train_samples_per_second")
    values = {
        "Parameters": _parameters(parameters),
        "Model's commit": _commit(record.get("model_commit")),
        "Training rows": train.get("rows"),
        "Data's commit": _commit(train.get("commit")),
        "Hash of the training rows": _commit(train.get("hash")),
        "Best checkpoint": f"epoch {best.get('epoch')}, step {best.get('step')}" if best else None,
        "Time": duration(record.get("wall_seconds")),
        "Speed": f"{speed:,.0f} samples/s" if _is_number(speed) else None,
        "Device": _device(device),
        "Versions": ", ".join(f"{n} {versions[n]}" for n in ("glue-lit", "torch", "transformers") if n in versions),
        "Git": _commit(git.get("commit")),
    }
    return {name: _words(value) for name, value in values.items() if value not in (None, "")}


def _commit(value: Any) -> str | None:
    """As much of a hash as tells it apart."""
    return str(value)[:12] if value else None


def duration(seconds: Any) -> str | None:
    """Seconds in words: ``2 h 05 min``, ``3 min 20 s``, ``12.5 s``."""
    if not _is_number(seconds) or seconds < 0:
        return None
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _parameters(values: Record) -> str | None:
    total, trained = values.get("total"), values.get("trained")
    if not _is_number(total) or not isinstance(total, int):
        return None
    share = f" ({trained:,} trained)" if isinstance(trained, int) and trained < total else ""
    return f"{total / 1e6:.1f} M{share}" if total >= 1e6 else f"{total:,}{share}"


def _device(values: Record) -> str | None:
    name, count = values.get("name") or values.get("type"), values.get("processes")
    return None if not name else f"{count} x {name}" if isinstance(count, int) and count > 1 else str(name)


def _words(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else f"{value}"
