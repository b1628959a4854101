"""Turn logits into logged scores, for every evaluation split of a task."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from glue_lit.evaluation.cut_points import fit_cut_points
from glue_lit.evaluation.formulas import quadratic_kappa, score, score_of_counts
from glue_lit.evaluation.kept_loss import KeptLoss, LossOfRows
from glue_lit.evaluation.metrics import ClassCounts, CollectedRows, KeptRows, MeanLoss, RowMeans, ScorePairs
from glue_lit.evaluation.multi_label_metrics import MultiLabelMetrics
from glue_lit.evaluation.predictions import Floats, Ints
from glue_lit.evaluation.probability_formulas import MOST_LOG_LOSS
from glue_lit.evaluation.torchmetrics_scores import check_torchmetrics
from glue_lit.tasks.chosen_metrics import Metric
from glue_lit.tasks.glue import TaskSpec, log_prefix

Loss = Callable[[Tensor, Tensor], Tensor]


class TaskMetrics(CollectedRows):
    """A task's metrics and mean loss; each labelled example counts exactly once.

    Args:
        task: Names the metrics.
        loss_of_rows: Gives the mean loss of all labelled rows together, in place of that of each batch.
    """

    def __init__(self, task: TaskSpec, loss_of_rows: LossOfRows | None = None) -> None:
        super().__init__()
        self.task = task
        self.loss = MeanLoss() if loss_of_rows is None else KeptLoss(loss_of_rows, task.num_labels, task.kind)
        self.outcomes: ClassCounts | ScorePairs = ClassCounts(task.num_labels) if task.labels else ScorePairs()
        self._metrics = {name: task.metric(name) for name in task.metrics}
        needs = {name: metric.spec.needs for name, metric in self._metrics.items()} if task.labels else {}
        self._means = [name for name, need in needs.items() if need in ("means", "distances")]
        self.means = RowMeans(len(self._means)) if self._means else None
        self.rows = KeptRows(task.num_labels, task.kind) if "ranking" in needs.values() else None

    def add(self, logits: Tensor, labels: Tensor, loss: Loss) -> None:
        """Add the labelled examples of a batch.

        Args:
            logits: ``(batch, labels)``, or ``(batch, 1)`` for regression.
            labels: ``(batch,)``, -1 or NaN where unlabelled.
            loss: Computes the mean loss of the labelled examples from logits and labels.
        """
        predicted = logits.argmax(dim=1) if self.task.labels else logits[:, 0]
        if isinstance(self.loss, KeptLoss):
            self.forget_results()
            self.loss.update(logits, labels)
            self.outcomes.update(predicted, labels)
        else:
            self.update(predicted, labels, loss(logits, labels))
        if self.means is not None:
            metrics = [self._metrics[name] for name in self._means]
            self.means.update(row_values(metrics, logits.float(), labels.clamp(min=0)), labels >= 0)
        if self.rows is not None:
            self.rows.update(logits.float(), labels)

    def update(self, preds: Tensor, target: Tensor, loss: Tensor) -> None:
        """Add ``(batch,)`` predictions, their gold labels, and the mean loss of those that are labelled, if any.

        Only metrics that need no probabilities can be computed from them.
        """
        self.forget_results()
        self.outcomes.update(preds, target)
        self.loss.update(loss, (target >= 0 if self.task.labels else ~target.isnan()).sum())

    def prediction_counts(self) -> dict[str, int]:
        """Number of examples predicted as each label, by name; empty for regression. Collective under DDP."""
        return (
            dict(zip(self.task.labels, self.results()["outcomes"][1].tolist(), strict=True)) if self.task.labels else {}
        )

    def compute(self) -> dict[str, float]:
        """The task's metrics by name, then ``loss``; empty if no example has a label. Collective under DDP."""
        found = self.results()
        loss, examples = found["loss"]
        if not examples:
            return {}
        outcomes, rows = found["outcomes"].double().numpy(), None
        if "rows" in found:
            logits, gold = found["rows"]
            rows = gold.numpy(), logits.double().softmax(dim=1).numpy()
        by_name = dict(zip(self._means, found["means"].tolist() if "means" in found else [], strict=True))
        scores = {name: self._score(one, outcomes, by_name.get(name), rows) for name, one in self._metrics.items()}
        return {**scores, "loss": float(loss)}

    def use_cut_points(self, task: TaskSpec) -> None:
        """Score with the cut points of a task, which differs in nothing else."""
        self.task, self._metrics = task, {name: task.metric(name) for name in task.metrics}

    def fit_cut_points(self) -> list[float] | None:
        """The best cut points for the rows; ``None`` if none has a label. Collective under DDP."""
        gold, scores = self.results()["outcomes"].double().numpy()
        return fit_cut_points(gold, scores, len(self.task.levels)) if len(gold) else None

    def _score(self, metric: Metric, outcomes: Floats, mean: float | None, rows: tuple[Ints, Floats] | None) -> float:
        if not self.task.labels:
            return score(metric, *outcomes)
        gold, predicted, right = outcomes
        if metric.spec.needs == "distances" and mean is not None:
            numbers = np.arange(len(gold), dtype=np.float64)
            return float(quadratic_kappa(gold, predicted, np.asarray(mean * gold.sum()), numbers))
        if mean is not None:
            return mean
        if metric.spec.needs == "ranking" and rows is not None:
            classes, probabilities = rows
            return score(metric, classes, probabilities.argmax(axis=1), probabilities=probabilities)
        return float(score_of_counts(metric, gold, predicted, right))


def row_values(metrics: Sequence[Metric], logits: Tensor, gold: Tensor) -> Tensor:
    """The values of each row whose means are the metrics, ``(batch, metrics)``, on the device of the logits.

    Args:
        metrics: Metrics that need means or distances.
        logits: ``(batch, labels)`` float32.
        gold: Classes, ``(batch,)``.
    """
    return torch.stack([_ROW_VALUES[metric.name](metric, logits, gold) for metric in metrics], dim=1)


def _log_loss(metric: Metric, logits: Tensor, gold: Tensor) -> Tensor:
    return -logits.log_softmax(dim=1).gather(1, gold[:, None])[:, 0].clamp(min=-MOST_LOG_LOSS)


def _brier_score(metric: Metric, logits: Tensor, gold: Tensor) -> Tensor:
    of_gold = torch.zeros_like(logits).scatter(1, gold[:, None], 1.0)
    distance = (logits.softmax(dim=1) - of_gold).square().sum(dim=1)
    return distance / 2 if logits.shape[1] == 2 else distance


def _top_k_accuracy(metric: Metric, logits: Tensor, gold: Tensor) -> Tensor:
    of_gold, numbers = logits.gather(1, gold[:, None]), torch.arange(logits.shape[1], device=logits.device)
    before = (logits > of_gold) | ((logits == of_gold) & (numbers > gold[:, None]))
    return (before.sum(dim=1) < metric.k).float() + 0 * logits.sum(dim=1)  # NaN if a logit is not finite


def _squared_distance(metric: Metric, logits: Tensor, gold: Tensor) -> Tensor:
    return (logits.argmax(dim=1) - gold).float().square()


_ROW_VALUES: dict[str, Callable[[Metric, Tensor, Tensor], Tensor]] = {
    "log_loss": _log_loss, "brier_score": _brier_score, "top_k_accuracy": _top_k_accuracy,
    "quadratic_weighted_kappa": _squared_distance,
}  # fmt: skip


class SplitMetrics(nn.ModuleDict):
    """The metrics of each validation and test split of a task; arguments as for `TaskMetrics`."""

    def __init__(self, task: TaskSpec, loss_of_rows: LossOfRows | None = None) -> None:
        check_torchmetrics(task)
        splits = (*task.validation_splits, *task.test_splits)
        super().__init__({split: metrics_of(task, loss_of_rows) for split in splits})
        self._task = task

    def of(self, split: str) -> TaskMetrics | MultiLabelMetrics:
        """The metrics of one split."""
        metrics = self[split]
        assert isinstance(metrics, TaskMetrics | MultiLabelMetrics)
        return metrics

    @property
    def thresholds(self) -> list[float]:
        """Probability from which on each of any number of labels is predicted; empty where a row has one."""
        metrics = self.of(next(iter(self))) if self._task.is_multi_label else None
        return metrics.thresholds if isinstance(metrics, MultiLabelMetrics) else []

    def use_thresholds(self, thresholds: Sequence[float]) -> None:
        """Predict the labels with these thresholds from now on."""
        for split in self:
            if isinstance(metrics := self.of(split), MultiLabelMetrics):
                metrics.use_thresholds(thresholds)

    def tune_thresholds(self) -> None:
        """Fit the thresholds on the rows of the monitored split, if the task wants that. Collective under DDP."""
        if not self._task.tunes_thresholds or self._task.monitored_split is None:
            return
        metrics = self.of(self._task.monitored_split)
        if isinstance(metrics, MultiLabelMetrics) and (found := metrics.fit_thresholds()) is not None:
            self.use_thresholds(found)

    def fit_cut_points(self) -> list[float] | None:
        """The best cut points for the rows of the monitored split; ``None`` without such rows or labels in order."""
        if not self._task.levels or self._task.monitored_split is None:
            return None
        metrics = self.of(self._task.monitored_split)
        return metrics.fit_cut_points() if isinstance(metrics, TaskMetrics) else None

    def use_cut_points(self, task: TaskSpec) -> None:
        """Score with the cut points of a task, which differs in nothing else."""
        self._task = task
        for split in self:
            if isinstance(metrics := self.of(split), TaskMetrics):
                metrics.use_cut_points(task)

    def compute(self, splits: Iterable[str]) -> tuple[dict[str, float], dict[str, dict[str, int]]]:
        """Return scores by logged name and, for each split, the number of examples predicted as each label; then reset.

        A split without labels appears in neither. Collective under DDP.
        """
        scores: dict[str, float] = {}
        predicted: dict[str, dict[str, int]] = {}
        for split in splits:
            if values := self.of(split).compute():
                scores |= {f"{log_prefix(split)}/{name}": value for name, value in values.items()}
                predicted[split] = self.of(split).prediction_counts()
        self.reset()
        return scores, predicted

    def reset(self) -> None:
        """Forget all examples."""
        for split in self:
            self.of(split).reset()


def metrics_of(task: TaskSpec, loss_of_rows: LossOfRows | None = None) -> TaskMetrics | MultiLabelMetrics:
    """The metrics of one split; arguments as for `TaskMetrics`."""
    return (MultiLabelMetrics if task.is_multi_label else TaskMetrics)(task, loss_of_rows)
