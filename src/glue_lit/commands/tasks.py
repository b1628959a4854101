"""``glue-lit tasks``: the table of tasks."""

import argparse
import sys

from glue_lit.console import print_table, say
from glue_lit.tasks import TASKS, TaskSpec


def main() -> None:
    """Print a line for each task."""
    parser = argparse.ArgumentParser("glue-lit tasks", description="List the tasks of GLUE.")
    parser.parse_args(sys.argv[2:])
    columns = ("task", "inputs", "labels", "metrics", "train\nvalidation\ntest")
    print_table("GLUE tasks", columns, [_row(spec) for spec in TASKS.values()])
    say("* picks the checkpoint. Sizes are those of the official download.")
    say("A task of your own, on your own file: see configs/custom.yaml")


def _row(task: TaskSpec) -> tuple[str, ...]:
    """The cells of a task, an item a line, so that the table fits 80 columns."""
    low, high = task.score_range or (0, 0)
    labels = task.labels or (f"score {low:g} to {high:g}",)
    metrics = list(task.metrics)
    if task.monitored_split is not None:
        metrics[0] += "*"
        if len(task.validation_splits) > 1:
            metrics.append(f"*{task.monitored_split.removeprefix('validation_')}")
    sizes = [
        "+".join(f"{file.rows:,}" for split, file in task.files.items() if split.startswith(kind)) or "-"
        for kind in ("train", "validation", "test")
    ]
    return (task.name, *("\n".join(cell) for cell in (task.text_columns, labels, metrics, sizes)))
