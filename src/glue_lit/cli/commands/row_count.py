"""A counter of the rows that are done."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

_EVERY = 30.0  # seconds between two lines where there is no terminal


@contextmanager
def row_count(hidden: bool) -> Iterator[Any]:
    """A line on standard error that counts rows, unless the rows show; without a terminal, a line every 30 seconds."""
    console = Console(stderr=True)
    if hidden:
        yield lambda count: None
        return
    if not console.is_terminal:  # where rich before 14.3 would print an empty line at the end
        yield _lines()
        return
    columns = (TextColumn("{task.completed:,.0f} rows"), _Speed(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=None)
        yield lambda count: progress.update(bar, completed=count)


def _lines() -> Callable[[int], None]:
    said = time.monotonic()

    def advance(count: int) -> None:
        nonlocal said
        if time.monotonic() - said >= _EVERY:
            print(f"{count:,} rows so far", file=sys.stderr, flush=True)
            said = time.monotonic()

    return advance


class _Speed(ProgressColumn):
    """Rows per second, once it can be measured."""

    def render(self, task: Task) -> Text:
        """The speed of ``task``."""
        return Text(f"{task.speed:,.0f} rows/s" if task.speed is not None else "")
