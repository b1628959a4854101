"""Tokens of a split: flat arrays, made once and cached for all processes.

`TokenStore` earns its keep by speed and memory: all of MNLI is about 15 M tokens, or 60 MB. Instead of a Python object
per example, it has one array each of ids, offsets and labels, and one indexing operation cuts a whole batch.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from glue_lit.data.cut_texts import CutCounter
from glue_lit.data.head_tail import Truncation
from glue_lit.data.label_arrays import LabelArrays
from glue_lit.data.large_arrays import GrowingArray, mark_used, write_arrays
from glue_lit.data.row_digest import RowDigest
from glue_lit.data.rows import Rows, Split
from glue_lit.data.text_hashes import hash_texts
from glue_lit.data.token_encoder import Encode, encoder_of
from glue_lit.data.tokenizers import tokenizer_fingerprint
from glue_lit.errors import DataError, RunError
from glue_lit.system.ahead import ahead
from glue_lit.system.files import one_at_a_time, open_atomic_binary

_LAYOUT = 3  # part of the cache key; increase it when the arrays change their meaning
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

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> Tensor:
        """Tokens of each example, ``(examples,)``."""
        return self.offsets.diff()

    @property
    def labelled(self) -> Tensor:
        """Which examples have a label, ``(examples,)`` bool."""
        return ~self.labels.isnan() if self.labels.is_floating_point() else self.labels >= 0


def tokenise(
    rows: Rows, tokenizer: Any, max_length: int, is_regression: bool, split: Split | None = None,
    truncation: Truncation = "head",
) -> TokenStore:  # fmt: skip
    """Tokenise every example, pairs as pairs, and cut it at ``max_length`` tokens, the longer text first.

    Raises:
        DataError: An example has no tokens, for example an empty text if the tokenizer adds no special tokens.
    """
    builder = _StoreBuilder(tokenizer, max_length, is_regression, split, truncation=truncation)
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


class _StoreBuilder:
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


def cached_tokens(
    split: Split, tokenizer: Any, max_length: int, is_regression: bool, folder: Path, truncation: Truncation = "head"
) -> TokenStore:
    """The split's tokens, from the cache if the same content was tokenised before by the same tokenizer and length.

    A cache that cannot be written (read-only home, full disk) is ignored.

    Raises:
        DataError: The split cannot be read.
    """
    content = [split.name, split.fingerprint, is_regression]
    how = [tokenizer_fingerprint(tokenizer), max_length, *([truncation] if truncation != "head" else [])]
    key = json.dumps([_LAYOUT, *content, *how])
    path = folder / f"{split.name}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"
    if (known := _read(path)) is not None:
        return known
    with one_at_a_time(path.with_suffix(".lock")):  # the devices of a fit would all do the same work
        if (known := _read(path)) is not None:
            return known
        builder = _StoreBuilder(tokenizer, max_length, is_regression, split, folder, truncation)
        store = _tokenise_parts(split, tokenizer, max_length, builder, folder)
        arrays = {name: value.numpy() for name, value in vars(store).items() if isinstance(value, Tensor)}
        with contextlib.suppress(RunError), open_atomic_binary(path) as file:
            write_arrays(file, arrays, {"digest": store.digest or ""})
        return _read(path) or store  # the file's arrays are mapped into memory


def _tokenise_parts(split: Split, tokenizer: Any, max_length: int, builder: _StoreBuilder, folder: Path) -> TokenStore:
    """Tokenise a split part by part, while the next part is read."""
    hashes, digest, cut = GrowingArray("int64", folder), RowDigest(folder), CutCounter(max_length)
    for rows in ahead(split.parts()):
        cut.add(rows, builder.add(rows))
        hashes.append(hash_texts(rows.texts_a, rows.texts_b).numpy())
        digest.add(rows.texts_a, rows.texts_b, rows.labels)
    return replace(
        builder.store(),
        hashes=torch.from_numpy(hashes.array()),
        cut=cut.count(split.parts, tokenizer),
        digest=digest.hexdigest(split.labels),
    )


def _read(path: Path) -> TokenStore | None:
    """The store in a file; ``None`` if the file is missing or damaged."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            return TokenStore(**tensors, digest=(file.metadata() or {}).get("digest"))
    except (OSError, SafetensorError, TypeError):
        return None


def evenly_spaced(store: TokenStore, limit: float | None) -> Tensor:
    """Positions of at most ``limit`` examples (below 1: that share of them), spread evenly, ``(examples,)``.

    The first examples alone could have one class, in a file sorted by label.

    Raises:
        DataError: ``limit`` leaves no example.
    """
    if limit is not None:
        limit = round(limit * len(store)) if 0 < limit < 1 else int(limit)
    if limit is None or limit >= len(store):
        return torch.arange(len(store), dtype=torch.int32, device="cpu")
    if limit < 1:
        raise DataError(f"A limit of {limit} rows leaves nothing to work on; allowed: 1 or more, or null for all.")
    return torch.arange(limit, device="cpu") * len(store) // limit
