"""Whether two runs differ on the same rows by more than chance.

Dror et al. 2018, "The Hitchhiker's Guide to Testing Statistical Significance in Natural Language Processing"
(https://aclanthology.org/P18-1128): McNemar's test for accuracy, the paired bootstrap for other metrics.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from glue_lit.errors import RunError
from glue_lit.evaluation.formulas import as_metric, score
from glue_lit.evaluation.predictions import Floats, Ints, Predictions, Values
from glue_lit.evaluation.resampling import LEVEL, Score, interval, resampled_scores, why_no_interval
from glue_lit.tasks.chosen_metrics import Metric

_BINS = 40  # of the histogram of differences


@dataclass(frozen=True)
class McNemar:
    """Rows that one run, both or neither gets right, and the exact two-sided p-value if both were equally accurate."""

    only_first: int
    only_second: int
    both: int
    neither: int
    p: float


@dataclass(frozen=True)
class Comparison:
    """The difference of two runs on the rows that both predicted."""

    metric: str
    rows: int
    difference: Score  # second minus first, with its interval from the paired bootstrap
    p: float  # two-sided: twice the share of resamples on the other side of zero
    resamples: int  # number of resamples
    edges: list[float]  # of the histogram of resampled differences
    heights: list[int]  # resamples in each bin
    mcnemar: McNemar | None  # `None` for regression
    decided_by: str  # the test behind `is_more_than_chance`; empty if there is none for the metric
    is_more_than_chance: bool  # at the 5 % level
    lower_is_better: bool = False  # whether a lower value of the metric is better


def compare(metric: str | Metric, first: Predictions, second: Predictions, positive: int = 1) -> Comparison:
    """Compare two runs row by row by a metric; ``positive`` is the class of F1, of a metric given by name.

    Raises:
        RunError: They have no rows in common, or different gold labels.
    """
    metric = as_metric(metric, positive)
    first, second = _paired(first, second)
    gold, one, two = first.gold, first.values, second.values
    scores = [score(metric, gold, run.values, probabilities=run.probabilities) for run in (first, second)]
    draws = _resampled_differences(metric, first, second)
    known = draws[~np.isnan(draws)]
    difference = Score(scores[1] - scores[0], *interval(draws))
    # The rows themselves count as one more resample, so that p is never 0
    # (Davison and Hinkley 1997, "Bootstrap Methods and their Application", section 4.2).
    tail = min(int((known <= 0).sum()), int((known >= 0).sum()))
    p = min(1.0, 2 * (tail + 1) / (len(known) + 1))
    heights, edges = np.histogram(known, bins=_BINS) if len(known) else (np.zeros(0), np.zeros(0))
    right = [(values == gold).reshape(len(gold), -1).all(axis=1) for values in (one, two)]
    mcnemar = None if gold.dtype.kind == "f" else mcnemar_test(*right)
    is_more, decided_by = difference.low > 0 or difference.high < 0, "the paired bootstrap" if len(draws) else ""
    if mcnemar is not None and metric.name in ("accuracy", "subset_accuracy"):
        is_more, decided_by = mcnemar.p < 1 - LEVEL, "McNemar's test"
    return Comparison(
        metric.logged, len(gold), difference, p, len(draws), edges.tolist(), heights.astype(int).tolist(), mcnemar,
        decided_by, is_more, metric.lower_is_better,
    )  # fmt: skip


def mcnemar_test(first: np.ndarray, second: np.ndarray) -> McNemar:
    """The exact test of McNemar 1947, "Note on the sampling error of the difference between correlated proportions".

    Args:
        first: Whether the first run is right, ``(rows,)`` bool.
        second: Whether the second run is right, ``(rows,)`` bool.
    """
    one, two = int((first & ~second).sum()), int((second & ~first).sum())
    p = float(stats.binomtest(one, one + two).pvalue) if one + two else 1.0
    return McNemar(one, two, int((first & second).sum()), int((~first & ~second).sum()), p)


def _resampled_differences(metric: Metric, first: Predictions, second: Predictions) -> Floats:
    """Second minus first on each resample; none where the metric has no interval."""
    runs = (first, second)
    labels = 1 if first.gold.ndim == 1 else first.gold.shape[1]
    if any(why_no_interval(metric, len(run), run.probabilities, labels) for run in runs):
        return np.zeros(0)
    needs = metric.needs in ("means", "ranking")
    probabilities = [run.probabilities for run in runs if run.probabilities is not None and needs]
    ((of_first, of_second),) = resampled_scores(
        [metric], first.gold, [run.values for run in runs], probabilities=probabilities
    )
    difference: Floats = of_second - of_first
    return difference


def _paired(first: Predictions, second: Predictions) -> tuple[Predictions, Predictions]:
    """The rows that both runs predicted, with the gold labels of the first."""
    _, here, there = np.intersect1d(first.idx, second.idx, return_indices=True)
    gold, other = first.gold[here], second.gold[there]
    if not len(gold) or np.abs(gold - other).max() > 1e-5:
        what = "their gold labels differ" if len(gold) else "they have none in common"
        raise RunError(
            f"report: the runs have not predicted the same rows: {what}. Compare runs on the same data, "
            "or make a report for each."
        )
    return _at(first, here, gold), _at(second, there, gold)


def _at(run: Predictions, rows: Ints, gold: Values) -> Predictions:
    probabilities = None if run.probabilities is None else run.probabilities[rows]
    return Predictions(run.idx[rows], gold, run.values[rows], probabilities)
