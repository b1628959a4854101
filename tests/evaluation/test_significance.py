"""Paired comparisons against SciPy's tests."""

import numpy as np
import pytest
from scipy import stats

from glue_lit.errors import RunError
from glue_lit.evaluation.formulas import score
from glue_lit.evaluation.predictions import Predictions
from glue_lit.evaluation.significance import compare, mcnemar_test


def predictions_of(gold: np.ndarray, values: np.ndarray, start: int = 0) -> Predictions:
    return Predictions(np.arange(start, start + len(gold)), gold, values, None)


def noisy_predictions(gold: np.ndarray, right: float, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return np.where(draw.random(len(gold)) < right, gold, 1 - gold)


def test_mcnemar_is_the_sign_test_on_the_rows_that_one_gets_right() -> None:
    first = np.array([True] * 30 + [False] * 12 + [True] * 50 + [False] * 8)
    second = np.array([False] * 30 + [True] * 12 + [True] * 50 + [False] * 8)
    found = mcnemar_test(first, second)
    assert (found.only_first, found.only_second, found.both, found.neither) == (30, 12, 50, 8)
    assert found.p == pytest.approx(2 * stats.binom.cdf(12, 42, 0.5))


def test_equal_predictions_do_not_differ() -> None:
    gold = np.random.default_rng(0).integers(0, 2, 200)
    run = predictions_of(gold, noisy_predictions(gold, 0.8, 1))
    for metric in ("accuracy", "matthews_correlation"):
        found = compare(metric, run, run)
        assert not found.is_more_than_chance
        assert (found.difference.value, found.difference.low, found.difference.high, found.p) == (0, 0, 0, 1)
        assert found.mcnemar is not None
        assert found.mcnemar.p == 1


@pytest.mark.parametrize("metric", ["accuracy", "f1", "matthews_correlation"])
def test_a_large_difference_is_more_than_chance_and_a_small_one_is_not(metric: str) -> None:
    gold = np.random.default_rng(0).integers(0, 2, 400)
    weak, near, strong = (predictions_of(gold, noisy_predictions(gold, right, 2)) for right in (0.7, 0.705, 0.9))
    better, same = compare(metric, weak, strong), compare(metric, weak, near)
    assert better.is_more_than_chance
    assert better.difference.value == score(metric, gold, strong.values) - score(metric, gold, weak.values)
    assert better.difference.low > 0
    assert better.p < 0.01
    assert not same.is_more_than_chance
    assert better.decided_by == ("McNemar's test" if metric == "accuracy" else "the paired bootstrap")
    assert sum(better.heights) == better.resamples == 10_000


def test_paired_bootstrap_equals_scipys() -> None:
    draw = np.random.default_rng(5)
    gold = draw.random(200) * 5
    first, second = gold + draw.normal(size=200), gold + 1.3 * draw.normal(size=200)
    found = compare("pearson", predictions_of(gold, first), predictions_of(gold, second))
    theirs = stats.bootstrap(
        (gold, first, second), lambda g, a, b: score("pearson", g, b) - score("pearson", g, a), paired=True,
        vectorized=False, n_resamples=1000, method="percentile", random_state=draw,
    ).confidence_interval  # fmt: skip
    assert found.mcnemar is None
    assert (found.difference.low, found.difference.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_comparison_uses_only_rows_that_both_predicted() -> None:
    gold = np.random.default_rng(0).integers(0, 2, 100)
    first, second = predictions_of(gold[:60], gold[:60]), predictions_of(gold[40:], 1 - gold[40:], start=40)
    found = compare("accuracy", first, second)
    assert (found.rows, found.difference.value) == (20, -1.0)


def test_runs_on_other_rows_cannot_be_compared() -> None:
    gold = np.array([0, 1, 1, 0])
    with pytest.raises(RunError, match="their gold labels differ"):
        compare("accuracy", predictions_of(gold, gold), predictions_of(1 - gold, gold))
    with pytest.raises(RunError, match="they have none in common"):
        compare("accuracy", predictions_of(gold, gold), predictions_of(gold, gold, start=4))
