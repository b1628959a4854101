"""Tables of the user's own, read row by row: CSV, TSV, JSON Lines and Parquet.

Only the current row (in Parquet, batch) is in memory, so a file may be larger than the memory.
"""

import csv
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from glue_lit.data.class_labels import ClassNames, name_class, names_in_schema
from glue_lit.errors import DataError, did_you_mean
from glue_lit.system.untrusted_text import Value, parse_json_object, plain_value, read_lines

# Names of the splits, in files and on the Hub.
SPLIT_NAMES = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
_LONGEST_FIELD = 100_000_000  # characters; Python's limit of 131,072 is shorter than some documents
_ROWS_FOR_KEYS = 100  # the keys of so many first rows of a JSONL file are its columns

NumberedRow = tuple[int, tuple[Value, ...]]


class Table(ABC):
    """A file with named columns.

    Args:
        path: The file.

    Attributes:
        columns: Names of the columns, in the file's order.
        unit: What the numbers of its rows count: each ``line`` of a text file, as in an editor, or each ``row``.
        commit: Commit of a data set on the Hub, if it is known.
        class_names: Names of the classes in their order, for columns that hold class numbers.
        separator: Character between columns; a comma in formats without one.
    """

    unit = "line"
    commit: str | None = None
    separator = ","

    def __init__(self, path: Path) -> None:
        self.path = path
        self.class_names: ClassNames = {}
        self.columns = self._read_columns()

    def place(self, number: int) -> str:
        """Name the file and line of a row, for a message: ``reviews.csv, line 12``."""
        return f"{self.path}, {self.unit} {number}"

    def rows(self, columns: Sequence[str]) -> Iterator[NumberedRow]:
        """Yield the number of each row (from 1, see ``unit``) and its values in some columns.

        Values from CSV and TSV are texts; numbers, booleans and ``None`` come from JSONL and Parquet only.

        Raises:
            DataError: A column is missing, or the content does not fit the file's suffix (the message names the line).
        """
        for column in columns:
            if column not in self.columns:
                raise DataError(
                    f"{self.path}: there is no column {column!r}.{did_you_mean(column, self.columns)} "
                    f"The columns are: {', '.join(map(repr, self.columns))}."
                )
            if self.columns.count(column) > 1:
                raise DataError(f"{self.path}: {self.columns.count(column)} columns are called {column!r}.")
        return self._rows(columns)

    def fingerprint(self) -> str:
        """A text that changes whenever the content does.

        Raises:
            DataError: The file cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror}).") from None

    @abstractmethod
    def _read_columns(self) -> tuple[str, ...]: ...

    @abstractmethod
    def _rows(self, columns: Sequence[str]) -> Iterator[NumberedRow]: ...

    def _numbered(self, number: int, columns: Sequence[str], values: Sequence[Any]) -> NumberedRow:
        """A row with plain values, in which names replace class numbers."""
        place = self.place(number)
        named = [(name_class(v, self.class_names.get(c)), c) for c, v in zip(columns, values, strict=True)]
        return number, tuple(plain_value(value, column, place) for value, column in named)

    def _empty(self) -> DataError:
        return DataError(f"{self.path}: the file is empty; a table with at least one row is needed.")


class _Separated(Table):
    """CSV as in RFC 4180 (with quotes, and line breaks within them); TSV as in GLUE, where a quote is text."""

    def _read_columns(self) -> tuple[str, ...]:
        first = next(read_lines(self.path), None)
        if first is None:
            raise self._empty()
        self._has_quotes = self.path.suffix.lower() != ".tsv"
        self.separator = _guess_separator(first[1]) if self._has_quotes else "\t"
        try:
            return tuple(next(self._reader()))
        except csv.Error as error:
            raise self._not_csv(1, error) from None

    def _reader(self) -> Any:
        csv.field_size_limit(_LONGEST_FIELD)
        lines = (line for _, line in read_lines(self.path))
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if self._has_quotes else csv.QUOTE_NONE
        return csv.reader(lines, delimiter=self.separator, quoting=quoting, strict=True)

    def _rows(self, columns: Sequence[str]) -> Iterator[NumberedRow]:
        picks = [self.columns.index(column) for column in columns]
        reader, width, is_empty = self._reader(), len(self.columns), True
        next(reader)
        line = reader.line_num + 1
        try:
            for row in reader:
                if row:  # an empty line is not a row
                    if len(row) != width:
                        raise DataError(
                            f"{self.place(line)}: {len(row)} columns, the header has {width}. {self._hint()}"
                        )
                    is_empty = False
                    yield line, tuple(row[pick] for pick in picks)
                line = reader.line_num + 1  # a row may span several lines
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
            return pyarrow.parquet.ParquetFile(self.path)
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
                for batch in file.iter_batches(columns=list(dict.fromkeys(columns))):
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

    Commas separate the fields of a CSV file, or semicolons or tabs if its header has no comma; fields may be quoted.
    In a TSV file, as in GLUE's own, quotes are text.

    Raises:
        DataError: There is no such file, it has another suffix, or it is empty or unreadable.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file.")
    table = FORMATS.get(path.suffix.lower())
    if table is None:
        raise DataError(
            f"{path}: its name ends with {path.suffix!r}, which is not a known format. Allowed: {', '.join(FORMATS)}."
        )
    return table(path)
