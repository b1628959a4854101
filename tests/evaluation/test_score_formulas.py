"""Edge cases of the metrics of regression: constant scores, scores of any scale, few rows, and rounding."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import r2_score

from glue_lit.evaluation.formulas import score
from glue_lit.evaluation.score_formulas import OF_SCORES


def r2(gold: Any, predicted: Any) -> float:
    return score("r2", np.asarray(gold, dtype=np.float64), np.asarray(predicted, dtype=np.float64))


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_r2_has_no_scale(scale: float, offset: float) -> None:
    gold = (np.arange(9.0) + offset) * scale
    predicted = gold + np.sin(np.arange(9.0)) * scale
    assert r2(gold, predicted) == pytest.approx(r2_score(gold, predicted), abs=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e10 / 3, 1e-12 / 3])
def test_r2_of_constant_scores_is_1_if_all_are_predicted_else_0(constant: float) -> None:
    """The mean of seven equal scores may differ from them in its last bit."""
    gold = np.full(7, constant)
    assert r2(gold, gold) == 1
    assert r2(gold, gold + np.arange(7.0)) == 0


def test_r2_of_one_row_or_with_nan_is_undefined() -> None:
    assert math.isnan(r2([1.0], [1.0]))
    assert math.isnan(r2([1.0, 2.0], [1.0, math.nan]))
    assert r2([1.0, 2.0], [1.0, 2.0]) == 1


def test_pearson_of_scores_far_from_zero_keeps_its_precision() -> None:
    steps = np.arange(40.0)
    predicted = steps + 8 * np.sin(steps)
    expected = stats.pearsonr(steps, predicted)[0]
    assert score("pearson", steps + 1e9, predicted) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["pearson", "spearmanr", "kendall"])
@pytest.mark.parametrize("rows", [3, 7, 10, 21, 41])
def test_a_correlation_never_leaves_its_range(name: str, rows: int) -> None:
    values = np.sin(np.arange(rows)) / 3
    assert score(name, values, values) == pytest.approx(1, abs=1e-12)
    assert score(name, values, -values) == pytest.approx(-1, abs=1e-12)
    assert abs(score(name, values, values)) <= 1
    assert abs(score(name, values, -values)) <= 1


@pytest.mark.parametrize("name", ["pearson", "spearmanr", "kendall"])
def test_a_correlation_with_constant_values_is_nan_without_a_warning(name: str) -> None:
    weight, constant, other = np.ones((2, 5)), np.full(5, 0.3), np.arange(5.0)
    assert np.isnan(OF_SCORES[name](weight, constant, other)).all()
    assert np.isnan(OF_SCORES[name](weight, other, constant)).all()


def test_kendall_counts_pairs_that_are_tied_in_either_or_both() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        gold, predicted = rng.integers(0, 4, 30).astype(np.float64), rng.integers(0, 5, 30).astype(np.float64)
        assert score("kendall", gold, predicted) == pytest.approx(stats.kendalltau(gold, predicted)[0], abs=1e-12)
