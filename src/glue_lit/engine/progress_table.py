"""The display of a search or suite: a live table on a terminal, otherwise a line per event."""

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
_INTERVAL = 1.0  # seconds between updates of the table


class ProgressTable:
    """A live table of the running jobs, below the lines printed so far.

    Args:
        columns: Titles of the columns before those of progress and time left.
        row: Makes a job's cells for these columns.
        summary: Makes the line above the table.
    """

    def __init__(self, columns: Row, row: Callable[[Job, Progress], Row], summary: Callable[[], str]) -> None:
        self._columns, self._row, self._summary = columns, row, summary
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._updated_at = 0.0
        self._first_seen: dict[Job, tuple[float, float]] = {}  # time and share done

    def __enter__(self) -> "ProgressTable":
        """Show the table if this is a terminal."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Remove the table; the lines stay."""
        self._live.stop()

    def print(self, text: str) -> None:
        """Print a line above the table."""
        self._console.print(escape(text), soft_wrap=True)

    def update(self, running: list[tuple[Job, Progress]]) -> None:
        """Show the progress of the running jobs."""
        now = time.monotonic()
        for job, progress in running:
            self._first_seen.setdefault(job, (now, progress.share))
        if not self._console.is_terminal or now - self._updated_at < _INTERVAL:
            return
        self._updated_at = now
        table = Table(*map(escape, self._columns))
        for column in ("done", "left"):
            table.add_column(column, justify="right")
        for job, progress in running:
            since, share = self._first_seen[job]
            gained = progress.share - share
            left = duration((now - since) * (1 - progress.share) / gained if gained > 0.02 else None)
            table.add_row(*map(escape, (*self._row(job, progress), f"{progress.share:.0%}", left)))
        self._live.update(Group(Text(self._summary(), style="bold"), table), refresh=True)
