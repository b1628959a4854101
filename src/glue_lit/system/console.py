"""What a user reads: tables, notes and the next command. And what a script reads, apart from it."""

import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from glue_lit.system.files import to_json_values
from glue_lit.system.printable import printable, printable_lines
from glue_lit.system.run_log import add_to_log

_LEAST_WIDTH, _USUAL_WIDTH = 40, 80  # columns


def console() -> Console:
    """Standard output, found anew each time, since tests and bars replace it.

    In fewer columns than a table takes to be one, its cells would be left out: that wraps instead. Some programs set
    $COLUMNS to 0, which says nothing of the width.
    """
    found = Console(highlight=False, soft_wrap=False)
    if found.width < _LEAST_WIDTH:
        narrow = _USUAL_WIDTH if found.width < 1 else _LEAST_WIDTH
        found = Console(highlight=False, soft_wrap=False, width=narrow)
    return found


def say(text: str) -> None:
    """Print a line as it is: nothing in it is taken for markup or by the terminal, and it is not wrapped."""
    console().print(escape(printable_lines(text)), soft_wrap=True)
    add_to_log(text)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Print a table; every cell is shown as it is, columns named in ``right`` are right-aligned."""
    several = any("\n" in cell for row in rows for cell in row)
    table = Table(show_lines=several, title=escape(printable(title)), title_justify="left", title_style="bold")
    for column in columns:
        side: Literal["left", "right"] = "right" if column in right else "left"
        table.add_column(escape(printable_lines(column)), justify=side, overflow="fold")
    for row in rows:
        table.add_row(*(escape(printable_lines(cell)) for cell in row))
    console().print(table)


def print_list(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Print a table on a terminal; for other programs a line with the names and then one for each row, aligned.

    The first column is not folded where it leaves the others half the width, since it will be copied; nor are those
    named in ``right``, which hold numbers.
    """
    lines = [[printable(cell) or "-" for cell in row] for row in (columns, *rows)]
    widths = [max(map(cell_len, cells)) for cells in zip(*lines, strict=True)]
    plain = "\n".join(_aligned(columns, line, widths, right) for line in lines)
    if sys.stdout.isatty():
        to = console()
        table = Table(title=escape(title), title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
        for number, column in enumerate(columns):
            whole = column in right or (number == 0 and widths[0] <= to.width // 2)
            side: Literal["left", "right"] = "right" if column in right else "left"
            table.add_column(escape(printable(column)), justify=side, overflow="fold", no_wrap=whole)
        for line in lines[1:]:
            table.add_row(*map(escape, line))
        to.print(table)
        add_to_log(f"{title}\n{plain}")
        return
    print(plain)
    add_to_log(plain)


def _aligned(columns: Sequence[str], line: Sequence[str], widths: Sequence[int], right: Sequence[str]) -> str:
    """A row of a table as text, its columns filled up to their widths."""
    cells = []
    for column, cell, width in zip(columns, line, widths, strict=True):
        space = " " * (width - cell_len(cell))
        cells.append(space + cell if column in right else cell + space)
    return "  ".join(cells).rstrip()


def print_json(value: Any) -> None:
    """Print a value for scripts; what JSON does not have is ``null`` (NaN) or a text (a date)."""
    print(json.dumps(to_json_values(value), indent=2, default=str))


@contextmanager
def json_document(wanted: bool) -> Iterator[Callable[[Any], None]]:
    """Keep standard output for one JSON document; all else, of child processes too, goes to standard error.

    Args:
        wanted: If not, nothing is changed.

    Yields:
        Takes the document, which is printed at the end unless there is an error.
    """
    documents: list[Any] = []
    if not wanted:
        yield documents.append
        return
    sys.stdout.flush()
    try:
        kept = os.dup(1) if sys.stdout.fileno() == 1 else None
    except (io.UnsupportedOperation, ValueError):  # not a file: it was replaced
        kept = None
    if kept is not None:
        os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield documents.append
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)
    for document in documents:
        print_json(document)


def note(text: str) -> None:
    """Print a line to standard error: what a script that reads the output should not meet."""
    print(printable(text), file=sys.stderr)
    add_to_log(text)


def duration(seconds: float | None) -> str:
    """Seconds as people say them."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
