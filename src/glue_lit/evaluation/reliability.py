"""How often a model is right when it says so: the calibration curve.

Guo et al. 2017, "On Calibration of Modern Neural Networks" (https://arxiv.org/abs/1706.04599), section 2.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from glue_lit.evaluation.calibration import BINS, expected_calibration_error
from glue_lit.evaluation.predictions import Floats, Ints
from glue_lit.evaluation.resampling import LEVEL, Score


@dataclass(frozen=True)
class Bin:
    """Rows of about the same confidence.

    Attributes:
        rows: How many.
        confidence: Mean probability of the label that was predicted.
        accuracy: Share of rows that are right, with its interval.
    """

    rows: int
    confidence: float
    accuracy: Score


@dataclass(frozen=True)
class Reliability:
    """A calibration curve.

    Attributes:
        bins: Those that hold rows, confidence ascending.
        error: Expected calibration error, in 0 to 1.
        log_loss: Mean of minus the logarithm of the gold label's probability.
        confidence: Mean confidence.
    """

    bins: list[Bin]
    error: float
    log_loss: float
    confidence: float


def share(right: int, rows: int) -> Score:
    """A share of rows with Wilson's interval (Wilson 1927), which holds near 0 and 1 and for few rows."""
    found = stats.binomtest(right, rows).proportion_ci(LEVEL, method="wilson")
    return Score(right / rows, float(found.low), float(found.high))


def reliability(probabilities: Floats, gold: Ints) -> Reliability:
    """The calibration curve over bins of confidence of the same width, each open below and closed above.

    Args:
        probabilities: ``(rows, labels)``.
        gold: Classes, ``(rows,)``.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == gold
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    bins = [
        Bin(int(here.sum()), float(confidence[here].mean()), share(int(right[here].sum()), int(here.sum())))
        for here in (place == number for number in np.unique(place))
    ]
    of_gold = np.maximum(probabilities[np.arange(len(gold)), gold], np.finfo(np.float64).tiny)
    return Reliability(
        bins, expected_calibration_error(probabilities, gold), float(-np.log(of_gold).mean()), float(confidence.mean())
    )
