"""Scores of a suite: mean and spread of each task, and the GLUE average by the benchmark's own rule."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glue_lit.tasks.glue import TASKS, TaskSpec, log_prefix

# Tasks that are trained and averaged: not a diagnostic set, nor a second task on the same rows of the Hub.
GLUE = tuple(name for name, task in TASKS.items() if task.monitored_split is not None and name == task.hub_name)


@dataclass(frozen=True)
class Figure:
    """A metric over several seeds."""

    name: str  # of the metric, prefixed with the split if the task has several
    mean: float  # times 100
    deviation: float | None  # sample standard deviation (n - 1), times 100; `None` for one seed
    count: int  # number of seeds

    def __str__(self) -> str:
        spread = "" if self.deviation is None else f" ± {self.deviation:.2f}"
        return f"{self.mean:.2f}{spread}"


def metric_names(task: TaskSpec) -> tuple[str, ...]:
    """Logged names of a task's metrics on its validation splits."""
    return tuple(f"{log_prefix(split)}/{name}" for split in task.validation_splits for name in task.metrics)


def task_score(task: TaskSpec, metrics: Mapping[str, float | None]) -> float | None:
    """A run's score for the average, where 1 is perfect; ``None`` if a metric is undefined.

    It is the unweighted mean of the task's metrics, on both splits for MNLI (Wang et al. 2019, "GLUE", section 3).
    """
    values = [metrics.get(name) for name in metric_names(task)]
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def figure(name: str, values: Sequence[float]) -> Figure:
    """Mean and spread of a metric's values, times 100."""
    deviation = 100 * statistics.stdev(values) if len(values) > 1 else None
    return Figure(name, 100 * statistics.fmean(values), deviation, len(values))


def task_figures(task: TaskSpec, results: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """Every metric of a task over its runs; an undefined value counts as 0, as in the benchmark."""
    names = metric_names(task)
    several = len(task.validation_splits) > 1
    return [
        figure(name if several else name.rpartition("/")[2], [result["metrics"].get(name) or 0.0 for result in results])
        for name in names
    ]


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
