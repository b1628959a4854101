"""Tables of the user's own, read row by row: CSV, TSV, JSON Lines and Parquet.

Only the current row (in Parquet, batch) is in memory, so a file may be larger than the memory.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from glue_lit.data.class_labels import names_in_schema
from glue_lit.data.file_kinds import kind_by_content, kind_by_name, similar_file
from glue_lit.data.table import NumberedRow, Table
from glue_lit.errors import DataError
from glue_lit.system.untrusted_text import parse_json_object, read_lines

# Names of the splits, in files and on the Hub.
SPLIT_NAMES = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
_LONGEST_FIELD = 100_000_000  # characters; Python's limit of 131,072 is shorter than some documents
_SEPARATOR_LINE = re.compile(r'"?sep=([^"\w])"?[\r\n]*', re.IGNORECASE)  # Excel's; it is no row and no header
_BATCH = 10_000  # rows of a Parquet file in memory
_ROWS_FOR_KEYS = 100  # the keys of so many first rows of a JSONL file are its columns


class _Separated(Table):
    """CSV as in RFC 4180 (with quotes, and line breaks within them); TSV as in GLUE, where a quote is text."""

    def _read_columns(self) -> tuple[str, ...]:
        first = next(read_lines(self.path), None)
        if first is None:
            raise self._empty()
        self._has_quotes = self.path.suffix.lower() != ".tsv"
        self.separator = _guess_separator(first[1]) if self._has_quotes else "\t"
        named = _SEPARATOR_LINE.fullmatch(first[1])
        self._first = 1 if named is None else 2  # line of the header
        if named is not None and self._has_quotes:
            self.separator = named[1]
        try:
            return tuple(next(self._reader()))
        except StopIteration:
            raise self._empty() from None
        except csv.Error as error:
            raise self._not_csv(self._first, error) from None

    def _reader(self) -> Any:
        csv.field_size_limit(_LONGEST_FIELD)
        lines = (line for number, line in read_lines(self.path) if number >= self._first)
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if self._has_quotes else csv.QUOTE_NONE
        return csv.reader(lines, delimiter=self.separator, quoting=quoting, strict=True)

    def _rows(self, columns: Sequence[str]) -> Iterator[NumberedRow]:
        picks = [self.columns.index(column) for column in columns]
        reader, width, is_empty = self._reader(), len(self.columns), True
        next(reader)
        line = reader.line_num + self._first
        try:
            for row in reader:
                if row:  # an empty line is not a row
                    if len(row) != width:
                        raise DataError(
                            f"{self.place(line)}: {len(row)} columns, the header has {width}. {self._hint()}"
                        )
                    is_empty = False
                    yield line, tuple(row[pick] for pick in picks)
                line = reader.line_num + self._first  # a row may span several lines
        except csv.Error as error:
            raise self._not_csv(line, error) from None
        if is_empty:
            raise DataError(f"{self.path}: there is a header but no row; at least one row is needed.")

    def _hint(self) -> str:
        if self._has_quotes:
            return f'Quote a text that contains {self.separator!r}, and double the quotes in it: "a, ""b""".'
        return "Columns are separated by tabs, so a text cannot contain one."

    def _not_csv(self, line: int, error: csv.Error) -> DataError:
        reason = str(error)
        if "unexpected end" in reason:
            reason = "a quote is opened and never closed"
        elif "new-line character" in reason:
            reason = "a line ends with a lone carriage return; save the file with usual line ends"
        return DataError(f"{self.place(line)}: not CSV: {reason}.")


def _guess_separator(header: str) -> str:
    """A comma; without one, a semicolon or tab, as spreadsheets of many countries write CSV."""
    return next((s for s in (";", "\t") if s in header and "," not in header), ",")


class _JsonLines(Table):
    """One object per line; the columns are the keys of the first rows."""

    def _read_columns(self) -> tuple[str, ...]:
        first = [values for _, values in islice(self._objects(), _ROWS_FOR_KEYS)]
        if not first:
            raise self._empty()
        return tuple(dict.fromkeys(key for values in first for key in values))

    def _objects(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, line in read_lines(self.path):
            if line.strip():
                yield number, parse_json_object(line, self.place(number))

    def _rows(self, columns: Sequence[str]) -> Iterator[NumberedRow]:
        for number, values in self._objects():
            yield self._numbered(number, columns, [values.get(column) for column in columns])


class _Parquet(Table):
    """Read by row groups."""

    unit = "row"

    def _open(self) -> Any:
        import pyarrow
        import pyarrow.parquet

        try:
            # with its buffers, what has been read of the file stays in memory until its end
            return pyarrow.parquet.ParquetFile(self.path, pre_buffer=False)
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(f"{self.path}: not a Parquet file that can be read ({_first_line(error)}).") from None

    def _read_columns(self) -> tuple[str, ...]:
        with self._open() as file:
            if file.metadata.num_rows == 0:
                raise self._empty()
            self.class_names = names_in_schema(file.schema_arrow.metadata)
            return tuple(file.schema_arrow.names)

    def _rows(self, columns: Sequence[str]) -> Iterator[NumberedRow]:
        import pyarrow

        number = 0
        with self._open() as file:
            try:
                for batch in file.iter_batches(_BATCH, columns=list(dict.fromkeys(columns))):
                    for values in zip(*(batch.column(column).to_pylist() for column in columns), strict=True):
                        number += 1
                        yield self._numbered(number, columns, values)
            except DataError:
                raise
            except (pyarrow.ArrowException, OSError, ValueError, OverflowError, KeyError) as error:
                # a text that is not UTF-8, a time beyond the year 9999
                raise DataError(f"{self.path}: damaged after row {number} ({_first_line(error)}).") from None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


FORMATS: dict[str, type[Table]] = {
    ".csv": _Separated,
    ".tsv": _Separated,
    ".jsonl": _JsonLines,
    ".ndjson": _JsonLines,
    ".parquet": _Parquet,
}


def open_table(path: Path) -> Table:
    """Open a file by its suffix: .csv, .tsv, .jsonl (.ndjson) or .parquet.

    Commas separate the fields of a CSV file, or semicolons or tabs if its header has no comma, or what a first line
    such as ``sep=;`` names; fields may be quoted. In a TSV file, as in GLUE's own, quotes are text.

    Raises:
        DataError: There is no such file, it has another suffix, or it is empty or unreadable.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file.{similar_file(path)}")
    table = FORMATS.get(path.suffix.lower())
    if table is None:
        raise wrong_ending(path, tuple(FORMATS))
    if table is not _Parquet and (kind := kind_by_content(path)) is not None:
        raise DataError(f"{path}: its name ends with {path.suffix!r}, but it is {kind.name}. {kind.advice}.")
    return table(path)


def wrong_ending(path: Path, allowed: Sequence[str]) -> DataError:
    """The error for a file whose name does not end as one of those that are read: what it is, and what to do."""
    kind = kind_by_name(path.name)
    what = ", which is not a known format." if kind is None else f", so it is {kind.name}. {kind.advice}."
    return DataError(f"{path}: its name ends with {path.suffix!r}{what} Allowed: {', '.join(allowed)}.")
