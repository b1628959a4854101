"""Rows of a split: their texts and labels, and where each of them stands in the user's file."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glue_lit.errors import DataError

Label = int | float | None
HELD_OUT = " (held out)"  # after the name of a file whose training rows are validated on
_CHUNK = 10_000  # rows whose texts are joined at a time, to be hashed


@dataclass(frozen=True)
class Rows:
    """The examples of one split; an example's ``idx`` is its position.

    Rows are equal where texts and labels are, wherever they lie.

    Attributes:
        texts_a: First (or only) text of each example.
        texts_b: Second text of each example, ``None`` for single-text tasks.
        labels: Class number in the task's order or score; ``None`` where hidden.
        numbers: The line or row of its file that each example stands on, from 1, ``(rows,)``; see ``Split.unit``.
        ids: What the id column (``data.custom.id``) calls each example, empty where it has none.
    """

    texts_a: list[str]
    texts_b: list[str] | None
    labels: list[Label]
    numbers: NDArray[np.int32] | None = field(default=None, compare=False)
    ids: list[str] | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.texts_a)

    def where(self, mask: NDArray[np.bool_]) -> "Rows":
        """The examples that ``mask`` ``(rows,)`` chooses, in their order."""
        kept = np.flatnonzero(mask)
        places = kept.tolist()
        return replace(
            self,
            texts_a=[self.texts_a[place] for place in places],
            texts_b=None if self.texts_b is None else [self.texts_b[place] for place in places],
            labels=[self.labels[place] for place in places],
            numbers=None if self.numbers is None else self.numbers[kept],
            ids=None if self.ids is None else [self.ids[place] for place in places],
        )

    def digest(self, names: Sequence[str] = ()) -> str:
        """BLAKE2 hash of texts and labels in their order: the same from every source that has the same rows.

        Args:
            names: The classes as the data write them, so that the order of the model's outputs does not matter; none
                for scores, which count as float32, as a model sees them.
        """
        found = hashlib.blake2b(digest_size=32)
        for texts in (self.texts_a, self.texts_b):
            for start in range(0, 0 if texts is None else len(self), _CHUNK):
                part = texts[start : start + _CHUNK]  # type: ignore[index]
                found.update("".join(part).encode("utf-8", "surrogatepass"))
                found.update(np.fromiter(map(len, part), dtype="<i8", count=len(part)).tobytes())
        found.update(self._labels(names))
        return found.hexdigest()

    def _labels(self, names: Sequence[str]) -> bytes:
        """The labels as bytes; classes as what they are called, by the alphabet."""
        if not names:
            scores = [float("nan") if label is None else label for label in self.labels]
            return np.array(scores, dtype="<f4").tobytes()
        classes = np.array([-1 if label is None else label for label in self.labels], dtype=np.int64)
        there = sorted(names[number] for number in np.unique(classes) if number >= 0)
        place = {name: number for number, name in enumerate(there)}
        ranks = np.array(
            [*(place.get(name, -1) for name in names), -1], dtype="<i8"
        )  # the last for -1, which is hidden
        return json.dumps(there).encode() + ranks[classes].tobytes()


@dataclass(frozen=True)
class Split:
    """A split that exists, not read yet.

    Attributes:
        name: e.g. ``validation_matched``.
        origin: File or Hub name, for messages.
        fingerprint: Changes whenever the content does.
        read: Reads the rows; raises `DataError` on the first bad one.
        unit: What ``Rows.numbers`` count: ``line`` in a text file, as an editor shows it; ``row`` elsewhere.
        labels: The classes as the data write them, in the task's order; none for scores.
        commit: The data set's commit on the Hub; ``None`` where it is not known, or the rows lie in a file.
        read_columns: Reads other columns, needed and optional ones; ``None`` if there are none with names.
    """

    name: str
    origin: str
    fingerprint: str
    read: Callable[[], Rows]
    unit: str = "row"
    labels: tuple[str, ...] = ()
    commit: str | None = None
    read_columns: Callable[[Sequence[str], Sequence[str]], dict[str, list[str]]] | None = None

    def columns(self, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, list[str]]:
        """Columns beside texts and labels, a value for each row.

        Args:
            names: Columns that are needed.
            optional: Columns that are left out if they are not there.

        Raises:
            DataError: There is no such column, or a row is too short (naming the line).
        """
        if self.read_columns is not None:
            return self.read_columns(names, optional)
        if names:
            raise DataError(f"{self.origin}: there are no columns with names beside texts and labels.")
        return {}

    @property
    def file(self) -> str:
        """The file that the rows are numbered in."""
        return self.origin.removesuffix(HELD_OUT)

    def place(self, rows: Rows, at: int) -> str:
        """What a message calls the example at a position: ``reviews.csv, line 12``."""
        if rows.numbers is None:
            return f"{self.origin}, row {at} (from 0)"
        return f"{self.file}, {self.unit} {rows.numbers[at]}"

    def places(self, rows: Rows, idx: Sequence[int]) -> "Places | None":
        """Where examples stand, by their positions; ``None`` where that is not known."""
        if rows.numbers is None:
            return None
        ids = None if rows.ids is None else [rows.ids[at] for at in idx]
        return Places(self.file, self.unit, rows.numbers[list(idx)].tolist(), ids)


@dataclass(frozen=True)
class Places:
    """Where examples stand in the file that they are from.

    Attributes:
        file: Its name, or that of a data set on the Hub.
        unit: What the numbers count: ``line`` or ``row``.
        numbers: One for each example, from 1.
        ids: What the id column calls each, empty where it has none; ``None`` without such a column.
    """

    file: str
    unit: str
    numbers: list[int]
    ids: list[str] | None = None

    @property
    def file_name(self) -> str:
        """The file without its folder, which is no one else's business; a data set's name on the Hub as it is."""
        return Path(self.file).name if Path(self.file).is_absolute() else self.file

    def __str__(self) -> str:
        named = ", ".join(map(str, self.numbers))
        ids = "" if self.ids is None else f" (ids {', '.join(name or '-' for name in self.ids)})"
        return f"{self.unit}{'s' if len(self.numbers) > 1 else ''} {named} of {self.file}{ids}"


def describe_id_problems(split: Split) -> str | None:
    """What is wrong with the ids of a split, in a sentence; ``None`` if each row has one of its own."""
    rows = split.read()
    missing = [at for at, name in enumerate(rows.ids or ()) if not name]
    first: dict[str, int] = {}
    twice = [(first[name], at) for at, name in enumerate(rows.ids or ()) if name and first.setdefault(name, at) != at]
    said = []
    if missing:
        said.append(f"{len(missing):,} row(s) have no id, the first is {split.place(rows, missing[0])}")
    if twice:
        here, there = twice[0]
        said.append(
            f"{len(twice):,} row(s) have the id of another one, the first is {split.place(rows, there)}, with "
            f"{(rows.ids or ())[here]!r} as in {split.unit} {0 if rows.numbers is None else rows.numbers[here]}"
        )
    return "; ".join(said) or None
