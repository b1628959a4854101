import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from glue_lit.evaluation.calibration import calibrate, expected_calibration_error, fit_temperature, log_softmax


def draw_logits(labels: int, seed: int, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are too sharp by a factor, and gold labels drawn from the true probabilities."""
    generator = np.random.default_rng(seed)
    true = generator.normal(scale=1.5, size=(4000, labels))
    probabilities = np.exp(true) / np.exp(true).sum(axis=1, keepdims=True)
    gold = np.array([generator.choice(labels, p=row) for row in probabilities])
    return true * sharpness, gold


@pytest.mark.parametrize("labels", [2, 3, 7])
@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_temperature_equals_scipys_minimum(labels: int, sharpness: float) -> None:
    logits, gold = draw_logits(labels, 0, sharpness)
    found = fit_temperature(logits, gold)

    def loss(logarithm: float) -> float:
        scaled = logits / np.exp(logarithm)
        return float(log_loss(gold, np.exp(scaled) / np.exp(scaled).sum(axis=1, keepdims=True)))

    best = minimize_scalar(loss, bounds=(-4, 4), method="bounded", options={"xatol": 1e-9})
    assert found == pytest.approx(np.exp(best.x), rel=1e-4)
    assert found == pytest.approx(sharpness, rel=0.1)


def test_calibration_reports_loss_and_error_before_and_after() -> None:
    logits, gold = draw_logits(3, 1, 3.0)
    calibration = calibrate(logits, gold)
    probabilities = np.exp(log_softmax(logits))
    assert calibration.nll_before == pytest.approx(log_loss(gold, probabilities))
    assert calibration.nll_after < calibration.nll_before
    assert calibration.ece_before > 0.15
    assert calibration.ece_after < 0.03
    assert calibration.rows == 4000


@pytest.mark.parametrize("bins", [1, 5, 15])
def test_calibration_error_equals_equation_3_of_the_paper(bins: int) -> None:
    logits, gold = draw_logits(3, 2, 2.0)
    probabilities = np.exp(log_softmax(logits))
    error = 0.0
    for low in range(bins):  # equation 3, bin by bin
        inside = [
            (row.max(), row.argmax() == label)
            for row, label in zip(probabilities, gold, strict=True)
            if low / bins < row.max() <= (low + 1) / bins
        ]
        if inside:
            confidence, right = (np.mean(column) for column in zip(*inside, strict=True))
            error += len(inside) / len(gold) * abs(right - confidence)
    assert expected_calibration_error(probabilities, gold, bins) == pytest.approx(error, abs=1e-12)


def test_temperature_is_finite_for_a_model_that_is_always_right_or_wrong() -> None:
    logits = np.array([[5.0, -5.0], [-3.0, 3.0]])
    assert fit_temperature(logits, np.array([0, 1])) == pytest.approx(0.01)
    assert fit_temperature(logits, np.array([1, 0])) == pytest.approx(100)
    assert np.isfinite(calibrate(np.log(np.array([[1.0, 1e-300]])), np.array([1])).nll_after)


def test_the_temperature_of_several_labels_has_the_lowest_loss() -> None:
    rng = np.random.default_rng(7)
    true = rng.normal(size=(400, 5)) * 2
    gold = (rng.random((400, 5)) < 1 / (1 + np.exp(-true))).astype(np.int64)
    found = calibrate(3 * true, gold)  # three times as certain as is right
    assert found.temperature == pytest.approx(3, rel=0.15)
    assert (found.rows, found.nll_after < found.nll_before, found.ece_after < found.ece_before) == (400, True, True)

    def loss(temperature: float) -> float:
        shares = 1 / (1 + np.exp(-3 * true / temperature))
        return float(np.mean([log_loss(gold[:, at], shares[:, at]) for at in range(5)]))

    best = minimize_scalar(loss, bounds=(0.5, 20), method="bounded", options={"xatol": 1e-8})
    assert found.temperature == pytest.approx(best.x, rel=1e-4)
    assert (found.nll_before, found.nll_after) == pytest.approx((loss(1), loss(best.x)))
