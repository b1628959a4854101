"""The bootstrap: how much a figure would vary with other rows of the same kind.

Efron and Tibshirani 1993, "An Introduction to the Bootstrap": resampling of rows with replacement (chapter 6), and the
percentile interval (chapter 13).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glue_lit.evaluation.formulas import score, weighted_scores
from glue_lit.evaluation.predictions import Floats, Values

LEVEL = 0.95
_RESAMPLES, _LEAST_RESAMPLES = 10_000, 1_000
_WORK = 20_000_000  # numbers to draw: with more different rows there are fewer resamples
_AT_ONCE = 2_000_000  # of them in memory
_SEED = 20_180_420  # any number will do, as long as a report made twice says the same


@dataclass(frozen=True)
class Score:
    """A figure and its 95 % interval.

    Attributes:
        value: The figure; NaN where it is undefined.
        low: Lower end; NaN if there is none.
        high: Upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Sample:
    """Rows, those that are alike in every respect counted in place of repeated.

    Rows of a classification task have few different pairs of gold and predicted classes, so that drawing the counts
    of those (they are multinomial) in place of rows makes the bootstrap a thousand times faster and changes nothing.

    Attributes:
        gold: Gold values of the different rows, ``(different,)``.
        predicted: For each run, what it predicted for them.
        counts: How often each of them occurs.
    """

    gold: Values
    predicted: tuple[Values, ...]
    counts: NDArray[np.int64]

    @property
    def resamples(self) -> int:
        """How many resamples are drawn."""
        return max(_LEAST_RESAMPLES, min(_RESAMPLES, _WORK // len(self.counts)))


def sample_of(gold: Values, *predicted: Values) -> Sample:
    """Count the rows that are alike."""
    rows = np.stack([gold, *predicted], axis=1)
    _, first, counts = np.unique(rows, axis=0, return_index=True, return_counts=True)
    return Sample(gold[first], tuple(values[first] for values in predicted), counts)


def weights(sample: Sample) -> Iterator[NDArray[np.int64]]:
    """How often each row occurs in each resample, some resamples at a time, ``(resamples, different)``."""
    generator = np.random.default_rng(_SEED)
    rows, left = int(sample.counts.sum()), sample.resamples
    while left:
        size = min(left, max(1, _AT_ONCE // len(sample.counts)))
        yield generator.multinomial(rows, sample.counts / rows, size=size)
        left -= size


def interval(draws: Floats) -> tuple[float, float]:
    """The percentile interval of resampled figures; NaN where more than a tenth of them are undefined."""
    known = draws[~np.isnan(draws)]
    if len(known) < 0.9 * len(draws):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def intervals(
    names: tuple[str, ...], gold: Values, predicted: Values, positive: int = 1
) -> dict[str, tuple[float, float]]:
    """The 95 % intervals of metrics (F1 of the positive class), by name; NaN where there is none."""
    sample = sample_of(gold, predicted)
    draws: dict[str, list[Floats]] = {name: [] for name in names}
    for often in weights(sample):
        for name in names:
            draws[name].append(weighted_scores(name, often, sample.gold, sample.predicted[0], positive))
    return {name: interval(np.concatenate(draws[name])) for name in names}


def scores_with_intervals(
    names: tuple[str, ...], gold: Values, predicted: Values, positive: int = 1
) -> dict[str, Score]:
    """Metrics by name, each with its 95 % interval."""
    ends = intervals(names, gold, predicted, positive)
    return {name: Score(score(name, gold, predicted, positive), *ends[name]) for name in names}
