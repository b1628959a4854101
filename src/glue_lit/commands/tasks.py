"""``glue-lit tasks``: the table of tasks."""

import argparse
import sys

from glue_lit.console import print_table, say
from glue_lit.tasks import TASKS, TaskSpec


def main() -> None:
    """Print a line for each task."""
    parser = argparse.ArgumentParser("glue-lit tasks", description="List the tasks of GLUE.")
    parser.parse_args(sys.argv[2:])
    columns = ("task", "inputs", "labels", "metrics", "train / validation / test")
    print_table("GLUE tasks", columns, [_row(spec) for spec in TASKS.values()])
    say("* picks the checkpoint. Sizes are those of the official download.")


def _row(task: TaskSpec) -> tuple[str, ...]:
    low, high = task.score_range or (0, 0)
    labels = ", ".join(task.labels) or f"score {low:g} to {high:g}"
    metrics = ", ".join(
        name + ("*" if name == task.metrics[0] and task.monitored_split else "") for name in task.metrics
    )
    if len(task.validation_splits) > 1 and task.monitored_split:
        metrics += f" ({task.monitored_split.removeprefix('validation_')})"
    sizes = [
        " + ".join(f"{file.rows:,}" for split, file in task.files.items() if split.startswith(kind)) or "-"
        for kind in ("train", "validation", "test")
    ]
    return (task.name, ", ".join(task.text_columns), labels, metrics, " / ".join(sizes))
