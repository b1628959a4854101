import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from glue_lit.evaluation.calibration import expected_calibration_error
from glue_lit.evaluation.reliability import reliability


def test_curve_equals_scikit_learns() -> None:
    draw = np.random.default_rng(0)
    probabilities = draw.dirichlet([1, 1, 1], 500)
    gold = draw.integers(0, 3, 500)
    found = reliability(probabilities, gold)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == gold
    shares, means = calibration_curve(right, confidence, n_bins=15)
    assert [b.accuracy.value for b in found.bins] == pytest.approx(shares)
    assert [b.confidence for b in found.bins] == pytest.approx(means)
    assert sum(b.rows for b in found.bins) == 500
    assert found.error == expected_calibration_error(probabilities, gold)
    assert found.log_loss == pytest.approx(log_loss(gold, probabilities))


def test_log_loss_of_a_certain_wrong_model_is_finite() -> None:
    found = reliability(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1, 1]))
    assert 0 < found.log_loss < 1000
    assert found.error == 0.5
