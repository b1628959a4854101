"""Two runs on the same rows: is the difference more than chance?

Dror et al. 2018, "The Hitchhiker's Guide to Testing Statistical Significance in Natural Language Processing"
(https://aclanthology.org/P18-1128): McNemar's test for accuracy, the paired bootstrap for other metrics.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from glue_lit.errors import RunError
from glue_lit.evaluation.formulas import score, weighted_scores
from glue_lit.evaluation.predictions import Floats, Predictions, Values
from glue_lit.evaluation.resampling import LEVEL, Score, interval, sample_of, weights

_BINS = 40  # of the histogram of differences


@dataclass(frozen=True)
class McNemar:
    """McNemar's test on the rows that one run gets right and the other wrong.

    Attributes:
        only_first: Rows that only the first run gets right.
        only_second: Rows that only the second gets right.
        both: Rows that both get right.
        neither: Rows that neither gets right.
        p: Probability of a split as uneven as this, were both runs as good (exact, two-sided).
    """

    only_first: int
    only_second: int
    both: int
    neither: int
    p: float


@dataclass(frozen=True)
class Comparison:
    """What sets the second run apart from the first.

    Attributes:
        metric: The metric that they are compared by.
        rows: Rows that both have predicted.
        difference: Second minus first, with its interval from the paired bootstrap.
        p: Share of resamples on the other side of zero, twice.
        resamples: How many there were.
        edges: Edges of the bins of the resampled differences.
        heights: How many of them fell into each.
        mcnemar: McNemar's test; nothing for regression.
        decided_by: Which of the two answers the question.
        is_more_than_chance: The answer, at the 5 % level.
    """

    metric: str
    rows: int
    difference: Score
    p: float
    resamples: int
    edges: list[float]
    heights: list[int]
    mcnemar: McNemar | None
    decided_by: str
    is_more_than_chance: bool


def compare(metric: str, first: Predictions, second: Predictions, positive: int = 1) -> Comparison:
    """Compare two runs row by row.

    Args:
        metric: By which they are compared.
        first: Predictions of the one.
        second: Those of the other.
        positive: The class that F1 is of.

    Raises:
        RunError: They have not predicted the same rows.
    """
    gold, one, two = _paired(first, second)
    draws = _differences(metric, gold, one, two, positive)
    known = draws[~np.isnan(draws)]
    by = score(metric, gold, two, positive) - score(metric, gold, one, positive)
    difference = Score(by, *interval(draws))
    # One is added to both parts, since the rows as they are count as a resample, so that no p is 0
    # (Davison and Hinkley 1997, "Bootstrap Methods and their Application", section 4.2).
    tail = min(int((known <= 0).sum()), int((known >= 0).sum()))
    p = min(1.0, 2 * (tail + 1) / (len(known) + 1))
    heights, edges = np.histogram(known, bins=_BINS) if len(known) else (np.zeros(0), np.zeros(0))
    mcnemar = None if gold.dtype.kind == "f" else mcnemar_test(one == gold, two == gold)
    is_more, decided_by = difference.low > 0 or difference.high < 0, "the paired bootstrap"
    if mcnemar is not None and metric == "accuracy":
        is_more, decided_by = mcnemar.p < 1 - LEVEL, "McNemar's test"
    return Comparison(
        metric, len(gold), difference, p, len(draws), edges.tolist(), heights.astype(int).tolist(), mcnemar,
        decided_by, is_more,
    )  # fmt: skip


def mcnemar_test(first: np.ndarray, second: np.ndarray) -> McNemar:
    """McNemar's test, exact: of the rows that only one gets right, each is as likely to be either's.

    McNemar 1947, "Note on the sampling error of the difference between correlated proportions or percentages".

    Args:
        first: Which rows the first run gets right, ``(rows,)`` bool.
        second: The same of the second run.
    """
    one, two = int((first & ~second).sum()), int((second & ~first).sum())
    p = float(stats.binomtest(one, one + two).pvalue) if one + two else 1.0
    return McNemar(one, two, int((first & second).sum()), int((~first & ~second).sum()), p)


def _differences(metric: str, gold: Values, one: Values, two: Values, positive: int) -> Floats:
    """Second minus first in each resample of the rows, ``(resamples,)``."""
    sample = sample_of(gold, one, two)
    return np.concatenate(
        [
            weighted_scores(metric, often, sample.gold, sample.predicted[1], positive)
            - weighted_scores(metric, often, sample.gold, sample.predicted[0], positive)
            for often in weights(sample)
        ]
    )


def _paired(first: Predictions, second: Predictions) -> tuple[Values, Values, Values]:
    """Gold, first and second values of the rows that both have predicted."""
    _, here, there = np.intersect1d(first.idx, second.idx, return_indices=True)
    gold, other = first.gold[here], second.gold[there]
    if not len(gold) or np.abs(gold - other).max() > 1e-5:
        what = "their gold labels differ" if len(gold) else "they have none in common"
        raise RunError(
            f"report: the runs have not predicted the same rows: {what}. Compare runs on the same data, "
            "or make a report for each."
        )
    return gold, first.values[here], second.values[there]
