"""Precision, recall and F-beta from counts, for one label a row and for several alike."""

import numpy as np

from glue_lit.evaluation.predictions import Floats
from glue_lit.tasks.chosen_metrics import Metric


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """A quotient, 0 where the denominator is 0."""
    quotient = np.zeros(np.shape(numerator))
    np.divide(numerator, denominator, out=quotient, where=np.asarray(denominator) > 0)
    return quotient


def score_of_class(metric: Metric, gold: Floats, predicted: Floats, right: Floats) -> Floats:
    """Precision, recall, F1 or F-beta of each class; F1 is twice the true positives over gold and predicted ones.

    Args:
        metric: Which of them.
        gold: How often the class is gold.
        predicted: How often it is predicted.
        right: How often it is both.
    """
    if metric.name == "precision":
        return ratio(right, predicted)
    if metric.name == "recall":
        return ratio(right, gold)
    square = metric.beta**2
    return ratio((1 + square) * right, square * gold + predicted)
