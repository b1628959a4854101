"""The texts and ids of a split that was read before, for the few rows that are shown; most stay on disk."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from glue_lit.data.cache import MANY_ROWS
from glue_lit.data.large_arrays import GrowingArray, write_arrays
from glue_lit.data.row_digest import RowDigest
from glue_lit.data.rows import Rows, Split
from glue_lit.errors import RunError
from glue_lit.system.files import open_atomic_binary

_COLUMNS = ("texts_a", "texts_b", "ids")


class TextColumn(Sequence[str]):
    """Texts in one array of bytes, which may be mapped from a file.

    Args:
        content: All texts in UTF-8, one after the other, ``(bytes,)`` uint8.
        ends: Where each begins, and where the last one ends, ``(texts + 1,)`` int64.
    """

    def __init__(self, content: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
        self._content, self._ends = content, ends

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        """The text at a position, or those of a slice."""
        if isinstance(at, slice):
            return [self[each] for each in range(len(self))[at]]
        start, end = self._ends[range(len(self))[at] :][:2]
        return self._content[start:end].tobytes().decode("utf-8", "surrogatepass")


class TextColumnBuilder:
    """Makes a `TextColumn` of texts that come in parts.

    Args:
        folder: Folder for temporary files, which hold what is too large for the memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self.content, self.ends = GrowingArray("uint8", folder), GrowingArray("int64", folder)
        self.ends.append([0])
        self._end = self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, texts: Sequence[str]) -> None:
        """Add some texts."""
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        self.content.append(np.frombuffer(b"".join(encoded), np.uint8))
        ends = [*accumulate(map(len, encoded), initial=self._end)]
        self.ends.append(ends[1:])
        self._end, self._count = ends[-1], self._count + len(texts)

    def column(self) -> TextColumn:
        """The texts so far."""
        return TextColumn(self.content.array(), self.ends.array())


class RowTexts:
    """Texts and ids of all rows of a split.

    Args:
        columns: `TextColumn` of the first texts, and of the second texts and the ids where there are any, by the names
            that they have in `Rows`.
    """

    def __init__(self, columns: dict[str, TextColumn]) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return len(self._columns["texts_a"])

    @property
    def ids(self) -> TextColumn | None:
        """Value of the id column for each row, or an empty text; ``None`` without such a column."""
        return self._columns.get("ids")

    def texts_at(self, row: int) -> tuple[str, ...]:
        """The one or two texts of a row."""
        return tuple(self._columns[name][row] for name in ("texts_a", "texts_b") if name in self._columns)


class PickedTexts(Sequence[tuple[str, ...]]):
    """The texts of some rows, each read when it is asked for.

    Args:
        texts: The texts of all rows.
        rows: Positions of the picked ones, ``(n,)``.
    """

    def __init__(self, texts: RowTexts, rows: NDArray[Any]) -> None:
        self._texts, self._rows = texts, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, at: int) -> tuple[str, ...]: ...
    @overload
    def __getitem__(self, at: slice) -> list[tuple[str, ...]]: ...
    def __getitem__(self, at: int | slice) -> tuple[str, ...] | list[tuple[str, ...]]:
        """The texts of the picked row at a position, or of those of a slice."""
        if isinstance(at, slice):
            return [self[each] for each in range(len(self))[at]]
        return self._texts.texts_at(int(self._rows[at]))


def read_row_texts(split: Split, digest: str | None, folder: Path) -> RowTexts | None:
    """Read the texts and ids of a split again; those of many rows are kept in the cache.

    Args:
        split: The split.
        digest: Hash of its rows as they were read before.
        folder: Folder of the cache.

    Returns:
        ``None`` if the rows have changed since.

    Raises:
        DataError: The split cannot be read.
    """
    if (known := _read(_path(split, digest, folder))) is not None:
        return known
    builder, own = RowTextsBuilder(folder), RowDigest(folder)
    for rows in split.parts():
        own.add(rows.texts_a, rows.texts_b, rows.labels)
        builder.add(rows)
    if own.hexdigest(split.labels) != digest:
        return None
    builder.keep(split, digest)
    return _read(_path(split, digest, folder)) or builder.texts()  # the file's arrays are mapped into memory


class RowTextsBuilder:
    """Makes the `RowTexts` of rows that come in parts.

    Args:
        folder: Folder of the cache, also for temporary files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._columns = {name: TextColumnBuilder(folder) for name in _COLUMNS}

    def add(self, rows: Rows) -> None:
        """Add some rows."""
        for name, builder in self._columns.items():
            builder.add(getattr(rows, name) or [])

    def texts(self) -> RowTexts:
        """The rows so far."""
        return RowTexts({name: column for name, builder in self._columns.items() if len(column := builder.column())})

    def keep(self, split: Split, digest: str | None) -> None:
        """Keep the rows in the cache if they are many, for `read_row_texts` with the same arguments."""
        if len(self._columns["texts_a"]) >= MANY_ROWS:
            arrays = dict(_arrays(self._columns))
            with contextlib.suppress(RunError), open_atomic_binary(_path(split, digest, self._folder)) as file:
                write_arrays(file, arrays, {})


def _path(split: Split, digest: str | None, folder: Path) -> Path:
    key = hashlib.sha256(f"rows of {split.fingerprint}, {digest}".encode()).hexdigest()[:32]
    return folder / f"{split.name}-{key}.safetensors"


def _arrays(columns: dict[str, TextColumnBuilder]) -> Iterator[tuple[str, NDArray[Any]]]:
    for name, builder in columns.items():
        if len(builder):
            yield name, builder.content.array()
            yield f"{name} end", builder.ends.array()


def _read(path: Path) -> RowTexts | None:
    """The texts in a file; ``None`` if it is missing or damaged."""
    try:
        with safe_open(path, "pt") as file:
            tensors: dict[str, torch.Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        names = [name for name in _COLUMNS if name in tensors]
        columns = {name: TextColumn(tensors[name].numpy(), tensors[f"{name} end"].numpy()) for name in names}
        return RowTexts(columns) if "texts_a" in columns else None
    except (OSError, SafetensorError, KeyError):
        return None
