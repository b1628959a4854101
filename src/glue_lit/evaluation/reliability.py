"""The calibration curve: accuracy against confidence.

Guo et al. 2017, "On Calibration of Modern Neural Networks" (https://arxiv.org/abs/1706.04599), section 2.
"""

from dataclasses import dataclass

import numpy as np

from glue_lit.evaluation.calibration import confidence_bins, expected_calibration_error
from glue_lit.evaluation.predictions import Floats, Ints
from glue_lit.evaluation.resampling import Score, share


@dataclass(frozen=True)
class Bin:
    """Rows of about the same confidence."""

    rows: int
    confidence: float  # mean probability of the predicted label
    accuracy: Score


@dataclass(frozen=True)
class Reliability:
    """A calibration curve."""

    bins: list[Bin]  # non-empty bins in ascending order of confidence
    error: float  # expected calibration error, in 0 to 1
    log_loss: float  # mean negative log-likelihood of the gold labels
    confidence: float  # mean confidence


def reliability(probabilities: Floats, gold: Ints) -> Reliability:
    """The calibration curve of ``(rows, labels)`` probabilities and ``(rows,)`` gold classes."""
    confidence, bin_of_row = probabilities.max(axis=1), confidence_bins(probabilities)
    right = probabilities.argmax(axis=1) == gold
    bins = [
        Bin(int(mask.sum()), float(confidence[mask].mean()), share(int(right[mask].sum()), int(mask.sum())))
        for mask in (bin_of_row == number for number in np.unique(bin_of_row))
    ]
    gold_probabilities = np.maximum(probabilities[np.arange(len(gold)), gold], np.finfo(np.float64).tiny)
    log_loss = float(-np.log(gold_probabilities).mean())
    return Reliability(bins, expected_calibration_error(probabilities, gold), log_loss, float(confidence.mean()))
