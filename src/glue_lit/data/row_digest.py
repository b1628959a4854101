"""`RowDigest`: the hash of a split's rows, the same for the same rows from any source."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glue_lit.data.large_arrays import GrowingArray

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

    def add(self, texts_a: Sequence[str], texts_b: Sequence[str] | None, labels: Iterable[float | None]) -> None:
        """Add some rows; a label is a class number or a score, or ``None`` where it is hidden."""
        for piece in _pieces(texts_a, self._lengths[0]):
            self._digest.update(piece)
        for piece in _pieces(texts_b or [], self._lengths[1]):
            self._seconds.append(np.frombuffer(piece, np.uint8))
        self._labels.append([np.nan if label is None else label for label in labels])

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
