"""What suites have come to, as they wrote it down, and what others have published of such models."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glue_lit.errors import RunError
from glue_lit.evaluation.formulas import TITLES
from glue_lit.evaluation.glue_average import Figure
from glue_lit.evaluation.report.published_scores import PUBLISHED, published_for
from glue_lit.system.files import read_json
from glue_lit.tasks.glue import TASKS

RESULTS = "results.json"
Key = tuple[str, str]  # a task and a metric of it


@dataclass(frozen=True)
class Series:
    """What one model has come to in one suite.

    Attributes:
        name: Of the model; with the suite's, where several are shown.
        figures: Mean and spread over seeds, times 100.
        majority: Accuracy of the commonest label, where that was given in place of a training, times 100.
        average: The GLUE average, if the suite has one.
        seconds: Of training, by task.
    """

    name: str
    figures: dict[Key, Figure]
    majority: dict[Key, float]
    average: Figure | None
    seconds: dict[str, float]


@dataclass(frozen=True)
class SuiteReport:
    """One suite, or several side by side.

    Attributes:
        title: The suites' names.
        series: Models, in order.
        keys: Tasks and metrics that any of them has, in GLUE's order.
        published: By model, what others report.
    """

    title: str
    series: list[Series]
    keys: list[Key]
    published: dict[str, dict[Key, float]]


def suite_report(folders: Sequence[Path]) -> SuiteReport:
    """Read the results of suites.

    Raises:
        RunError: They cannot be read, or hold no figure.
    """
    series = []
    for folder in folders:
        record = _record(folder / RESULTS)
        try:
            for model, found in record["models"].items():
                name = _short(model) if len(folders) == 1 else f"{folder.name}: {_short(model)}"
                series.append(_series(name, found))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise RunError(f"{folder / RESULTS} is not what a suite writes; run the suite again to write it.") from None
    order = list(TASKS)
    known = {key: None for one in series for key in (*one.figures, *one.majority)}
    keys = sorted(known, key=lambda key: order.index(key[0]))
    if not keys:
        raise RunError(f"{', '.join(map(str, folders))}: no training of the suite has ended, so nothing can be shown.")
    names = [model for folder in folders for model in _record(folder / RESULTS)["models"]]
    published = {name: {k: PUBLISHED[name][k] for k in keys if k in PUBLISHED[name]} for name in published_for(names)}
    title = ", ".join(folder.resolve().name for folder in folders)
    return SuiteReport(title, series, keys, {name: found for name, found in published.items() if found})


def metric_title(metric: str) -> str:
    """A metric as a reader knows it; of MNLI with the split."""
    split, _, name = metric.rpartition("/")
    title = TITLES.get(name, name)
    return f"{title}, {split.removeprefix('val_')}" if split else title


def suite_numbers(report: SuiteReport) -> dict[str, Any]:
    """The report for scripts."""

    def named(values: dict[Key, Any]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for (task, metric), value in values.items():
            found.setdefault(task, {})[metric] = value
        return found

    return {
        "suite": report.title,
        "models": {
            one.name: {
                "scores": named({
                    key: {"mean": f.mean, "std": f.deviation, "seeds": f.count} for key, f in one.figures.items()
                }),
                "majority": named(dict(one.majority)),
                "average": None if one.average is None else one.average.mean,
                "wall_seconds": one.seconds,
            }
            for one in report.series
        },
        "published": {name: named(dict(found)) for name, found in report.published.items()},
    }  # fmt: skip


def _record(path: Path) -> dict[str, Any]:
    try:
        record = read_json(path)
    except (OSError, ValueError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else "it is no JSON"
        raise RunError(f"{path} cannot be read ({reason}); run the suite again to write it.") from None
    if not isinstance(record, dict) or not isinstance(record.get("models"), dict):
        raise RunError(f"{path} is not what a suite writes; run the suite again to write it.")
    return record


def _series(name: str, found: dict[str, Any]) -> Series:
    figures = {
        (_task(task), str(one["name"])): _figure(one) for task, several in found["tasks"].items() for one in several
    }
    majority = {(_task(task), "accuracy"): _number(value) for task, value in found["majority"].items()}
    average = None if found["average"] is None else _figure(found["average"])
    return Series(name, figures, majority, average, {k: _number(v) for k, v in found["wall_seconds"].items()})


def _figure(values: dict[str, Any]) -> Figure:
    deviation = values["deviation"]
    spread = None if deviation is None else _number(deviation)
    return Figure(str(values["name"]), _number(values["mean"]), spread, int(values["count"]))


def _task(name: str) -> str:
    if name not in TASKS:
        raise ValueError(name)
    return name


def _number(value: Any) -> float:
    if not math.isfinite(number := float(value)):
        raise ValueError(value)
    return number


def _short(model: str) -> str:
    """A model's name without its owner or folder; of one called just `model` or `snapshot`, the folder's before it."""
    parts = [part for part in model.rstrip("/").split("/") if part]
    if len(parts) > 1 and parts[-1] == "model":
        return parts[-2].removeprefix("pkg:")
    return parts[-1] if parts else model
