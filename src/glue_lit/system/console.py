"""The terminal: lines, tables and notes for people, JSON for scripts."""

import io
import json
import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

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
    """A console on the current standard output, which tests and progress bars replace.

    Below 40 columns rich drops cells of a table, so 40 is the minimum width. A width of 0, which some programs put
    into $COLUMNS, counts as 80.
    """
    found = Console(highlight=False, soft_wrap=False)
    if found.width < _LEAST_WIDTH:
        narrow = _USUAL_WIDTH if found.width < 1 else _LEAST_WIDTH
        found = Console(highlight=False, soft_wrap=False, width=narrow)
    return found


def say(text: str) -> None:
    """Print a line without interpreting markup or control characters in it, and without wrapping it."""
    console().print(escape(printable_lines(text)), soft_wrap=True)
    add_to_log(text)


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[str] = (),
    whole: Collection[str] = (),
) -> None:
    """Print a table; columns named in ``right`` are right-aligned, and those in ``whole`` not wrapped."""
    has_lines = any("\n" in cell for row in rows for cell in row)
    console().print(_make_table(title, columns, rows, right, whole, show_lines=has_lines))


def print_list(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Print a table to a terminal; otherwise print aligned lines for other programs, the first with the column names.

    The first column is not wrapped if it leaves half the width to the others, so that it can be copied. Columns named
    in ``right``, which hold numbers, are not wrapped either.
    """
    lines = [[printable(cell) or "-" for cell in row] for row in (columns, *rows)]
    widths = [max(map(cell_len, cells)) for cells in zip(*lines, strict=True)]
    plain = "\n".join(_align(columns, line, widths, right) for line in lines)
    if not sys.stdout.isatty():
        print(plain)
        add_to_log(plain)
        return
    to = console()
    whole = {*right, *(columns[:1] if widths[0] <= to.width // 2 else ())}
    to.print(_make_table(title, columns, lines[1:], right, whole, box=SIMPLE_HEAD, pad_edge=False))
    add_to_log(f"{title}\n{plain}" if title else plain)


def _make_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Collection[str],
    whole: Collection[str] = (),
    **style: Any,
) -> Table:
    """Make a table; columns named in ``whole`` are not wrapped."""
    table = Table(title=escape(printable(title)), title_justify="left", title_style="bold", **style)
    for name in columns:
        side: Any = "right" if name in right else "left"
        table.add_column(escape(printable_lines(name)), justify=side, overflow="fold", no_wrap=name in whole)
    for row in rows:
        table.add_row(*(escape(printable_lines(cell)) for cell in row))
    return table


def _align(columns: Sequence[str], line: Sequence[str], widths: Sequence[int], right: Sequence[str]) -> str:
    cells = []
    for column, cell, width in zip(columns, line, widths, strict=True):
        space = " " * (width - cell_len(cell))
        cells.append(space + cell if column in right else cell + space)
    return "  ".join(cells).rstrip()


def print_json(value: Any) -> None:
    """Print a value as JSON: NaN is ``null``, paths are absolute, other values without a JSON type (dates) are text."""
    print(json.dumps(to_json_values(value), indent=2, default=_as_text))


def _as_text(value: Any) -> str:
    return str(value.absolute() if isinstance(value, Path) else value)


@contextmanager
def json_document(wanted: bool) -> Iterator[Callable[[Any], None]]:
    """Reserve standard output for one JSON document; other output, child processes' too, goes to standard error.

    Yields:
        A function that takes the document; it is printed at the end unless there is an error.
    """
    documents: list[Any] = []
    if not wanted:
        yield documents.append
        return
    sys.stdout.flush()
    try:
        kept = os.dup(1) if sys.stdout.fileno() == 1 else None
    except (io.UnsupportedOperation, ValueError):  # it was replaced by something without a descriptor
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
    """Print a line to standard error, apart from the output that a script reads."""
    print(printable(text), file=sys.stderr)
    add_to_log(text)


def size_in_words(count: int) -> str:
    """Format bytes as MB or GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def duration(seconds: float | None) -> str:
    """Format seconds as hours, minutes and seconds; ``?`` for ``None``."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def count_of(number: int, thing: str) -> str:
    """A number with its noun: ``1 run``, ``2,000 runs``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
