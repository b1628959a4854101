"""A task's metrics, from scikit-learn and SciPy, and with their intervals."""

import math
import warnings
from collections.abc import Callable

from scipy import stats
from sklearn import metrics

from glue_lit.evaluation.predicted import Values
from glue_lit.evaluation.resampling import Score, intervals
from glue_lit.tasks.glue import TaskSpec

TITLES = {
    "accuracy": "Accuracy",
    "f1": "F1",
    "macro_f1": "Macro F1",
    "matthews_correlation": "Matthews correlation",
    "pearson": "Pearson correlation",
    "spearmanr": "Spearman correlation",
}


def titles_of(task: TaskSpec) -> dict[str, str]:
    """What the metrics of a task are called: of two labels, F1 says which it is of."""
    label = task.positive_label
    return TITLES if label is None else TITLES | {"f1": f"F1 of {label if len(label) <= 40 else label[:39] + '…'}"}


def score(name: str, gold: Values, predicted: Values, positive: int = 1) -> float:
    """A metric of ``(rows,)`` gold and predicted values (F1 of the positive class); NaN where it is undefined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of constant input and of classes that do not occur: both are defined here
        if name == "f1":  # of that class alone; `average="binary"` stops where it does not occur
            return float(metrics.f1_score(gold, predicted, labels=[positive], average="macro", zero_division=0))
        return float(_SCORES[name](gold, predicted))


def _correlation(function: Callable[..., tuple[float, float]]) -> Callable[[Values, Values], float]:
    return lambda gold, predicted: function(predicted, gold)[0] if len(gold) > 1 else math.nan


_SCORES: dict[str, Callable[[Values, Values], float]] = {
    "accuracy": metrics.accuracy_score,
    "macro_f1": lambda gold, predicted: metrics.f1_score(gold, predicted, average="macro", zero_division=0),
    "matthews_correlation": metrics.matthews_corrcoef,
    "pearson": _correlation(stats.pearsonr),
    "spearmanr": _correlation(stats.spearmanr),
}


def bootstrapped(names: tuple[str, ...], gold: Values, predicted: Values, positive: int = 1) -> dict[str, Score]:
    """Metrics by name, each with its interval."""
    ends = intervals(names, gold, predicted, positive)
    return {name: Score(score(name, gold, predicted, positive), *ends[name]) for name in names}
