"""Labels of many rows as flat arrays; those of a multi-label task take memory for the labels that rows have."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

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

    def tensors(self) -> dict[str, Any]:
        """The labels so far, by the names that they have in a `TokenStore`."""
        found = {"labels": self._labels}
        if self._has_sets:
            found |= {"label_indices": self._indices, "label_offsets": self._ends}
        return {name: torch.from_numpy(array.array()) for name, array in found.items()}


def describe_counts(counts: Tensor, indices: Tensor, names: Sequence[str]) -> str:
    """How many labels rows have, and which are the most frequent.

    Args:
        counts: Number of labels of each row, ``(rows,)``; -1 if unlabelled.
        indices: The labels of all rows.
        names: Names of all labels.
    """
    known, often = counts[counts >= 0], torch.bincount(indices, minlength=len(names))
    first = often.argsort(descending=True, stable=True)[:3].tolist()
    listed = ", ".join(f"{names[label]} ({int(often[label]) / max(1, len(known)):.0%} of the rows)" for label in first)
    mean, most = float(known.double().mean()), int(known.max())
    return f"Training rows have {mean:.2g} labels on average and at most {most}; most frequent: {listed}"


def dense_labels(
    rows: Tensor, counts: Tensor, indices: Tensor | None, offsets: Tensor | None, num_labels: int
) -> Tensor:
    """The labels of some rows as ``(rows, num_labels)`` float32: 1 for each of its labels, all -1 if unlabelled.

    Args:
        rows: Positions of the rows, ``(rows,)`` int64.
        counts: Number of labels of each of them, -1 if unlabelled, ``(rows,)`` int64.
        indices: Labels of all examples, one after the other; ``None`` if none is labelled.
        offsets: First label of each example in ``indices``, ``(examples + 1,)`` int64.
        num_labels: Labels of the task.
    """
    dense = torch.zeros(len(rows), num_labels, device="cpu")
    if indices is not None and offsets is not None:
        known = counts.clamp(min=0)
        of_row = torch.arange(len(rows), device="cpu").repeat_interleave(known)
        before = (offsets[rows] - (known.cumsum(0) - known)).repeat_interleave(known)
        dense[of_row, indices[before + torch.arange(len(of_row), device="cpu")].long()] = 1
    dense[counts < 0] = -1
    return dense
