"""Temperature scaling: probabilities that say how often the model is right.

Guo et al. 2017, "On Calibration of Modern Neural Networks" (https://arxiv.org/abs/1706.04599).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
BINS = 15  # of the same width, as in the paper's experiments
_LOWEST, _HIGHEST = 1e-2, 1e2  # temperatures; a model that is always right would go to 0


@dataclass(frozen=True)
class Calibration:
    """A temperature, and what it does to the rows that it was fitted on.

    Attributes:
        temperature: What logits are divided by.
        rows: Labelled rows it was fitted on.
        nll_before: Mean negative log-likelihood with the logits as they are.
        nll_after: With the temperature.
        ece_before: Expected calibration error, in 0 to 1, with the logits as they are.
        ece_after: With the temperature.
    """

    temperature: float
    rows: int
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float


def log_softmax(logits: Array) -> Array:
    """Logarithms of the probabilities, ``(rows, labels)``."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    scaled: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return scaled


def negative_log_likelihood(logits: Array, gold: NDArray[np.int64]) -> float:
    """Mean over rows of minus the logarithm of the gold label's probability."""
    return float(-log_softmax(logits)[np.arange(len(gold)), gold].mean())


def expected_calibration_error(probabilities: Array, gold: NDArray[np.int64], bins: int = BINS) -> float:
    """How far confidence and accuracy lie apart, over bins of confidence weighed by their rows (eq. 3).

    Args:
        probabilities: ``(rows, labels)``.
        gold: Classes, ``(rows,)``.
        bins: Number of bins of the same width, each open below and closed above.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == gold
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(gold))


def fit_temperature(logits: Array, gold: NDArray[np.int64]) -> float:
    """The temperature with the least negative log-likelihood (section 4.2), in 0.01 to 100.

    The likelihood has one optimum in 1/T, where the mean of the gold logit is that which the model expects;
    it is found by halving, in the logarithm.
    """
    low, high = np.log(1 / _HIGHEST), np.log(1 / _LOWEST)
    centred = logits - logits.max(axis=1, keepdims=True)
    of_gold = float(centred[np.arange(len(gold)), gold].mean())
    for _ in range(100):
        middle = (low + high) / 2
        expected = float((np.exp(log_softmax(centred * np.exp(middle))) * centred).sum(axis=1).mean())
        if expected < of_gold:  # sharper would be likelier
            low = middle
        else:
            high = middle
    return float(np.exp(-(low + high) / 2))


def calibrate(logits: Array, gold: NDArray[np.int64]) -> Calibration:
    """Fit a temperature and tell what it does."""
    temperature = fit_temperature(logits, gold)
    after = logits / temperature
    return Calibration(
        temperature,
        len(gold),
        negative_log_likelihood(logits, gold),
        negative_log_likelihood(after, gold),
        expected_calibration_error(np.exp(log_softmax(logits)), gold),
        expected_calibration_error(np.exp(log_softmax(after)), gold),
    )
