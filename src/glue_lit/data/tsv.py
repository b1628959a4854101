"""The official TSV files: tab-separated, UTF-8, every other character (a quote too) is text."""

import codecs
from dataclasses import dataclass
from pathlib import Path

from glue_lit.errors import DataError


@dataclass(frozen=True)
class Table:
    """A file's header (``None`` if it has none) and its lines as lists of fields, in file order."""

    path: Path
    header: list[str] | None
    rows: list[list[str]]
    lines: list[int]

    def line(self, row: int) -> int:
        """Line of the file (from 1) that row number ``row`` (from 0) stands on."""
        return self.lines[row]

    def without_short_rows(self, width: int) -> "Table":
        """The table without rows of fewer than ``width`` fields.

        Raises:
            DataError: Nothing is left.
        """
        kept = [number for number, row in enumerate(self.rows) if len(row) >= width]
        if not kept:
            raise DataError(
                f"{self.path}: no row has the {width} columns that are needed (columns are separated by tabs)."
            )
        return Table(self.path, self.header, [self.rows[n] for n in kept], [self.lines[n] for n in kept])


def read_tsv(path: Path, has_header: bool) -> Table:
    """Read a TSV file whole.

    Lines end with LF or CRLF and nothing else: a lone CR or a Unicode line separator is text, which is
    why ``str.splitlines`` and the csv module (with its quoting and its field limit) are not used.

    Raises:
        DataError: The file is missing, empty, or not UTF-8 (naming the line).
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    raw = raw.removeprefix(codecs.BOM_UTF8)  # MRPC's files start with one
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: byte 0x{raw[error.start]:02x} is not UTF-8. "
            "Convert the file, e.g. `iconv -f latin1 -t utf-8`."
        ) from None
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    rows = [line.removesuffix("\r").split("\t") for line in lines]
    header = rows.pop(0) if has_header and rows else None
    if not rows:
        raise DataError(f"{path}: the file is empty; at least one row is needed.")
    first = 1 if header is None else 2
    return Table(path, header, rows, list(range(first, first + len(rows))))
