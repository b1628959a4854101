"""Rows of a split: their texts and labels, and the place of each row in the user's file."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from glue_lit.data.row_digest import RowDigest
from glue_lit.errors import DataError

Label = int | float | tuple[int, ...] | None
HELD_OUT = " (held out)"  # follows the file's name if the split's rows are held out of the training file


@dataclass(frozen=True)
class Rows:
    """The examples of one split; an example's ``idx`` is its position.

    Two `Rows` are equal if their texts and labels are, whatever file they come from.

    Attributes:
        texts_a: First (or only) text of each example.
        texts_b: Second text of each example; ``None`` for single-text tasks.
        labels: Class number in the task's order, or score, or the numbers of any labels; ``None`` where hidden.
        numbers: Number, from 1, of the example's line or row in its file, ``(rows,)``; see ``Split.unit``.
        ids: Value of the id column (``data.custom.id``) for each example, or an empty text.
    """

    texts_a: list[str]
    texts_b: list[str] | None
    labels: list[Label]
    numbers: NDArray[np.int32] | None = field(default=None, compare=False)
    ids: list[str] | None = field(default=None, compare=False)

    @classmethod
    def from_columns(
        cls, texts: Sequence[list[str]], labels: list[Label], numbers: Sequence[int], ids: list[str] | None = None
    ) -> Self:
        """Make rows from one or two columns of texts, with the line or row number of each."""
        return cls(texts[0], texts[1] if len(texts) > 1 else None, labels, np.array(numbers, dtype=np.int32), ids)

    @classmethod
    def joined(cls, parts: Iterable["Rows"]) -> "Rows":
        """Join parts of a split in their order."""
        first, *others = parts
        for part in others:
            for own, more in ((first.texts_b, part.texts_b), (first.ids, part.ids)):
                if own is not None and more is not None:
                    own.extend(more)
            first.texts_a.extend(part.texts_a)
            first.labels.extend(part.labels)
        numbers = [part.numbers for part in (first, *others) if part.numbers is not None]
        return replace(first, numbers=np.concatenate(numbers) if numbers else None)

    def __len__(self) -> int:
        return len(self.texts_a)

    def texts_at(self, idx: Sequence[int]) -> list[tuple[str, ...]]:
        """The one or two texts of each example at some positions."""
        columns = (self.texts_a,) if self.texts_b is None else (self.texts_a, self.texts_b)
        return [tuple(texts[at] for texts in columns) for at in idx]

    def where(self, mask: NDArray[np.bool_]) -> "Rows":
        """The examples for which ``mask`` ``(rows,)`` is true, in their order."""
        kept = np.flatnonzero(mask).tolist()
        return Rows(
            [self.texts_a[row] for row in kept],
            None if self.texts_b is None else [self.texts_b[row] for row in kept],
            [self.labels[row] for row in kept],
            None if self.numbers is None else self.numbers[kept],
            None if self.ids is None else [self.ids[row] for row in kept],
        )

    def digest(self, names: Sequence[str] = ()) -> str:
        """Hash of texts and labels in their order, the same for the same rows from any source; see `RowDigest`."""
        digest = RowDigest()
        digest.add(self.texts_a, self.texts_b, self.labels)
        return digest.hexdigest(names)


@dataclass(frozen=True)
class Split:
    """A split that exists and has not been read yet.

    Attributes:
        name: For example ``validation_matched``.
        origin: File or Hub name, for messages.
        fingerprint: Changes whenever the content does.
        read: Reads the rows; raises `DataError` at the first bad one.
        unit: What ``Rows.numbers`` count: each ``line`` of a text file, as an editor numbers them, or each ``row``.
        labels: The classes as the data write them, in the task's order; empty for scores.
        commit: Commit of the data set on the Hub; ``None`` if unknown, or if the rows are in a file.
        read_columns: Reads columns by name, from the needed names and the optional ones. ``None`` if columns have no
            names.
        read_parts: Reads the rows as consecutive parts, so that few are in memory; ``None`` if they are read at once.
        held_out: The splits whose rows are held out of this one's file: one or none.
        read_both: Reads the file in parts: the rows of this split, and those of the one that is held out.
    """

    name: str
    origin: str
    fingerprint: str
    read: Callable[[], Rows]
    unit: str = "row"
    labels: tuple[str, ...] = ()
    commit: str | None = None
    read_columns: Callable[[Sequence[str], Sequence[str]], dict[str, list[str]]] | None = None
    read_parts: Callable[[], Iterator[Rows]] | None = None
    held_out: tuple["Split", ...] = ()
    read_both: Callable[[], Iterator[tuple[Rows, Rows]]] | None = None

    def parts(self) -> Iterator[Rows]:
        """Read the rows as consecutive parts, of which none is empty.

        Raises:
            DataError: A row is bad.
        """
        if self.read_parts is None:
            yield self.read()
        else:
            yield from self.read_parts()

    def parts_with_held_out(self) -> Iterator[tuple[Rows, Rows]]:
        """Read the rows, and those of the split that is held out of the same file, in parts, of which some are empty.

        Raises:
            DataError: A row is bad.
        """
        assert self.read_both is not None
        yield from self.read_both()

    def columns(self, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, list[str]]:
        """Read columns beside texts and labels, one value for each row.

        Args:
            names: Columns that are needed.
            optional: Columns to leave out if they are missing.

        Raises:
            DataError: A needed column is missing, or a row is too short (the message names the line).
        """
        if self.read_columns is not None:
            return self.read_columns(names, optional)
        if names:
            raise DataError(f"{self.origin}: there are no columns with names beside texts and labels.")
        return {}

    @property
    def file(self) -> str:
        """The file whose lines or rows are numbered."""
        return self.origin.removesuffix(HELD_OUT)

    def place(self, rows: Rows, at: int) -> str:
        """Name the file and line of the example at a position, for a message: ``reviews.csv, line 12``."""
        if rows.numbers is None:
            return f"{self.origin}, row {at} (from 0)"
        return f"{self.file}, {self.unit} {rows.numbers[at]}"

    def places(self, rows: Rows, idx: Sequence[int]) -> "Places | None":
        """Places of the examples at some positions; ``None`` if unknown."""
        if rows.numbers is None:
            return None
        ids = None if rows.ids is None else [rows.ids[at] for at in idx]
        return Places(self.file, self.unit, rows.numbers[list(idx)].tolist(), ids)


@dataclass(frozen=True)
class Places:
    """The places of examples in their file.

    Attributes:
        file: Name of the file, or of a data set on the Hub.
        unit: What the numbers count: ``line`` or ``row``.
        numbers: One for each example, from 1.
        ids: Value of the id column for each example, or an empty text; ``None`` without such a column.
    """

    file: str
    unit: str
    numbers: list[int]
    ids: list[str] | None = None

    @property
    def file_name(self) -> str:
        """The file without its folder, which is private; the name of a data set on the Hub unchanged."""
        return Path(self.file).name if Path(self.file).is_absolute() else self.file

    def __str__(self) -> str:
        numbers = ", ".join(map(str, self.numbers))
        ids = "" if self.ids is None else f" (ids {', '.join(name or '-' for name in self.ids)})"
        return f"{self.unit}{'s' if len(self.numbers) > 1 else ''} {numbers} of {self.file}{ids}"
