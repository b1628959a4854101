"""Where the rows of some batches lie in flat arrays, in which the batches follow one another."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_ALIGNED = 2  # tokens of 8 bytes: compiled code reads 16 bytes at once, and would copy a batch that begins in between


@dataclass(frozen=True)
class BatchLayout:
    """The flat arrays of some batches, and each batch's part of them.

    Attributes:
        size: Elements of a flat array.
        room: Elements that belong to each row, ``(rows,)`` int64.
        first: Place of each row's first token, ``(rows,)`` int64.
        rows: First row of each batch, and the end of the last, ``(batches + 1,)``.
        begins: Place of each batch's first element, ``(batches,)``.
        tokens: Elements of each batch, padding included, ``(batches,)``.
        longest: Length of each batch: that to which it is padded, or of its longest text, ``(batches,)``.
        bounds: Of batches without padding: where each text of a batch begins in it, and the batch's end, ``(rows +
            batches,)`` int32; ``None`` for padded ones.
    """

    size: int
    room: Tensor
    first: Tensor
    rows: list[int]
    begins: list[int]
    tokens: list[int]
    longest: list[int]
    bounds: Tensor | None

    def parts(self) -> Iterator[tuple[slice, slice, int]]:
        """For each batch its rows, its elements, and its length."""
        for at, (begin, tokens, longest) in enumerate(zip(self.begins, self.tokens, self.longest, strict=True)):
            yield slice(self.rows[at], self.rows[at + 1]), slice(begin, begin + tokens), longest


def lay_out(
    lengths: NDArray[np.int64], sizes: NDArray[np.int64], widths: NDArray[np.int64] | None, left: bool
) -> BatchLayout:
    """Lay out batches one after the other, padded or without padding.

    Args:
        lengths: Tokens of each row, ``(rows,)``.
        sizes: Rows of each batch, ``(batches,)``.
        widths: Length to which each batch is padded, ``(batches,)``; ``None`` for no padding.
        left: Whether padding comes before the tokens.
    """
    ends = np.cumsum(sizes)
    starts = ends - sizes
    of_row = lengths if widths is None else np.repeat(widths, sizes)
    tokens = np.add.reduceat(of_row, starts)
    room = of_row.copy()
    room[ends[:-1] - 1] += -tokens[:-1] % _ALIGNED
    places = np.cumsum(room) - room
    longest = np.maximum.reduceat(of_row, starts)
    bounds = np.insert(places - np.repeat(places[starts], sizes), ends, tokens) if widths is None else None
    return BatchLayout(
        int(room.sum()),
        torch.from_numpy(room),
        torch.from_numpy(places + (of_row - lengths) if left else places),
        [0, *ends.tolist()],
        places[starts].tolist(),
        tokens.tolist(),
        longest.tolist(),
        None if bounds is None else torch.from_numpy(bounds.astype(np.int32)),
    )
