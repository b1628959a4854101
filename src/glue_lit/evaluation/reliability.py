"""The calibration curve: accuracy against confidence.

Guo et al. 2017, "On Calibration of Modern Neural Networks" (https://arxiv.org/abs/1706.04599), section 2.
"""

from dataclasses import dataclass

import numpy as np

from glue_lit.evaluation.calibration import (
    confidence_bins,
    expected_calibration_error,
    label_bins,
    label_calibration_error,
)
from glue_lit.evaluation.predictions import Floats, Ints, Values
from glue_lit.evaluation.resampling import Score, share


@dataclass(frozen=True)
class Bin:
    """Rows of about the same confidence."""

    rows: int
    confidence: float  # mean probability of the predicted label; for a multi-label task, of each label
    accuracy: Score  # share of these that are right; for a multi-label task, of the rows that have the label


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


def label_reliability(probabilities: Floats, gold: Values) -> Reliability:
    """The calibration curve of a multi-label task: share of rows with a label against its probability, of all labels.

    Args:
        probabilities: ``(rows, labels)``.
        gold: 1 where a row has a label, else 0, ``(rows, labels)``.
    """
    flat, has_label = probabilities.ravel(), gold.ravel() > 0
    numbers = label_bins(flat)
    bins = [
        Bin(int(mask.sum()), float(flat[mask].mean()), share(int(has_label[mask].sum()), int(mask.sum())))
        for mask in (numbers == number for number in np.unique(numbers))
    ]
    of_gold = np.maximum(np.where(has_label, flat, 1 - flat), np.finfo(np.float64).tiny)
    error = label_calibration_error(flat, has_label.astype(np.int64))
    return Reliability(bins, error, float(-np.log(of_gold).mean()), float(flat.mean()))
