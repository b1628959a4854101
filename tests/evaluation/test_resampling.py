import math
import warnings

import numpy as np
import pytest
from scipy import stats

from glue_lit.evaluation.formulas import score
from glue_lit.evaluation.resampling import interval, resampled_scores, scores_with_intervals, share


def scipy_interval(name: str, gold: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """SciPy's percentile bootstrap, a resample at a time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = stats.bootstrap(
            (gold, predicted), lambda g, p: score(name, g, p), paired=True, vectorized=False, n_resamples=1000,
            method="percentile", random_state=np.random.default_rng(0),
        )  # fmt: skip
    return found.confidence_interval.low, found.confidence_interval.high


@pytest.mark.parametrize("name", ["accuracy", "f1", "macro_f1", "matthews_correlation"])
def test_intervals_of_classification_equal_scipys_bootstrap(name: str) -> None:
    draw = np.random.default_rng(3)
    gold = draw.integers(0, 2, 300)
    predicted = np.where(draw.random(300) < 0.8, gold, 1 - gold)
    found = scores_with_intervals((name,), gold, predicted)[name]
    assert found.value == score(name, gold, predicted)
    assert (found.low, found.high) == pytest.approx(scipy_interval(name, gold, predicted), abs=0.015)


@pytest.mark.parametrize("name", ["pearson", "spearmanr"])
def test_intervals_of_correlations_equal_scipys_bootstrap(name: str) -> None:
    draw = np.random.default_rng(4)
    gold = draw.integers(0, 11, 300) / 2
    predicted = gold + draw.normal(size=300)
    found = scores_with_intervals((name,), gold, predicted)[name]
    assert (found.low, found.high) == pytest.approx(scipy_interval(name, gold, predicted), abs=0.015)


def test_a_resample_draws_as_many_rows_as_the_split_has() -> None:
    ((scores,),) = resampled_scores(["accuracy"], np.array([1, 0, 1, 1]), [np.array([1, 0, 1, 0])])
    shares, counts = np.unique(scores, return_counts=True)
    assert shares.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert counts / len(scores) == pytest.approx(stats.binom.pmf(range(5), 4, 0.75), abs=0.02)


def test_runs_are_scored_on_the_same_resamples() -> None:
    gold, one, two = np.random.default_rng(6).integers(0, 2, (3, 50))
    first, second, again = resampled_scores(["accuracy"], gold, [one, two, one])[0]
    assert first.tolist() == again.tolist() != second.tolist()


def test_the_same_rows_give_the_same_interval() -> None:
    gold, predicted = np.random.default_rng(5).integers(0, 3, (2, 100))
    assert scores_with_intervals(("accuracy",), gold, predicted) == scores_with_intervals(
        ("accuracy",), gold, predicted
    )


def test_many_rows_get_fewer_resamples() -> None:
    for rows, resamples in ((10, 10_000), (10_000, 2_000)):
        scores = np.arange(float(rows))
        assert resampled_scores(["pearson"], scores, [scores]).shape == (1, 1, resamples)


def test_interval_is_nan_where_many_scores_are_undefined() -> None:
    draws = np.linspace(0, 1, 101)
    assert interval(draws) == pytest.approx((0.025, 0.975))
    draws[:20] = math.nan
    assert all(math.isnan(end) for end in interval(draws))


def test_share_has_wilsons_interval() -> None:
    # Wilson 1927 by hand: centre (k + z²/2) / (n + z²), half width z sqrt(k (n - k) / n + z²/4) / (n + z²)
    found = share(8, 10)
    assert (found.low, found.high) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert share(0, 5).low == 0
    assert share(5, 5).high == 1
    for right, rows in ((0, 5), (5, 5), (1, 1), (437, 872), (5462, 5463)):
        theirs = stats.binomtest(right, rows).proportion_ci(0.95, method="wilson")
        found = share(right, rows)
        assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_a_perfect_score_has_the_interval_of_its_rows() -> None:
    gold = np.array([1] + [0] * 9)  # F1's bootstrap is 0 / 0 where the one positive row is not drawn
    found = scores_with_intervals(("accuracy", "f1", "matthews_correlation", "macro_f1"), gold, gold)
    theirs = stats.binomtest(10, 10).proportion_ci(0.95, method="wilson")
    assert (found["accuracy"].low, found["accuracy"].high) == pytest.approx((theirs.low, 1))
    # Wilson's for one hit of one row: 1 / (1 + z²) = 0.206549, as F1 2 * 0.206549 / 1.206549
    assert (found["f1"].low, found["f1"].high) == pytest.approx((0.342380, 1), abs=1e-6)
    for name in ("matthews_correlation", "macro_f1"):  # all resamples with a score have 1: nothing tells the interval
        assert found[name].value == 1
        assert math.isnan(found[name].low)


def test_an_f1_of_zero_by_definition_has_no_interval() -> None:
    found = scores_with_intervals(("f1", "matthews_correlation"), np.zeros(20, int), np.zeros(20, int))
    assert [score.value for score in found.values()] == [0, 0]
    assert all(math.isnan(score.low) and math.isnan(score.high) for score in found.values())


@pytest.mark.parametrize("name", ["f1", "matthews_correlation"])
def test_resamples_without_a_score_are_left_out(name: str) -> None:
    gold, predicted = np.array([1, 1, 1, 0, 0, 0, 0, 0]), np.array([1, 1, 0, 0, 0, 0, 0, 0])
    ((scores,),) = resampled_scores([name], gold, [predicted])
    # without a positive row, whether gold or predicted, a resample has no F1 (and no correlation)
    assert np.isnan(scores).mean() == pytest.approx((5 / 8) ** 8, abs=0.01)
