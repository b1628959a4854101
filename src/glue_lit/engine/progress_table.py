"""What a user sees while many trainings run: a live table on a terminal, a line for each event elsewhere."""

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from glue_lit.engine.job import Job, Progress
from glue_lit.system.console import duration

Row = tuple[str, ...]
_EVERY = 1.0  # seconds between two pictures of the table


class ProgressTable:
    """A table of the running trainings under what has happened so far.

    Args:
        columns: Of the table, besides how far each training is.
        row: The cells of a training.
        summary: A line on the whole.
    """

    def __init__(self, columns: Row, row: Callable[[Job, Progress], Row], summary: Callable[[], str]) -> None:
        self._columns, self._row, self._summary = columns, row, summary
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._shown = 0.0
        self._started: dict[str, tuple[float, float]] = {}  # when a training was first seen, and how far it was

    def __enter__(self) -> "ProgressTable":
        """Begin the table, where someone looks on."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Take the table away; what was said stays."""
        if self._console.is_terminal:
            self._live.stop()

    def event(self, text: str) -> None:
        """Say that something has happened."""
        self._console.print(escape(text), soft_wrap=True)

    def show(self, running: list[tuple[Job, Progress]]) -> None:
        """Show how far the running trainings have come."""
        now = time.monotonic()
        for job, progress in running:
            self._started.setdefault(job.name, (now, progress.share))
        if not self._console.is_terminal or now - self._shown < _EVERY:
            return
        self._shown = now
        table = Table()
        for column in (*self._columns, "done", "left"):
            table.add_column(escape(column), justify="right" if column in ("done", "left") else "left")
        for job, progress in running:
            cells = (*self._row(job, progress), f"{progress.share:.0%}", duration(self._left(job, progress, now)))
            table.add_row(*(escape(cell) for cell in cells))
        self._live.update(Group(Text(self._summary(), style="bold"), table), refresh=True)

    def _left(self, job: Job, progress: Progress, now: float) -> float | None:
        since, share = self._started[job.name]
        gained = progress.share - share
        return (now - since) * (1 - progress.share) / gained if gained > 0.02 else None
