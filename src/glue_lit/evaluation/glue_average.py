"""What a suite of runs comes to: mean and spread of each task, and the GLUE average by the benchmark's own rule."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glue_lit.tasks.glue import TASKS, TaskSpec, log_prefix

# Those that are trained; the others are rows for them, or look at the same rows in another way.
GLUE = tuple(name for name, task in TASKS.items() if task.monitored_split is not None and name == task.hub_name)


@dataclass(frozen=True)
class Figure:
    """A metric over several seeds.

    Attributes:
        name: Of the metric, without the split where there is one only.
        mean: Times 100.
        deviation: Standard deviation of the seeds (with n - 1), times 100; ``None`` for one seed.
        count: Number of seeds.
    """

    name: str
    mean: float
    deviation: float | None
    count: int

    def __str__(self) -> str:
        spread = "" if self.deviation is None else f" ± {self.deviation:.2f}"
        return f"{self.mean:.2f}{spread}"


def metric_names(task: TaskSpec) -> tuple[str, ...]:
    """Logged names of a task's metrics on its validation splits."""
    return tuple(f"{log_prefix(split)}/{name}" for split in task.validation_splits for name in task.metrics)


def task_score(task: TaskSpec, metrics: Mapping[str, float | None]) -> float | None:
    """A run's score for the average, from 0 to 1: the mean of the task's metrics, of both splits for MNLI.

    Wang et al. 2019, "GLUE", section 3: for tasks with several metrics, their unweighted mean. ``None`` if one of them
    is undefined.
    """
    values = [metrics.get(name) for name in metric_names(task)]
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def figure(name: str, values: Sequence[float]) -> Figure:
    """Mean and spread of values from 0 to 1."""
    deviation = 100 * statistics.stdev(values) if len(values) > 1 else None
    return Figure(name, 100 * statistics.fmean(values), deviation, len(values))


def task_figures(task: TaskSpec, results: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """Every metric of a task over its runs; undefined ones count as 0, as the benchmark counts a collapsed model."""
    names = metric_names(task)
    several = len(task.validation_splits) > 1
    return [
        figure(name if several else name.rpartition("/")[2], [result["metrics"].get(name) or 0.0 for result in results])
        for name in names
    ]


def glue_average(scores: Mapping[str, Sequence[float]], left_out: Sequence[str] = ()) -> Figure | None:
    """The macro-average over all tasks; ``None`` where one is missing, since that would be no GLUE average.

    Args:
        scores: Of each task, by seed in the same order, from 0 to 1.
        left_out: Tasks that do not count.
    """
    tasks = [task for task in GLUE if task not in left_out]
    if any(not scores.get(task) for task in tasks):
        return None
    counts = {len(scores[task]) for task in tasks}
    if len(counts) > 1:  # some seeds are not there yet
        return None
    return figure("average", [statistics.fmean(scores[task][n] for task in tasks) for n in range(counts.pop())])
