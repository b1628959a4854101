"""A task's metrics, from scikit-learn and SciPy, and with their intervals."""

import math
import warnings
from collections.abc import Callable

from scipy import stats
from sklearn import metrics

from glue_lit.reporting.predicted import Values
from glue_lit.reporting.resampling import Score, intervals

TITLES = {
    "accuracy": "Accuracy",
    "f1": "F1",
    "macro_f1": "Macro F1",
    "matthews_correlation": "Matthews correlation",
    "pearson": "Pearson correlation",
    "spearmanr": "Spearman correlation",
}


def score(name: str, gold: Values, predicted: Values) -> float:
    """A metric of ``(rows,)`` gold and predicted values; NaN where a correlation is undefined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of constant input and of classes that do not occur: both are defined here
        return float(_SCORES[name](gold, predicted))


def _correlation(function: Callable[..., tuple[float, float]]) -> Callable[[Values, Values], float]:
    return lambda gold, predicted: function(predicted, gold)[0] if len(gold) > 1 else math.nan


_SCORES: dict[str, Callable[[Values, Values], float]] = {
    "accuracy": metrics.accuracy_score,
    # of class 1 alone; `average="binary"` stops where that class does not occur
    "f1": lambda gold, predicted: metrics.f1_score(gold, predicted, labels=[1], average="macro", zero_division=0),
    "macro_f1": lambda gold, predicted: metrics.f1_score(gold, predicted, average="macro", zero_division=0),
    "matthews_correlation": metrics.matthews_corrcoef,
    "pearson": _correlation(stats.pearsonr),
    "spearmanr": _correlation(stats.spearmanr),
}


def bootstrapped(names: tuple[str, ...], gold: Values, predicted: Values) -> dict[str, Score]:
    """Metrics by name, each with its interval."""
    ends = intervals(names, gold, predicted)
    return {name: Score(score(name, gold, predicted), *ends[name]) for name in names}
