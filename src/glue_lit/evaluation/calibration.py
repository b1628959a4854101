"""Temperature scaling: probabilities that match how often the model is right.

Guo et al. 2017, "On Calibration of Modern Neural Networks" (https://arxiv.org/abs/1706.04599).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
BINS = 15  # of equal width, as in the paper's experiments
_LOWEST, _HIGHEST = 1e-2, 1e2  # temperatures; the optimum of a model that is always right is 0


@dataclass(frozen=True)
class Calibration:
    """A temperature and its effect on labelled rows."""

    temperature: float  # divides the logits
    rows: int  # with a label
    nll_before: float  # mean negative log-likelihood at temperature 1
    nll_after: float  # at the temperature
    ece_before: float  # expected calibration error, 0 to 1, at temperature 1
    ece_after: float  # at the temperature

    def __str__(self) -> str:
        before, after = f"{self.ece_before:.4f}", f"{self.ece_after:.4f}"
        worse = (
            ", which is worse: leave --calibrate out" if self.ece_after > self.ece_before and after != before else ""
        )
        return f"expected calibration error {before} before, {after} after{worse}"


def log_softmax(logits: Array) -> Array:
    """Log-probabilities, ``(rows, labels)``."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    scaled: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return scaled


def log_sigmoid(logits: Array) -> Array:
    """Log-probability of each label of a multi-label task, ``(rows, labels)``."""
    found: Array = -np.logaddexp(0, -logits)
    return found


def confidence_bins(probabilities: Array, bins: int = BINS) -> NDArray[np.int64]:
    """Bin of each row's largest probability, ``(rows,)``; bins are of equal width, open below and closed above."""
    return _bins(probabilities.max(axis=1), bins)


def _bins(probabilities: Array, bins: int) -> NDArray[np.int64]:
    numbers: NDArray[np.int64] = np.ceil(probabilities * bins).astype(np.int64) - 1
    return numbers.clip(0, bins - 1)


def label_bins(probabilities: Array, bins: int = BINS) -> NDArray[np.int64]:
    """Bin of each probability of a label, of the same shape; bins as in `confidence_bins`."""
    return _bins(probabilities, bins)


def label_calibration_error(probabilities: Array, gold: NDArray[np.integer] | Array) -> float:
    """Mean gap between a label's probability and the share of rows that have it, over bins of the probability.

    Args:
        probabilities: Of one label or several, any shape.
        gold: 1 where a row has the label, else 0, of the same shape.
    """
    gaps = np.bincount(label_bins(probabilities).ravel(), weights=(gold - probabilities).ravel())
    return float(np.abs(gaps).sum() / gold.size)


def expected_calibration_error(probabilities: Array, gold: NDArray[np.int64], bins: int = BINS) -> float:
    """Mean gap between confidence and accuracy over confidence bins, weighted by the rows in each (eq. 3).

    Args:
        probabilities: ``(rows, labels)``.
        gold: Classes, ``(rows,)``.
        bins: Number of bins.
    """
    right = probabilities.argmax(axis=1) == gold
    gaps = np.bincount(confidence_bins(probabilities, bins), weights=right - probabilities.max(axis=1))
    return float(np.abs(gaps).sum() / len(gold))


def fit_temperature(logits: Array, gold: NDArray[np.int64]) -> float:
    """The temperature, from 0.01 to 100, with the lowest negative log-likelihood (section 4.2).

    The log-likelihood is concave in 1/T. At its maximum, the mean gold logit equals the mean of the logits weighted by
    their probabilities; bisection over log(1/T) finds it. In a multi-label task the sum of each row's gold logits takes
    the place of the gold logit.

    Args:
        logits: ``(rows, labels)``.
        gold: Classes, ``(rows,)``; of a multi-label task 0 or 1 for each label, ``(rows, labels)``.
    """
    low, high = np.log(1 / _HIGHEST), np.log(1 / _LOWEST)
    is_multi_label = gold.ndim == 2
    centred = logits if is_multi_label else logits - logits.max(axis=1, keepdims=True)
    of_gold = (centred * gold).sum(axis=1) if is_multi_label else centred[np.arange(len(gold)), gold]
    gold_logit, log_probabilities = float(of_gold.mean()), log_sigmoid if is_multi_label else log_softmax
    for _ in range(100):
        middle = (low + high) / 2
        expected = float((np.exp(log_probabilities(centred * np.exp(middle))) * centred).sum(axis=1).mean())
        if expected < gold_logit:  # a lower temperature raises the likelihood
            low = middle
        else:
            high = middle
    return float(np.exp(-(low + high) / 2))


def calibrate(logits: Array, gold: NDArray[np.int64]) -> Calibration:
    """Fit a temperature, and measure its effect on the rows that it is fitted on."""
    return measure_calibration(logits, gold, fit_temperature(logits, gold))


def measure_calibration(logits: Array, gold: NDArray[np.int64], temperature: float) -> Calibration:
    """Measure likelihood and calibration error of ``(rows, labels)`` logits with and without a temperature.

    Those of a multi-label task are over all rows and labels.
    """
    if gold.ndim == 2:
        return _measure_labels(logits, gold, temperature)
    before, after = log_softmax(logits), log_softmax(logits / temperature)
    row = np.arange(len(gold))
    return Calibration(
        temperature,
        len(gold),
        float(-before[row, gold].mean()),
        float(-after[row, gold].mean()),
        expected_calibration_error(np.exp(before), gold),
        expected_calibration_error(np.exp(after), gold),
    )


def _measure_labels(logits: Array, gold: NDArray[np.int64], temperature: float) -> Calibration:
    found = []
    for scaled in (logits, logits / temperature):
        loss = float(-log_sigmoid(np.where(gold > 0, scaled, -scaled)).mean())
        found.append((loss, label_calibration_error(np.exp(log_sigmoid(scaled)), gold)))
    (nll_before, ece_before), (nll_after, ece_after) = found
    return Calibration(temperature, len(gold), nll_before, nll_after, ece_before, ece_after)
