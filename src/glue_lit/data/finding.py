"""`Finding`: something in the data that a user may want to correct; `ExaminedSplit`: where it is looked for."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from glue_lit.data.rows import Places, Split
from glue_lit.data.tokens import TokenStore


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
    """

    def __init__(self, split: Split, hashes: Tensor, numbers: Tensor | None, store: TokenStore | None = None) -> None:
        self.split, self.store = split, store
        self.hashes: NDArray[np.int64] = hashes.numpy()
        self._numbers = None if numbers is None else numbers.numpy()

    @classmethod
    def of(cls, split: Split, store: TokenStore) -> Self:
        """A split that is tokenised."""
        assert store.hashes is not None
        return cls(split, store.hashes, store.numbers, store)

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class number of each row; in both orders, a store has each row twice."""
        assert self.store is not None
        labels: NDArray[np.int64] = self.store.labels[: len(self)].numpy()
        return labels

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """The rows sorted by hash, equal ones in their order."""
        return np.argsort(self.hashes, kind="stable")

    def place(self, row: int, beside: Split | None = None) -> str:
        """File and line of a row; the line alone if it is shown beside a row of the same file."""
        places = Places(self.split.file, self.split.unit, [row + 1 if self._numbers is None else self._numbers[row]])
        file = "" if beside is not None and beside.file == self.split.file else f"{places.file_name}, "
        return f"{file}{places.unit} {places.numbers[0]}"
