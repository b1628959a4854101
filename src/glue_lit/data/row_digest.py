"""`RowDigest`: the hash of a split's rows, the same for the same rows from any source."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from glue_lit.data.large_arrays import GrowingArray

if TYPE_CHECKING:
    from glue_lit.data.rows import Label

_CHUNK = 10_000  # rows whose texts are followed by their lengths; it is part of the hash


class RowDigest:
    """BLAKE2 hash of rows that come in parts of any size.

    Args:
        folder: Folder for a temporary file, since all second texts are hashed after all first ones.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._digest = hashlib.blake2b(digest_size=32)
        self._seconds = GrowingArray("uint8", folder)
        self._lengths: tuple[list[int], list[int]] = ([], [])
        self._labels = GrowingArray("float64", folder)
        self._indices = GrowingArray("int32", folder)  # of the labels of a multi-label task
        self._has_sets = False

    def add(self, texts_a: Sequence[str], texts_b: Sequence[str] | None, labels: Sequence["Label"]) -> None:
        """Add some rows; a label is a class number, a score or a set of labels, or ``None`` where it is hidden."""
        for piece in _pieces(texts_a, self._lengths[0]):
            self._digest.update(piece)
        for piece in _pieces(texts_b or [], self._lengths[1]):
            self._seconds.append(np.frombuffer(piece, np.uint8))
        sets = [label for label in labels if isinstance(label, tuple)]
        if sets:
            self._has_sets = True
            self._indices.append(list(chain.from_iterable(sets)))
        numbers = [len(label) if isinstance(label, tuple) else label for label in labels]
        self._labels.append([np.nan if number is None else number for number in numbers])

    def hexdigest(self, names: Sequence[str] = ()) -> str:
        """The hash of all rows, in hexadecimal digits.

        Args:
            names: The classes as the data write them, so that the order of the model's outputs does not matter; empty
                for scores, which are hashed as float32, the precision that a model sees.
        """
        digest = self._digest.copy()
        digest.update(_as_bytes(self._lengths[0]))
        digest.update(self._seconds.array().data)
        digest.update(_as_bytes(self._lengths[1]))
        labels = self._labels.array()
        if not names:
            digest.update(labels.astype("<f4").data)
            return digest.hexdigest()
        if self._has_sets:
            return self._with_sets(digest, names, labels)
        counts = np.zeros(len(names) + 1, np.int64)
        for part in _chunks(labels):
            counts += np.bincount(_classes(part), minlength=len(names) + 1)
        used = sorted(name for name, count in zip(names, counts[1:], strict=True) if count)
        rank = {name: number for number, name in enumerate(used)}
        ranks = np.array([-1, *(rank.get(name, -1) for name in names)], dtype="<i8")  # the first for hidden labels
        digest.update(json.dumps(used).encode())
        for part in _chunks(labels):
            digest.update(ranks[_classes(part)].data)
        return digest.hexdigest()

    def _with_sets(self, digest: Any, names: Sequence[str], labels: NDArray[np.float64]) -> str:
        """The hash with the labels of a multi-label task, in the order of their names."""
        counts, indices = _classes(labels) - 1, self._indices.array()
        ordered = sorted(names)
        rank = {name: number for number, name in enumerate(ordered)}
        digest.update(counts.astype("<i8").data)
        for part in _ranked_sets(np.maximum(counts, 0), indices, np.array([rank[name] for name in names], np.int64)):
            used, numbers = np.unique(part, return_inverse=True)
            digest.update(json.dumps([ordered[at] for at in used]).encode())
            digest.update(numbers.astype("<i8").data)
        return str(digest.hexdigest())


def _pieces(texts: Sequence[str], lengths: list[int]) -> Iterable[bytes]:
    """The bytes of some texts, and after each chunk of rows the texts' lengths, of which ``lengths`` keeps the last."""
    start = 0
    while start < len(texts):
        part = texts[start : start + _CHUNK - len(lengths)]
        yield "".join(part).encode("utf-8", "surrogatepass")
        lengths.extend(map(len, part))
        start += len(part)
        if len(lengths) == _CHUNK:
            yield _as_bytes(lengths)
            lengths.clear()


def _as_bytes(lengths: list[int]) -> bytes:
    return np.array(lengths, dtype="<i8").tobytes()


def _chunks(labels: NDArray[np.float64]) -> Iterable[NDArray[np.float64]]:
    return (labels[start : start + (1 << 20)] for start in range(0, len(labels), 1 << 20))


def _classes(labels: NDArray[np.float64]) -> NDArray[np.int64]:
    """Class numbers from 1, and 0 where they are hidden."""
    return np.nan_to_num(labels + 1, nan=0).astype(np.int64)


def _ranked_sets(
    counts: NDArray[np.int64], indices: NDArray[np.int32], ranks: NDArray[np.int64]
) -> Iterator[NDArray[np.int64]]:
    """The labels of all rows by their ranks, ascending within each row, those of some rows at a time."""
    ends, first, start = np.cumsum(counts), 0, 0
    while first < len(counts):
        last = max(first + 1, int(np.searchsorted(ends, start + (1 << 20), "right")))
        found = ranks[indices[start : ends[last - 1]]]
        yield found[np.lexsort((found, np.repeat(np.arange(last - first), counts[first:last])))]
        first, start = last, int(ends[last - 1])
