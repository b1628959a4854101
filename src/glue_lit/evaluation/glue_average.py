"""Scores of a suite: mean and spread of each task, and the GLUE average by the benchmark's own rule."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glue_lit.tasks.glue import TASKS, TaskSpec, log_prefix, monitor_mode

# Tasks that are trained and averaged: not a diagnostic set, nor a second task on the same rows of the Hub.
GLUE = tuple(name for name, task in TASKS.items() if task.monitored_split is not None and name == task.hub_name)


@dataclass(frozen=True)
class Figure:
    """A metric over several seeds."""

    name: str  # of the metric, prefixed with the split if the task has several
    mean: float  # times 100 for metrics of 1 at most
    deviation: float | None  # sample standard deviation (n - 1), times 100 as well; `None` for one seed
    count: int  # number of seeds

    def __str__(self) -> str:
        spread = "" if self.deviation is None else f" ± {self.deviation:.2f}"
        return f"{self.mean:.2f}{spread}"


def metric_names(task: TaskSpec) -> tuple[str, ...]:
    """Logged names of a task's metrics on its validation splits."""
    return tuple(f"{log_prefix(split)}/{name}" for split in task.validation_splits for name in task.metrics)


def task_score(task: TaskSpec, metrics: Mapping[str, float | None]) -> float | None:
    """A run's score for the average, where 1 is perfect; ``None`` if a metric is undefined.

    It is the unweighted mean of the metrics that GLUE names, on both splits for MNLI (Wang et al. 2019, "GLUE", section
    3); of a task of the user's own the first metric, negative if lower is better.
    """
    if task.name not in TASKS:
        value = metrics.get(task.monitor)
        return value if value is None or monitor_mode(task.monitor, task) == "max" else -value
    values = [metrics.get(name) for name in metric_names(TASKS[task.name])]
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def figure(name: str, values: Sequence[float], factor: float = 100) -> Figure:
    """Mean and spread of a metric's values, times 100 (or another factor)."""
    deviation = factor * statistics.stdev(values) if len(values) > 1 else None
    return Figure(name, factor * statistics.fmean(values), deviation, len(values))


def task_figures(task: TaskSpec, results: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """Every metric of a task over its runs, times 100 if it is 1 at most, else as it is.

    An undefined value counts as 0, as in the benchmark; if lower is better, where 0 is best, it is left out.
    """
    found = []
    for name in metric_names(task):
        short = name.rpartition("/")[2]
        metric = task.metric(short)
        values = [result["metrics"].get(name) for result in results]
        known = [value or 0.0 for value in values if value is not None or not metric.lower_is_better]
        if known:
            shown = name if len(task.validation_splits) > 1 else short
            found.append(figure(shown, known, 100 if metric.spec.high == 1 else 1))
    return found


def glue_average(scores: Mapping[str, Sequence[float]], left_out: Sequence[str] = ()) -> Figure | None:
    """The macro-average over all tasks; ``None`` if a task or some of its seeds are missing.

    Args:
        scores: For each task, the score of each seed, seeds in the same order.
        left_out: Tasks that do not count.
    """
    by_task = [scores.get(task, ()) for task in GLUE if task not in left_out]
    if not all(by_task) or len({len(of_task) for of_task in by_task}) != 1:
        return None
    return figure("average", [statistics.fmean(of_seed) for of_seed in zip(*by_task, strict=True)])
