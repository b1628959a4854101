"""Labels of a multi-label task as tensors: how many rows have, and one column for each label in a batch."""

from collections.abc import Sequence

import torch
from torch import Tensor


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
