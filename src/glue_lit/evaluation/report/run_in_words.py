"""Read a run's settings and record, and put them into words."""

import math
from collections.abc import Mapping
from typing import Any

from glue_lit.errors import RunError
from glue_lit.runs.config_file import check_config
from glue_lit.runs.config_values import read_config
from glue_lit.runs.reading import read_record
from glue_lit.runs.run import Run
from glue_lit.system import console
from glue_lit.tasks.custom import CustomTask, parse_custom_task, resolve_task
from glue_lit.tasks.glue import TaskSpec

Record = Mapping[str, Any]


def read_settings(run: Run) -> dict[str, Any]:
    """A run's configuration.

    Raises:
        UsageError: The file is not a configuration.
    """
    check_config(str(run.config))
    return dict(read_config(run.config.read_text(encoding="utf-8")))


def section(values: Record, *names: str) -> dict[str, Any]:
    """The mapping at nested keys; empty if there is none."""
    found: Any = values
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}


def task_in(settings: Record, run: Run, name: str | None = None) -> tuple[TaskSpec, CustomTask]:
    """The task of a run, or another one that it can predict.

    Raises:
        RunError: The configuration names no task.
        UsageError: There is no such task.
    """
    data = section(settings, "data")
    own = data.get("task")
    if not isinstance(own, str):
        raise RunError(f"{run.config}: data.task is {own!r}, which is not the name of a task.")
    try:
        custom = parse_custom_task(section(data, "custom"))
    except TypeError as error:
        raise RunError(f"{run.config}: data.custom does not describe a task ({error}).") from None
    if name is None or name == own:
        return resolve_task(own, custom, data.get("metrics")), custom
    return resolve_task(name, CustomTask()), CustomTask()


def read_record_notes(run: Run) -> tuple[Record, list[str]]:
    """Content of ``metrics.json``, empty for an unfinished fit, and what a reader must know about it."""
    try:
        record = read_record(run)
    except RunError as error:
        return {}, [f"metrics.json cannot be read ({error}), so time and device are unknown."]
    if not record:
        return {}, ["The fit was not finished: there is no metrics.json, so time and device are unknown."]
    found = section(record, "data").get("findings")
    described = [values for values in found if isinstance(values, Mapping)] if isinstance(found, list) else []
    return record, [f"In the data: {_describe_finding(values)}." for values in described if "what" in values]


def _describe_finding(values: Record) -> str:
    """A `Finding` of the fit in one line."""
    parts = [str(part) for name in ("count", "example") if (part := values.get(name))]
    return f"{values['what']}: {'; '.join(parts)}"


def outcome(record: Record) -> dict[str, str]:
    """Results of a finished fit other than its scores, by title: parameters, steps, time, device."""
    parameters, best, device, versions = (section(record, n) for n in ("parameters", "best", "device", "versions"))
    train = section(record, "data", "splits", "train")
    speed = record.get("train_samples_per_second")
    values = {
        "Parameters": _describe_parameters(parameters),
        "Model's commit": _short_hash(record.get("model_commit")),
        "Training rows": train.get("rows"),
        "Data's commit": _short_hash(train.get("commit")),
        "Hash of the training rows": _short_hash(train.get("hash")),
        "Best checkpoint": f"epoch {best.get('epoch')}, step {best.get('step')}" if best else None,
        "Time": duration(record.get("wall_seconds")),
        "Speed": f"{speed:,.0f} samples/s" if _is_number(speed) else None,
        "Device": _describe_device(device),
        "Versions": ", ".join(f"{n} {versions[n]}" for n in ("glue-lit", "torch", "transformers") if n in versions),
        "Git": _short_hash(section(record, "git").get("commit")),
    }
    return {
        title: f"{value:,}" if _is_number(value) else str(value)
        for title, value in values.items()
        if value not in (None, "")
    }


def _short_hash(value: Any) -> str | None:
    return str(value)[:12] if value else None


def duration(seconds: Any) -> str | None:
    """Seconds in words: ``2 h 05 min``, ``3 min 20 s``, ``12.5 s``."""
    if not _is_number(seconds) or seconds < 0:
        return None
    return console.duration(seconds) if seconds >= 60 else f"{seconds:.1f} s"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _describe_parameters(values: Record) -> str | None:
    total, trained = values.get("total"), values.get("trained")
    if not isinstance(total, int) or isinstance(total, bool):
        return None
    share = f" ({trained:,} trained)" if isinstance(trained, int) and trained < total else ""
    return f"{total / 1e6:.1f} M{share}" if total >= 1e6 else f"{total:,}{share}"


def _describe_device(values: Record) -> str | None:
    name, count = values.get("name") or values.get("type"), values.get("processes")
    return None if not name else f"{count} x {name}" if isinstance(count, int) and count > 1 else str(name)
