"""``glue-lit tasks``: the table of tasks."""

import sys
from typing import Any

from glue_lit.cli.commands.flags import Flags
from glue_lit.system.console import print_json, print_table, say
from glue_lit.tasks.glue import TASKS, TaskSpec


def main() -> None:
    """Print a line for each task."""
    flags = Flags("glue-lit tasks", description="List the tasks of GLUE.", allow_abbrev=False)
    flags.add_argument("--json", action="store_true", help="print JSON, for scripts")
    if flags.parse_args(sys.argv[2:]).json:
        print_json([_as_json(spec) for spec in TASKS.values()])
        return
    columns = ("task", "inputs", "labels", "metrics", "train\nvalidation\ntest")
    print_table("GLUE tasks", columns, [_row(spec) for spec in TASKS.values()])
    say("* picks the checkpoint. Sizes are those of the official download.")
    say("A task of your own: --data.task NAME --data.source FILE --data.custom.text COLUMN --data.custom.label COLUMN")
    say("An example, whose data come with glue-lit: glue-lit fit --config custom")


def _row(task: TaskSpec) -> tuple[str, ...]:
    """The cells of a task, one item per line, so that the table fits 80 columns."""
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


def _as_json(task: TaskSpec) -> dict[str, Any]:
    return {
        "task": task.name,
        "title": task.title,
        "inputs": task.text_columns,
        "labels": task.labels,
        "score_range": task.score_range,
        "metrics": task.metrics,
        "monitor": task.monitor if task.monitored_split is not None else None,
        "rows": {split: file.rows for split, file in task.files.items()},
    }
