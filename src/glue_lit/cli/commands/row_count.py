"""A counter of the rows that are done, on a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text


@contextmanager
def row_count(hidden: bool) -> Iterator[Any]:
    """A line on standard error that counts rows, if it is a terminal and the rows themselves do not show."""
    console = Console(stderr=True)
    if hidden or not console.is_terminal:  # where rich before 14.3 would print an empty line at the end
        yield lambda count: None
        return
    columns = (TextColumn("{task.completed:,.0f} rows"), _Speed(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=None)
        yield lambda count: progress.update(bar, completed=count)


class _Speed(ProgressColumn):
    """Rows per second, once it can be measured."""

    def render(self, task: Task) -> Text:
        """The speed of ``task``."""
        return Text(f"{task.speed:,.0f} rows/s" if task.speed is not None else "")
