"""Results of suites, read from their files, beside published scores."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glue_lit.errors import RunError
from glue_lit.evaluation.formulas import as_metric
from glue_lit.evaluation.glue_average import Figure
from glue_lit.evaluation.report.published_scores import PUBLISHED, published_for
from glue_lit.system.files import read_json
from glue_lit.tasks.custom import check_task_name
from glue_lit.tasks.glue import TASKS
from glue_lit.tasks.metrics import METRICS

RESULTS = "results.json"
Key = tuple[str, str]  # a task and one of its metrics


@dataclass(frozen=True)
class Series:
    """Results of one model in one suite."""

    name: str  # of the model, prefixed with its suite if several are shown
    figures: dict[Key, Figure]  # times 100
    majority: dict[Key, float]  # accuracy of the most frequent label, times 100, for tasks that are not trained
    average: Figure | None  # GLUE average, if the suite has one
    seconds: dict[str, float]  # training time by task


@dataclass(frozen=True)
class SuiteReport:
    """One suite, or several side by side."""

    title: str  # names of the suites
    series: list[Series]
    keys: list[Key]  # those of all models, in GLUE's order
    has_glue_tasks: bool
    published: dict[str, dict[Key, float]]  # scores by model, times 100


def suite_report(folders: Sequence[Path]) -> SuiteReport:
    """Read the results of suites.

    Raises:
        RunError: A results file cannot be read, or no training has ended.
    """
    series: list[Series] = []
    models: list[str] = []
    for folder in folders:
        path = folder / RESULTS
        prefix = "" if len(folders) == 1 else f"{folder.name}: "
        try:
            found = dict(read_json(path)["models"])
            series += [_series(prefix + _short_name(model), results) for model, results in found.items()]
            models += found
        except OSError as error:
            raise RunError(
                f"{path} cannot be read ({error.strerror or error}); run the suite again to write it."
            ) from None
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise RunError(f"{path} is not a suite's results file; run the suite again to write it.") from None
    order = {task: place for place, task in enumerate(TASKS)}
    known = {key: None for one in series for key in (*one.figures, *one.majority)}
    keys = sorted(known, key=lambda key: order.get(key[0], len(order)))  # tasks of the user's own come last
    if not keys:
        raise RunError(f"{', '.join(map(str, folders))}: no training of the suite has ended, so nothing can be shown.")
    published = {name: {k: PUBLISHED[name][k] for k in keys if k in PUBLISHED[name]} for name in published_for(models)}
    title = ", ".join(folder.resolve().name for folder in folders)
    has_glue_tasks = any(task in TASKS for task, _ in keys)
    return SuiteReport(title, series, keys, has_glue_tasks, {name: found for name, found in published.items() if found})


def metric_title(metric: str) -> str:
    """Title of a metric; for MNLI with the split."""
    split, _, name = metric.rpartition("/")
    known = name in METRICS or name.partition("_")[2] in METRICS  # not one of torchmetrics, nor with parameters
    title = as_metric(name).title() if known else name
    return f"{title}, {split.removeprefix('val_')}" if split else title


def table(report: SuiteReport) -> tuple[list[str], list[list[str]]]:
    """Column names, and rows of task, metric and a cell for each model of the suites and each published model.

    Cells are mean ± standard deviation (n), or empty.
    """
    published = [f"{name}, published" for name in report.published]
    rows = [
        [key[0], metric_title(key[1]), *(_cell(one, key) for one in report.series),
         *(f"{found[key]:.2f}" if key in found else "" for found in report.published.values())]
        for key in report.keys
    ]  # fmt: skip
    return ["task", "metric", *(one.name for one in report.series), *published], rows


def _cell(one: Series, key: Key) -> str:
    if (figure := one.figures.get(key)) is not None:
        return f"{figure} (n {figure.count})"
    return f"{one.majority[key]:.2f} (most frequent label)" if key in one.majority else ""


def suite_values(report: SuiteReport) -> dict[str, Any]:
    """The report as plain values, for other programs."""

    def by_task(values: Mapping[Key, Any]) -> dict[str, dict[str, Any]]:
        return {task: {metric: value for (name, metric), value in values.items() if name == task} for task, _ in values}

    return {
        "suite": report.title,
        "models": {
            one.name: {
                "scores": by_task({
                    key: {"mean": f.mean, "std": f.deviation, "seeds": f.count} for key, f in one.figures.items()
                }),
                "majority": by_task(one.majority),
                "average": None if one.average is None else one.average.mean,
                "wall_seconds": one.seconds,
            }
            for one in report.series
        },
        "published": {name: by_task(found) for name, found in report.published.items()},
    }  # fmt: skip


def _series(name: str, found: dict[str, Any]) -> Series:
    figures = {
        (_task(task), str(one["name"])): _figure(one) for task, several in found["tasks"].items() for one in several
    }
    majority = {(_task(task), "accuracy"): _number(value) for task, value in found["majority"].items()}
    average = None if found["average"] is None else _figure(found["average"])
    return Series(name, figures, majority, average, {k: _number(v) for k, v in found["wall_seconds"].items()})


def _figure(values: dict[str, Any]) -> Figure:
    spread = None if values["deviation"] is None else _number(values["deviation"])
    return Figure(str(values["name"]), _number(values["mean"]), spread, int(values["count"]))


def _task(name: str) -> str:
    if name not in TASKS:
        check_task_name(name)  # another name can come only from a damaged file
    return name


def _number(value: Any) -> float:
    if not math.isfinite(number := float(value)):
        raise ValueError(value)
    return number


def _short_name(model: str) -> str:
    """A model's name without its owner or folder; for one called just `model`, its folder's name."""
    parts = [part for part in model.rstrip("/").split("/") if part]
    if len(parts) > 1 and parts[-1] == "model":
        return parts[-2].removeprefix("pkg:")
    return parts[-1] if parts else model
