"""`Table`: a file or data set with named columns, read row by row; `glue_lit.data.tables` has the formats."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from glue_lit.data.class_labels import ClassNames, name_class
from glue_lit.data.file_digest import file_digest
from glue_lit.errors import DataError, did_you_mean
from glue_lit.system.untrusted_text import Value, plain_value

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
        list_columns: Columns that may hold lists.
    """

    unit = "line"
    commit: str | None = None
    separator = ","
    list_columns: Sequence[str] = ()

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
            return file_digest(self.path)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror}).") from None

    @abstractmethod
    def _read_columns(self) -> tuple[str, ...]: ...

    @abstractmethod
    def _rows(self, columns: Sequence[str]) -> Iterator[NumberedRow]: ...

    def _numbered(self, number: int, columns: Sequence[str], values: Sequence[Any]) -> NumberedRow:
        """A row with plain values, in which names replace class numbers."""
        if not self.class_names and all(type(value) is str and value.isascii() for value in values):
            return number, tuple(values)
        place = self.place(number)
        return number, tuple(self._plain(value, column, place) for column, value in zip(columns, values, strict=True))

    def _plain(self, value: Any, column: str, place: str) -> Value:
        names = self.class_names.get(column)
        if isinstance(value, list) and column in self.list_columns:
            return tuple(plain_value(name_class(item, names), column, place) for item in value)
        return plain_value(name_class(value, names), column, place)

    def _empty(self) -> DataError:
        return DataError(f"{self.path}: the file is empty; a table with at least one row is needed.")
