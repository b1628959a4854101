"""The official TSV files: fields separated by tabs, in UTF-8, with every other character (also a quote) as text."""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from glue_lit.errors import DataError, did_you_mean
from glue_lit.system.untrusted_text import decode_utf8


@dataclass(frozen=True)
class TsvFile:
    """The content of a file, in its order.

    Attributes:
        path: The file.
        header: Fields of the header; empty if there is none.
        rows: Fields of each row.
        lines: Line of each row, from 1.
    """

    path: Path
    header: list[str]
    rows: list[list[str]]
    lines: list[int]

    def position(self, column: str | int) -> int:
        """Position (from 0) of a column, given by its name or as a position.

        Raises:
            DataError: No column has that name.
        """
        if isinstance(column, int):
            return column
        if column not in self.header:
            raise DataError(
                f"{self.path}, line 1: there is no column {column!r}.{did_you_mean(column, self.header)} "
                f"The columns are: {', '.join(map(repr, self.header))}."
            )
        return self.header.index(column)

    def columns(self, positions: Sequence[int]) -> list[list[str]]:
        """Values of the columns at some positions, one list for each.

        Raises:
            DataError: A row is too short.
        """
        width = max(positions, default=0) + 1
        for line, row in zip(self.lines, self.rows, strict=True):
            if len(row) < width:
                raise DataError(
                    f"{self.path}, line {line}: {len(row)} column(s), at least {width} are needed "
                    "(columns are separated by tabs)."
                )
        return [[row[position] for row in self.rows] for position in positions]

    def without_short_rows(self, width: int) -> "TsvFile":
        """The file without rows of fewer than ``width`` fields.

        Raises:
            DataError: No row remains.
        """
        kept = [number for number, row in enumerate(self.rows) if len(row) >= width]
        if not kept:
            raise DataError(f"{self.path}: no row has the {width} columns needed (columns are separated by tabs).")
        return TsvFile(self.path, self.header, [self.rows[n] for n in kept], [self.lines[n] for n in kept])


def read_tsv(path: Path, has_header: bool) -> TsvFile:
    """Read a whole TSV file.

    Only LF and CRLF end a line: a lone CR or a Unicode line separator is text. ``str.splitlines`` and the csv module
    would split there.

    Raises:
        DataError: The file is missing, empty, or not UTF-8 (the message names the line).
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    content = content.removeprefix(codecs.BOM_UTF8)  # MRPC's files start with one
    try:
        lines = content.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        start, line = content.rfind(b"\n", 0, error.start) + 1, content.count(b"\n", 0, error.start) + 1
        decode_utf8(content[start:].partition(b"\n")[0], f"{path}, line {line}")  # raises the error that is shown
        raise
    if lines[-1] == "":
        lines.pop()
    rows = [line.removesuffix("\r").split("\t") for line in lines]
    header = rows.pop(0) if has_header and rows else []
    if not rows:
        raise DataError(f"{path}: the file is empty; at least one row is needed.")
    first = 2 if has_header else 1
    return TsvFile(path, header, rows, list(range(first, first + len(rows))))
