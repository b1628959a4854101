"""Count the tokens that are lost because examples are longer than the model's input."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glue_lit.data.large_arrays import GrowingArray
from glue_lit.data.rows import Rows

_BUDGET = 1 << 16  # characters that are tokenised once more; or one in a hundred, if the split is large
_START = 1 << 15  # characters of a long text; the rest is taken to have as many tokens for each


class CutTexts(NamedTuple):
    """Examples that are cut at the longest input.

    Attributes:
        rows: How many they are.
        tokens: Tokens cut off all of them.
        longest: Position of the one that loses most.
        length: Tokens of that one.
        is_exact: 1 if all were counted, 0 if the numbers are extrapolated from some.
    """

    rows: int
    tokens: int
    longest: int
    length: int
    is_exact: int


class CutCounter:
    """Counts the tokens cut off a split whose rows come in parts.

    Args:
        max_length: The longest input, in tokens.
        folder: Folder for temporary files, which hold what is kept of very many rows.
    """

    def __init__(self, max_length: int, folder: Path | None = None) -> None:
        self._max_length = max_length
        self._rows = self._characters = 0
        self._full = GrowingArray("int64", folder)  # positions of the rows as long as an input, which may be cut
        self._size = self._longest = 0  # characters of their texts, at most `_START` of each, and of the longest
        self._only: Rows | None = None  # the rows, as long as there is one part

    def add(self, rows: Rows, kept: NDArray[np.int64]) -> None:
        """Add some rows, with the number of tokens kept of each, ``(rows,)``."""
        columns = _columns(rows)
        full = np.flatnonzero(kept >= self._max_length).tolist()
        sizes = [len(column[row]) for column in columns for row in full]
        self._only = rows if self._rows == 0 else None
        self._full.append([self._rows + row for row in full])
        self._size += sum(min(size, _START) for size in sizes)
        self._longest = max(self._longest, *sizes) if sizes else self._longest
        self._characters += sum(len(text) for column in columns for text in column)
        self._rows += len(rows)

    def count(self, read: Callable[[], Iterable[Rows]], tokenizer: Any) -> Tensor:
        """The values of `CutTexts`, ``(5,)`` int64; empty if no row is cut.

        Args:
            read: Reads the rows once more, if there was more than one part.
            tokenizer: Their tokenizer.
        """
        none = torch.empty(0, dtype=torch.int64, device="cpu")
        full = self._full.array()
        if not len(full):
            return none
        budget = max(_BUDGET, self._characters // 100)
        picked = full[:: max(1, math.ceil(self._size / budget))].tolist()
        parts = read() if self._only is None else [self._only]
        lengths = [length for columns in _texts_at(parts, picked) for length in _count_tokens(columns, tokenizer)]
        lost = [length - self._max_length for length in lengths]
        cut = sum(tokens > 0 for tokens in lost)
        if not cut:
            return none
        share, longest = len(full) / len(picked), lengths.index(max(lengths))
        is_exact = len(picked) == len(full) and self._longest <= _START
        counted = (round(cut * share), round(sum(lost) * share), picked[longest], lengths[longest], is_exact)
        return torch.tensor(counted, dtype=torch.int64, device="cpu")


def _columns(rows: Rows) -> list[list[str]]:
    return [rows.texts_a] if rows.texts_b is None else [rows.texts_a, rows.texts_b]


def _texts_at(parts: Iterable[Rows], picked: Sequence[int]) -> Iterator[list[list[str]]]:
    """The texts at sorted positions, by columns, a part at a time."""
    start = 0
    for rows in parts:
        own = [row - start for row in picked[bisect_left(picked, start) : bisect_left(picked, start + len(rows))]]
        start += len(rows)
        if own:
            yield [[column[row] for row in own] for column in _columns(rows)]


def _count_tokens(columns: Sequence[Sequence[str]], tokenizer: Any) -> list[int]:
    """Tokens of each text or pair that is not cut, special tokens included."""
    starts = [[text[:_START] for text in column] for column in columns]
    found = tokenizer(*starts, truncation=False, return_attention_mask=False, verbose=False)["input_ids"]
    read, whole = ([sum(map(len, texts)) for texts in zip(*part, strict=True)] for part in (starts, columns))
    return [round(len(ids) * full / max(part, 1)) for ids, full, part in zip(found, whole, read, strict=True)]
