"""Scores of a torchmetrics metric that the user names by its class."""

import math
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from glue_lit.errors import UsageError
from glue_lit.evaluation.cut_points import levels_of
from glue_lit.evaluation.predictions import Floats, Values
from glue_lit.tasks.chosen_metrics import Metric
from glue_lit.tasks.torchmetrics_class import build_torchmetric

if TYPE_CHECKING:
    from glue_lit.tasks.spec import TaskSpec


def torchmetrics_score(metric: Metric, gold: Values, predicted: Values, probabilities: Floats | None) -> float:
    """The metric of all rows at once, so that it depends on neither batches nor devices; NaN if it gives no number.

    It gets what it takes: the probabilities of all labels, else that of the positive one of two, else predicted labels.
    Where a row has any number of labels, a class that would cut probabilities at a threshold of its own gets the
    predicted labels, unless the user has set that threshold. Where scores tell labels in order, classes that compare
    labels get these.
    """
    gold, predicted = levels_of(metric, gold, predicted)
    labels = 0 if probabilities is None else probabilities.shape[1]
    form = _accepted_form(metric, labels, gold.ndim == 2)
    values = list(_forms(metric, gold, predicted, probabilities))
    try:
        return _compute(metric, *values[form])
    except Exception:  # such as probabilities that are not numbers, which each class refuses in its own way
        return math.nan


def check_torchmetrics(task: "TaskSpec") -> None:
    """Refuse a class that does not take what the task has, before any row is read.

    Raises:
        UsageError: It cannot be built, takes other input, or gives more than one number.
    """
    for metric in task.chosen:
        if metric.class_path:
            _accepted_form(task.metric(metric.logged), len(task.labels), task.is_multi_label)


def _accepted_form(metric: Metric, labels: int, is_multi_label: bool) -> int:
    """Which of `_forms` the metric takes, found out with made-up rows."""
    gold: Any = np.arange(2 * max(labels, 4)) % max(labels, 2)
    if is_multi_label:
        gold = np.arange(4 * labels).reshape(4, labels) // (1 + np.arange(labels)) % 2
    probabilities = None
    predicted: Any = np.roll(gold, 1)
    if is_multi_label:
        probabilities = np.random.default_rng(0).random(gold.shape)
    elif metric.cut_points:
        gold, predicted = (rows % (1 + len(metric.cut_points)) for rows in (gold, predicted))
    elif labels:
        probabilities = np.random.default_rng(0).dirichlet(np.ones(labels), len(gold))
    else:
        gold, predicted = gold + np.linspace(0, 1, len(gold)), predicted.astype(np.float64)
    build_torchmetric(metric.class_path, metric.init_args)  # its own message, if it refuses its arguments
    problem = ""
    for number, (preds, target) in enumerate(_forms(metric, gold, predicted, probabilities)):
        try:
            _compute(metric, preds, target)
        except UsageError:
            raise
        except Exception as error:
            problem = problem or " ".join(str(error).split())[:200]
        else:
            return number
    what = f"the probabilities of {labels} labels" if labels else "labels" if metric.cut_points else "scores"
    raise UsageError(f"metrics: {metric.class_path} does not take {what} and gold values: {problem}")


def _forms(
    metric: Metric, gold: Values, predicted: Values, probabilities: Floats | None
) -> Iterator[tuple[Values, Values]]:
    """Predictions and gold values in each form that a metric may take."""
    if gold.ndim == 2 and "threshold" not in metric.init_args and _has_threshold(metric):
        yield predicted, gold
    if probabilities is not None:
        yield probabilities, gold
        if probabilities.shape[1] == 2 and gold.ndim == 1:
            positive = 1 if metric.positive is None else metric.positive
            yield probabilities[:, positive], (gold == positive).astype(np.int64)
    yield predicted, gold


def _has_threshold(metric: Metric) -> bool:
    return hasattr(build_torchmetric(metric.class_path, metric.init_args), "threshold")


def _compute(metric: Metric, preds: Values, target: Values) -> float:
    import torch

    built = build_torchmetric(metric.class_path, metric.init_args)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about rows that define no score, which is then NaN or 0
        built.update(torch.from_numpy(np.ascontiguousarray(preds)), torch.from_numpy(np.ascontiguousarray(target)))
        value = built.compute()
    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        raise UsageError(
            f"metrics: {metric.class_path} gives several values, and only one can be logged. Allowed: one value, for "
            "example with `average: macro` in its init_args."
        )
    return float(value)
