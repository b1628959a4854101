"""Labels of many rows as flat arrays; those of a multi-label task take memory for the labels that rows have."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glue_lit.data.large_arrays import GrowingArray
from glue_lit.data.rows import Label


class LabelArrays:
    """Grows with the labels of each part of the rows.

    Args:
        is_regression: Whether labels are scores.
        folder: Folder for temporary files, which hold arrays that are too large for the memory.
    """

    def __init__(self, is_regression: bool, folder: Path | None = None) -> None:
        self._hidden: float = float("nan") if is_regression else -1
        self._labels = GrowingArray("float32" if is_regression else "int64", folder)
        self._indices, self._ends = GrowingArray("int32", folder), GrowingArray("int64", folder)
        self._rows = self._total = 0
        self._has_sets = False

    def add(self, labels: Sequence[Label]) -> None:
        """Add the labels of some rows."""
        if not self._has_sets and any(isinstance(label, tuple) for label in labels):
            self._has_sets = True
            self._ends.append(np.zeros(1 + self._rows, np.int64))
        self._rows += len(labels)
        if not self._has_sets:
            self._labels.append([self._hidden if label is None else label for label in labels])
            return
        sets = [label if isinstance(label, tuple) else () for label in labels]
        counts = np.fromiter(map(len, sets), np.int64, len(sets))
        self._indices.append(np.fromiter(chain.from_iterable(sets), np.int32, int(counts.sum())))
        self._ends.append(self._total + np.cumsum(counts))
        self._total += int(counts.sum())
        self._labels.append(np.where([label is None for label in labels], -1, counts))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The labels so far, by the names that they have in a `TokenStore`."""
        found = {"labels": self._labels}
        if self._has_sets:
            found |= {"label_indices": self._indices, "label_offsets": self._ends}
        return {name: array.array() for name, array in found.items()}
