"""Labels in order (ratings, grades), which a model's score tells: where the score of one level ends."""

from bisect import bisect_right
from collections.abc import Sequence


def default_cut_points(levels: int) -> tuple[float, ...]:
    """The lowest score of each level but the first: the middle between the numbers of two levels."""
    return tuple(number + 0.5 for number in range(levels - 1))


def level_of(score: float, cut_points: Sequence[float]) -> int:
    """The number of the level that a score tells, from 0."""
    return bisect_right(cut_points, score)
