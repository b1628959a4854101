"""Hold rows with several labels out so that each label keeps its share in both parts.

Iterative stratification: Sechidis, Tsoumakas and Vlahavas 2011, "On the Stratification of Multi-Label Data"
(https://doi.org/10.1007/978-3-642-23808-6_10), figure 1. The package iterative-stratification needs a matrix of rows by
labels, and sums it once for each label: minutes and gigabytes for thousands of labels.
"""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def hold_out_rows(
    offsets: NDArray[np.integer], indices: NDArray[np.integer], labels: int, fraction: float, seed: int
) -> NDArray[np.bool_]:
    """Choose the rows to hold out, ``(rows,)`` bool: at least one and not all, if there are two or more.

    The label with the fewest rows left is dealt with first. Each of its rows goes to the part that still wants more
    rows with this label, or else more rows; rows without labels fill the parts up. Of labels with a few rows each, the
    paper holds hardly any out; then more rows are held out whose labels all have another row that stays. The same
    labels, fraction and seed give the same choice.

    Args:
        offsets: Where the labels of each row start in ``indices``, and their end, ``(rows + 1,)``.
        indices: Label numbers of the rows, each once a row.
        labels: Number of labels.
        fraction: Share of the rows to hold out, above 0 and below 1.
        seed: Decides between rows with the same labels.
    """
    rows = len(offsets) - 1
    order = np.random.Generator(np.random.PCG64(seed)).permutation(rows)
    part = _deal(order, offsets, indices, labels, fraction)
    held_out: NDArray[np.bool_] = part == 1
    _hold_out_more(held_out, order, offsets, indices, round(rows * fraction))
    if rows > 1 and (held_out.all() or not held_out.any()):
        held_out[order[0]] = not held_out[order[0]]
    return held_out


def _deal(
    order: Ints, offsets: NDArray[np.integer], indices: NDArray[np.integer], labels: int, fraction: float
) -> NDArray[np.int8]:
    """The part of each row, ``(rows,)``: 0 stays, 1 is held out."""
    rows = len(order)
    part: NDArray[np.int8] = np.full(rows, -1, dtype=np.int8)
    left = np.bincount(indices, minlength=labels)  # rows of each label that are in no part yet
    starts, with_label = _rows_by_label(order, offsets, indices, left)
    shares = np.array([1 - fraction, fraction])
    wanted, wanted_rows = np.outer(shares, left), shares * rows
    while left.any():
        label = int(np.where(left > 0, left, rows + 1).argmin())
        for row in with_label[starts[label] : starts[label + 1]].tolist():
            if part[row] < 0:
                stay, out = wanted[:, label]
                chosen = int(out > stay or (out == stay and wanted_rows[1] > wanted_rows[0]))
                of_row = indices[offsets[row] : offsets[row + 1]]
                part[row], wanted_rows[chosen] = chosen, wanted_rows[chosen] - 1
                wanted[chosen, of_row] -= 1
                left[of_row] -= 1
    without = order[part[order] < 0]
    part[without] = 0
    part[without[: int(np.clip(round(wanted_rows[1]), 0, len(without)))]] = 1
    return part


def _hold_out_more(
    held_out: NDArray[np.bool_], order: Ints, offsets: NDArray[np.integer], indices: NDArray[np.integer], wanted: int
) -> None:
    """Hold out further rows, up to the number that is wanted, unless one of their labels would have none that stays."""
    missing = wanted - int(held_out.sum())
    stay = np.bincount(indices[~np.repeat(held_out, np.diff(offsets))], minlength=int(indices.max(initial=-1)) + 1)
    for row in order[~held_out[order]].tolist():
        if missing <= 0:
            return
        of_row = indices[offsets[row] : offsets[row + 1]]
        if (stay[of_row] > 1).all():
            held_out[row] = True
            stay[of_row] -= 1
            missing -= 1


def _rows_by_label(
    order: Ints, offsets: NDArray[np.integer], indices: NDArray[np.integer], counts: Ints
) -> tuple[Ints, Ints]:
    """Where each label's rows start, ``(labels + 1,)``, and the rows, of each label in the given order."""
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    row_of = np.repeat(np.arange(len(order)), np.diff(offsets))
    by_label = np.lexsort((places[row_of], indices))
    return np.concatenate([[0], np.cumsum(counts)]), row_of[by_label]
