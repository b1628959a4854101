"""Random draws that come out the same on every Python version and platform."""

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draws:
    """A named stream of random draws.

    Only `random.Random.random()` is used: Python promises to keep its sequence for a given seed,
    and makes no such promise for `choice`, `sample` or `shuffle`.
    """

    def __init__(self, name: str) -> None:
        """Start the stream of this name from its beginning."""
        self._random = random.Random(name)

    def below(self, bound: int) -> int:
        """An integer from 0 up to, and without, `bound`."""
        return int(self._random.random() * bound)

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self._random.random() < probability

    def spread(self, width: float) -> float:
        """A number between -width and +width."""
        return (2 * self._random.random() - 1) * width

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.below(len(options))]

    def other(self, options: Sequence[T], than: T) -> T:
        """One of the options that differs from `than`."""
        return self.pick([option for option in options if option != than])

    def two(self, options: Sequence[T]) -> tuple[T, T]:
        """Two different options, in random order."""
        first = self.pick(options)
        return first, self.other(options, first)

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in random order (Fisher-Yates)."""
        order = list(items)
        for last in range(len(order) - 1, 0, -1):
            chosen = self.below(last + 1)
            order[last], order[chosen] = order[chosen], order[last]
        return order
