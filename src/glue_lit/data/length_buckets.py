"""A few lengths to which training batches are padded, chosen from the data so that the padding is least."""

import numpy as np
from numpy.typing import NDArray

_Counts = NDArray[np.int64]


def choose_lengths(longest: _Counts, rows: _Counts, most: int, limit: int) -> list[int]:
    """The lengths that pad batches to the fewest tokens, each batch to the next length that its longest text fits into.

    Exact, by dynamic programming: the fewest tokens of the shorter batches with one length less are known, for each
    next length.

    Args:
        longest: Longest text of each batch, in tokens, ``(batches,)``.
        rows: Number of texts in each batch, ``(batches,)``.
        most: Number of lengths.
        limit: Longest text of all, which is always one of the lengths: another epoch puts other texts together.

    Returns:
        At most ``most`` lengths, ascending.
    """
    lengths, place = np.unique(np.append(longest, limit), return_inverse=True)
    upto = np.bincount(place, weights=np.append(rows, 0)).cumsum()  # rows of batches up to each length
    fewest = lengths * upto  # their tokens, all padded to that length
    choices: list[NDArray[np.intp]] = []
    for _ in range(min(most, len(lengths)) - 1):
        # [last, before]: batches above the length `before` are padded to the length `last`
        tokens = fewest[None] + lengths[:, None] * (upto[:, None] - upto)
        tokens[np.triu_indices(len(lengths))] = np.inf
        choices.append(tokens.argmin(axis=1))
        is_better = tokens.min(axis=1) < fewest
        choices[-1][~is_better] = -1
        fewest = np.where(is_better, tokens.min(axis=1), fewest)
    return _traced(lengths, choices)


def _traced(lengths: _Counts, choices: list[NDArray[np.intp]]) -> list[int]:
    """The lengths that led to the fewest tokens, from the longest down."""
    at, found = len(lengths) - 1, [int(lengths[-1])]
    for choice in reversed(choices):
        if choice[at] >= 0:  # else one length less is as good
            at = int(choice[at])
            found.append(int(lengths[at]))
    return found[::-1]
