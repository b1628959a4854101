"""Sort examples by length without more memory than a part of them takes, and a file for the result."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glue_lit.data.large_arrays import parts_of, scratch_array


def count_lengths(lengths: NDArray[Any]) -> NDArray[np.int64]:
    """How many examples have each length, ``(longest + 1,)``."""
    counts = np.zeros(1, np.int64)
    for part in parts_of(len(lengths)):
        found = np.bincount(lengths[part])
        counts = np.pad(counts, (0, max(0, len(found) - len(counts))))
        counts[: len(found)] += found
    return counts


def sort_longest_first(
    lengths: NDArray[Any], folder: Path | None, order: NDArray[np.int32] | None = None
) -> NDArray[np.int32]:
    """Sort examples by length, the longest first, equal ones in their order, ``(examples,)`` int32.

    The examples are counted by length, and then each goes to its place, part by part.

    Args:
        lengths: Tokens of each example.
        folder: Folder for a temporary file that holds many examples.
        order: Examples in the order of equal ones, any number of times each; all of them if it is ``None``.
    """
    size = len(lengths) if order is None else len(order)
    counts = count_lengths(lengths if order is None else taken(lengths, order, folder))
    places = size - np.cumsum(counts)  # the place of the next example of each length
    result = scratch_array(size, "int32", folder)
    for part in parts_of(size):
        rows = np.arange(part.start, part.stop, dtype=np.int32) if order is None else order[part]
        own = lengths[rows].astype(np.int64)
        shorter = (len(counts) - 1 - own).astype(np.min_scalar_type(len(counts)))  # small numbers sort faster
        by_length = shorter.argsort(kind="stable")
        found = np.bincount(own, minlength=len(counts))
        own = own[by_length]
        firsts = len(rows) - np.cumsum(found)  # the first of each length among these
        result[places[own] + np.arange(len(rows)) - firsts[own]] = rows[by_length]
        places += found
    return result


def taken(values: NDArray[Any], positions: NDArray[Any], folder: Path | None) -> NDArray[Any]:
    """The values at some positions, as ``values[positions]``, in a temporary file if they are many.

    Args:
        values: The values, ``(n,)`` or ``(n, m)``.
        positions: Positions of the wanted ones.
        folder: Folder for the file.
    """
    width = int(np.prod(values.shape[1:], dtype=np.int64))
    found = scratch_array(len(positions) * width, str(values.dtype), folder).reshape(-1, *values.shape[1:])
    for part in parts_of(len(positions)):
        found[part] = values[positions[part]]
    return found
