"""`Finding`: something in the data that a user may want to correct; `ExaminedSplit`: where it is looked for."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from glue_lit.data.large_arrays import scratch_array
from glue_lit.data.rows import Places, Split
from glue_lit.data.tokens import TokenStore

_SORTED = 1 << 17  # rows at once


@dataclass(frozen=True)
class Finding:
    """Something in the data that looks like a mistake, or is lost in training.

    Attributes:
        what: What it is.
        count: How many there are.
        example: One of them, with file and line where they are known.
        advice: What to do.
    """

    what: str
    count: str
    example: str
    advice: str


class ExaminedSplit:
    """A split as the checks see it: by the hashes of its texts.

    Args:
        split: The split.
        hashes: Hash of each text or pair, ``(rows,)``.
        numbers: Line or row of each example, ``(rows,)``.
        store: Its tokens and labels; ``None`` if it is not tokenised.
        folder: Folder for temporary files, which hold what is computed of very many rows.
    """

    def __init__(
        self, split: Split, hashes: Tensor, numbers: Tensor | None, store: TokenStore | None = None,
        folder: Path | None = None,
    ) -> None:  # fmt: skip
        self.split, self.store, self._folder = split, store, folder
        self.hashes: NDArray[np.int64] = hashes.numpy()
        self._numbers = None if numbers is None else numbers.numpy()

    @classmethod
    def of(cls, split: Split, store: TokenStore, folder: Path | None = None) -> Self:
        """A split that is tokenised."""
        assert store.hashes is not None
        return cls(split, store.hashes, store.numbers, store, folder)

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class number of each row; in both orders, a store has each row twice."""
        assert self.store is not None
        labels: NDArray[np.int64] = self.store.labels[: len(self)].numpy()
        return labels

    @cached_property
    def label_sets(self) -> tuple[NDArray[np.int64], NDArray[np.int32]] | None:
        """For a multi-label task, the first label of each row and the end, ``(rows + 1,)``, and all labels in turn."""
        assert self.store is not None
        if self.store.label_offsets is None or self.store.label_indices is None:
            return None
        offsets: NDArray[np.int64] = self.store.label_offsets[: len(self) + 1].numpy()
        return offsets, self.store.label_indices[: int(offsets[-1])].numpy()

    @cached_property
    def label_codes(self) -> NDArray[np.int64]:
        """A number for each row, the same for the same label or labels, ``(rows,)``."""
        if self.label_sets is None:
            return self.labels
        # Sums of random numbers, one for each label: two sets are equal by chance for one pair in 10^18.
        offsets, indices = self.label_sets
        draw = np.random.Generator(np.random.PCG64(0))
        numbers = draw.integers(0, 1 << 62, int(indices.max(initial=-1)) + 1, dtype=np.int64)
        sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(numbers[indices])])  # overflow wraps around
        codes: NDArray[np.int64] = sums[offsets[1:]] - sums[offsets[:-1]]
        return codes

    def label_words(self, row: int) -> str:
        """The label or labels of a row, shortened."""
        names = self.split.labels
        if self.label_sets is None:
            return quoted(names[self.labels[row]])
        offsets, indices = self.label_sets
        return ", ".join(quoted(names[label]) for label in indices[offsets[row] : offsets[row + 1]][:5]) or "no label"

    def rows_with(self, label: int) -> NDArray[np.intp]:
        """The rows with a label, ascending."""
        if self.label_sets is None:
            return np.flatnonzero(self.labels == label)
        offsets, indices = self.label_sets
        return np.searchsorted(offsets, np.flatnonzero(indices == label), side="right") - 1

    @property
    def number_of_shares(self) -> int:
        """How many shares of the rows are sorted one after the other."""
        return -(-len(self) // _SORTED)

    def shares(self, number: int) -> Iterator[NDArray[np.intp]]:
        """The rows in shares of about the same size, by their hashes, so that equal rows are in the same one."""
        share = scratch_array(len(self), str(np.min_scalar_type(number)), self._folder)
        for start in range(0, len(self), _SORTED):
            part = slice(start, start + _SORTED)
            # the high half alone, since the low half of the hashes of short texts has few values
            share[part] = (self.hashes[part].view(np.uint64) >> np.uint64(32)) % np.uint64(number)
        return (np.flatnonzero(share == each) for each in range(number))

    def sorted_shares(self) -> Iterator[NDArray[np.intp]]:
        """The rows in `shares`, each sorted by hash, equal ones in their order; a sort of all takes more memory."""
        for rows in self.shares(self.number_of_shares):
            yield rows[np.argsort(self.hashes[rows], kind="stable")]

    def place(self, row: int, beside: Split | None = None) -> str:
        """File and line of a row; the line alone if it is shown beside a row of the same file."""
        places = Places(self.split.file, self.split.unit, [row + 1 if self._numbers is None else self._numbers[row]])
        file = "" if beside is not None and beside.file == self.split.file else f"{places.file_name}, "
        return f"{file}{places.unit} {places.numbers[0]}"


def quoted(label: str) -> str:
    """A label in quotes, shortened to 40 characters."""
    return repr(label if len(label) <= 40 else f"{label[:37]}...")
