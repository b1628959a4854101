"""What a user reads: tables, notes and the next command."""

import math
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from glue_lit.tasks import TaskSpec, log_prefix


def console() -> Console:
    """Standard output, found anew each time, since tests and bars replace it."""
    return Console(highlight=False, soft_wrap=False)


def say(text: str) -> None:
    """Print a line as it is: nothing in it is taken for markup, and it is not wrapped."""
    console().print(escape(text), soft_wrap=True)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Print a table; every cell is shown as it is, columns named in ``right`` are right-aligned."""
    several = any("\n" in cell for row in rows for cell in row)
    table = Table(show_lines=several, title=escape(title), title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(escape(column), justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console().print(table)


def print_scores(title: str, task: TaskSpec, scores: Mapping[str, float]) -> None:
    """Print every metric of an evaluation, the monitored one marked with a star."""
    rows = []
    for split in (*task.validation_splits, *task.test_splits):
        for name in (*task.metrics, "loss"):
            key = f"{log_prefix(split)}/{name}"
            if key in scores:
                rows.append((split, name + (" *" if key == task.monitor else ""), _figure(name, scores[key])))
    print_table(title, ("split", "metric", "value"), rows, right=("value",))
    if any(row[2] == "undefined" for row in rows):
        say("A correlation is undefined where all predictions (or all gold scores) are the same.")
    if any(row[2] == "nan" for row in rows):
        say("A loss that is not a number (nan): the model has diverged.")


def _figure(name: str, value: float) -> str:
    if math.isnan(value):
        return "nan" if name == "loss" else "undefined"
    return f"{value:.6f}"
