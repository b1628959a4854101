"""Tokens of a split: flat arrays, made once; `glue_lit.data.token_cache` keeps them for all processes.

`TokenStore` earns its keep by speed and memory: all of MNLI is about 15 M tokens, or 60 MB. Instead of a Python object
per example, it has one array each of ids, offsets and labels, and one indexing operation cuts a whole batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glue_lit.data.head_tail import Truncation
from glue_lit.data.label_arrays import LabelArrays
from glue_lit.data.large_arrays import GrowingArray, mark_used, scratch_array
from glue_lit.data.rows import Rows, Split
from glue_lit.data.token_encoder import Encode, encoder_of
from glue_lit.errors import DataError

_CHUNK = 10_000  # rows per tokenizer call, to bound the memory of its Python lists
_CHARACTERS = 1 << 22  # characters per call, because until it truncates, a tokenizer holds 150 bytes for each


@dataclass(frozen=True)
class TokenStore:
    """The tokenised examples of one split.

    Attributes:
        input_ids: All examples one after the other, ``(tokens,)`` int32.
        offsets: ``(examples + 1,)`` int64; example ``i`` is ``input_ids[offsets[i]:offsets[i + 1]]``.
        labels: ``(examples,)``, classes as int64 or scores as float32; -1 or NaN if unlabelled. For a multi-label task,
            how many labels each has.
        token_type_ids: ``(tokens,)`` uint8; ``None`` if the tokenizer gives none.
        numbers: Line or row of each example in its file, ``(examples,)`` int32; see `Rows`.
        hashes: Hash of each example's text or pair, ``(examples,)`` int64; see `hash_texts`.
        cut: Values of `CutTexts`, ``(5,)`` int64; empty if no example is cut.
        used: Tokens that occur, each once, ascending, ``(tokens in use,)`` int32; ``None`` in an older cache.
        digest: Hash of the rows, the same for every source; see `Rows.digest`.
        label_indices: For a multi-label task, the labels of all examples one after the other, ``(labels,)`` int32.
        label_offsets: First label of each example in ``label_indices``, and its length, ``(examples + 1,)`` int64.
        is_labelled: Whether every example has a label; ``None`` if that was not looked up.
        highest_type: The largest of ``token_type_ids``; ``None`` if that was not looked up.
    """

    input_ids: Tensor
    offsets: Tensor
    labels: Tensor
    token_type_ids: Tensor | None = None
    numbers: Tensor | None = None
    hashes: Tensor | None = None
    cut: Tensor | None = None
    used: Tensor | None = None
    digest: str | None = None
    label_indices: Tensor | None = None
    label_offsets: Tensor | None = None
    is_labelled: bool | None = None
    highest_type: int | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> Tensor:
        """Tokens of each example, ``(examples,)``."""
        return self.offsets.diff()

    @property
    def labelled(self) -> Tensor:
        """Which examples have a label, ``(examples,)`` bool."""
        return are_labels(self.labels)

    def vocabulary(self) -> tuple[Tensor, Tensor | None]:
        """All tokens that occur, and all token types: the few of them, where they are known, or those of all texts."""
        ids = self.input_ids if self.used is None else self.used
        known = self.token_type_ids is None or self.highest_type is None
        return ids, self.token_type_ids if known else torch.tensor([self.highest_type], device="cpu")


def are_labels(labels: Tensor) -> Tensor:
    """Which of some labels are known, ``(examples,)`` bool; see `TokenStore`."""
    return ~labels.isnan() if labels.is_floating_point() else labels >= 0


def tokenise(
    rows: Rows, tokenizer: Any, max_length: int, is_regression: bool, split: Split | None = None,
    truncation: Truncation = "head",
) -> TokenStore:  # fmt: skip
    """Tokenise every example, pairs as pairs, and cut it at ``max_length`` tokens, the longer text first.

    Raises:
        DataError: An example has no tokens, for example an empty text if the tokenizer adds no special tokens.
    """
    builder = StoreBuilder(tokenizer, max_length, is_regression, split, truncation=truncation)
    builder.add(rows)
    return builder.store()


def _parts(rows: Rows, size: int) -> Iterator[slice]:
    """Slices of at most ``size`` rows, and of about `_CHARACTERS` characters or fewer."""
    start = characters = 0
    for row, text in enumerate(rows.texts_a, start=1):
        characters += len(text) + (len(rows.texts_b[row - 1]) if rows.texts_b is not None else 0)
        if row - start == size or characters >= _CHARACTERS or row == len(rows):
            yield slice(start, row)
            start, characters = row, 0


class StoreBuilder:
    """Makes a `TokenStore` of rows that come in parts.

    Args:
        tokenizer: Their tokenizer.
        max_length: Tokens at which an example is cut.
        is_regression: Whether labels are scores.
        split: Where the rows come from, for messages.
        folder: Folder for temporary files, which hold arrays that are too large for the memory.
        truncation: What is kept of a long text.
    """

    def __init__(
        self, tokenizer: Any, max_length: int, is_regression: bool, split: Split | None, folder: Path | None = None,
        truncation: Truncation = "head",
    ) -> None:  # fmt: skip
        self._tokenizer, self._max_length, self._split = tokenizer, max_length, split
        self._truncation = truncation
        self._labels = LabelArrays(is_regression, folder)
        dtypes = {"input_ids": "int32", "token_type_ids": "uint8", "ends": "int64", "numbers": "int32"}
        self._arrays = {name: GrowingArray(dtype, folder) for name, dtype in dtypes.items()}
        self._arrays["ends"].append([0])
        self._encode: Encode | None = None
        self._used = np.zeros(0, bool)
        self._rows = self._tokens = 0

    def add(self, rows: Rows) -> NDArray[np.int64]:
        """Tokenise some rows, and return the number of tokens of each, ``(rows,)``.

        Raises:
            DataError: A row has no tokens.
        """
        self._encode = self._encode or encoder_of(rows, self._tokenizer, self._max_length, self._truncation)
        kept = [np.empty(0, np.int64)]
        for part in _parts(rows, _CHUNK):
            ids, types = self._encode(rows, part)
            if [] in ids:
                raise self._no_tokens(rows, part.start + ids.index([]))
            kept.append(np.fromiter(map(len, ids), np.int64, len(ids)))
            self._arrays["ends"].append(self._tokens + np.cumsum(kept[-1]))
            total = int(kept[-1].sum())
            flat = np.fromiter(chain.from_iterable(ids), np.int32, total)
            self._used = mark_used(self._used, flat)
            self._arrays["input_ids"].append(flat)
            if types is not None:
                self._arrays["token_type_ids"].append(np.fromiter(chain.from_iterable(types), np.uint8, total))
            self._tokens += total
        self._labels.add(rows.labels)
        if rows.numbers is not None:
            self._arrays["numbers"].append(rows.numbers)
        self._rows += len(rows)
        return np.concatenate(kept)

    def _no_tokens(self, rows: Rows, at: int) -> DataError:
        place = f"Row {self._rows + at} (from 0)" if self._split is None else self._split.place(rows, at)
        return DataError(f"{place}, {rows.texts_a[at]!r}, has no tokens with this tokenizer. Write something.")

    def store(self) -> TokenStore:
        """The rows so far."""
        found = {name: torch.from_numpy(array.array()) for name, array in self._arrays.items()}
        types, numbers = found["token_type_ids"], found["numbers"]
        labels: dict[str, Any] = {name: torch.from_numpy(array) for name, array in self._labels.arrays().items()}
        return TokenStore(
            found["input_ids"],
            found["ends"],
            token_type_ids=types if len(types) == self._tokens else None,
            numbers=numbers if len(numbers) == self._rows else None,
            used=torch.from_numpy(np.flatnonzero(self._used).astype(np.int32)),
            **labels,
        )


def evenly_spaced(store: TokenStore, limit: float | None, folder: Path | None = None) -> Tensor:
    """Positions of at most ``limit`` examples (below 1: that share of them), spread evenly, ``(examples,)``.

    The first examples alone could have one class, in a file sorted by label.

    Args:
        store: The examples.
        limit: Their number or share; ``None`` for all.
        folder: Folder for a temporary file that holds very many positions.

    Raises:
        DataError: ``limit`` leaves no example.
    """
    if limit is not None:
        limit = round(limit * len(store)) if 0 < limit < 1 else int(limit)
    if limit is None or limit >= len(store):
        every = torch.from_numpy(scratch_array(len(store), "int32", folder))
        return torch.arange(len(store), out=every, device="cpu")
    if limit < 1:
        raise DataError(f"A limit of {limit} rows leaves nothing to work on; allowed: 1 or more, or null for all.")
    return torch.arange(limit, device="cpu") * len(store) // limit
