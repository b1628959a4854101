"""Turn the logits of a multi-label task into scores; each labelled row counts exactly once on any number of devices."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from glue_lit.evaluation.formulas import score
from glue_lit.evaluation.kept_loss import KeptLoss, LossOfRows
from glue_lit.evaluation.metrics import CollectedRows, DeviceMetric, KeptRows, MeanLoss, RowMeans
from glue_lit.evaluation.multi_label_formulas import multi_label_score_of_counts
from glue_lit.evaluation.predictions import Floats
from glue_lit.evaluation.probability_formulas import MOST_LOG_LOSS
from glue_lit.evaluation.thresholds import cut_logits, fit_thresholds
from glue_lit.tasks.chosen_metrics import Metric as TaskMetric
from glue_lit.tasks.spec import TaskSpec

Loss = Callable[[Tensor, Tensor], Tensor]


class LabelCounts(DeviceMetric):
    """How often each label is gold, predicted, and both: ``(3, labels)`` int64."""

    counts: Tensor

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.add_state("counts", default=torch.zeros(3, labels, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, gold: Tensor, known: Tensor) -> None:
        """Count ``(batch, labels)`` bool; rows that are not ``known``, ``(batch,)`` bool, are ignored."""
        gold, predicted = gold & known[:, None], predicted & known[:, None]
        self.counts += torch.stack([part.sum(dim=0) for part in (gold, predicted, gold & predicted)])

    def compute(self) -> Tensor:
        """The counts over all rows, on the device."""
        return self.counts

    def finish(self, found: Tensor) -> Tensor:
        """The counts, ``(3, labels)``."""
        return found.cpu()


class MultiLabelMetrics(CollectedRows):
    """A multi-label task's metrics and mean loss.

    Where thresholds are tuned, all rows are kept, and scored on the host at the end. Otherwise the labels mostly share
    one threshold, a number that needs no copy to the device. Arguments as for `TaskMetrics`.

    Attributes:
        thresholds: Probability from which on each label is predicted.
    """

    def __init__(self, task: TaskSpec, loss_of_rows: LossOfRows | None = None) -> None:
        super().__init__()
        self.task = task
        self.loss = MeanLoss() if loss_of_rows is None else KeptLoss(loss_of_rows, task.num_labels, task.kind)
        self.outcomes = None if task.tunes_thresholds else LabelCounts(task.num_labels)
        self._metrics = {name: task.metric(name) for name in task.metrics}
        needs = {name: metric.needs for name, metric in self._metrics.items()}
        is_at_once = not task.tunes_thresholds
        self._means = [name for name, need in needs.items() if is_at_once and need in ("rows", "means")]
        self.means = RowMeans(len(self._means)) if self._means else None
        keeps_rows = "ranking" in needs.values() or task.tunes_thresholds
        self.rows = KeptRows(task.num_labels, task.kind) if keeps_rows else None
        self.use_thresholds([task.threshold] * task.num_labels)

    def use_thresholds(self, thresholds: Sequence[float]) -> None:
        """Predict with these thresholds from now on."""
        self.thresholds = list(thresholds)
        cuts = cut_logits(self.thresholds)
        self._cut = float(cuts[0]) if (cuts == cuts[0]).all() else torch.from_numpy(cuts)

    def add(self, logits: Tensor, labels: Tensor, loss: Loss) -> None:
        """Add the labelled rows of a batch.

        Args:
            logits: ``(batch, labels)``.
            labels: ``(batch, labels)``, 0 or 1; a row of -1 is unlabelled.
            loss: Computes the mean loss of the labelled rows from logits and labels.
        """
        self.forget_results()
        known, gold = labels[:, 0] >= 0, labels > 0.5
        if isinstance(self.loss, KeptLoss):
            self.loss.update(logits, labels)
        else:
            self.loss.update(loss(logits, labels), known.sum())
        logits = logits.float()
        if isinstance(self._cut, Tensor) and self.outcomes is not None:
            self._cut = self._cut.to(logits.device)  # once: the next batch is on the same device
        predicted = logits >= (self._cut if self.outcomes is not None else 0.0)
        if self.outcomes is not None:
            self.outcomes.update(predicted, gold, known)
        if self.means is not None:
            parts = [_OF_ROW[self._metrics[name].name] for name in self._means]
            metrics = [self._metrics[name] for name in self._means]
            values = [part(one, predicted, logits, gold) for part, one in zip(parts, metrics, strict=True)]
            self.means.update(torch.stack(values, dim=1), known)
        if self.rows is not None:
            self.rows.update(logits, labels)

    def fit_thresholds(self) -> list[float] | None:
        """The best thresholds for the rows; ``None`` if none has a label. Collective under DDP."""
        logits, gold = self.results()["rows"]
        return fit_thresholds(logits.numpy(), gold.numpy()) if len(gold) else None

    def prediction_counts(self) -> dict[str, int]:
        """Number of rows predicted to have each label, by name. Collective under DDP."""
        found = self.results()
        counts = found["outcomes"][1] if "outcomes" in found else self._predicted(found["rows"][0]).sum(dim=0)
        return dict(zip(self.task.labels, counts.tolist(), strict=True))

    def compute(self) -> dict[str, float]:
        """The task's metrics by name, then ``loss``; empty if no row has a label. Collective under DDP."""
        found = self.results()
        loss, examples = found["loss"]
        if not examples:
            return {}
        outcomes = found["outcomes"].double().numpy() if "outcomes" in found else None
        by_name = dict(zip(self._means, found["means"].tolist() if "means" in found else [], strict=True))
        kept = self._kept(*found["rows"]) if "rows" in found else None
        scores = {name: self._score(one, outcomes, by_name.get(name), kept) for name, one in self._metrics.items()}
        return {**scores, "loss": float(loss)}

    def _kept(self, logits: Tensor, gold: Tensor) -> tuple[Any, Any, Floats]:
        """Gold labels, predicted labels and probabilities of all rows."""
        probabilities: Floats = logits.double().sigmoid().numpy()
        return gold.numpy(), self._predicted(logits).numpy(), probabilities

    def _predicted(self, logits: Tensor) -> Tensor:
        return (logits >= torch.from_numpy(cut_logits(self.thresholds))).to(torch.int8)

    def _score(
        self, metric: TaskMetric, outcomes: Floats | None, mean: float | None, kept: tuple[Any, Any, Floats] | None
    ) -> float:
        if kept is not None and (metric.needs == "ranking" or outcomes is None):
            gold, predicted, probabilities = kept
            return score(metric, gold, predicted, probabilities=probabilities)
        assert outcomes is not None
        return float(multi_label_score_of_counts(metric, *outcomes)) if mean is None else mean


def _of_samples(metric: TaskMetric, predicted: Tensor, logits: Tensor, gold: Tensor) -> Tensor:
    """Precision, recall, F1 or F-beta of each row, ``(batch,)``, as all functions here."""
    of_gold, of_predicted, both = (part.sum(dim=1).float() for part in (gold, predicted, gold & predicted))
    square = metric.beta**2
    over, below = {"precision": (both, of_predicted), "recall": (both, of_gold)}.get(
        metric.name, ((1 + square) * both, square * of_gold + of_predicted)
    )
    return torch.where(below > 0, over / below, 0.0)


def _subset_accuracy(metric: TaskMetric, predicted: Tensor, logits: Tensor, gold: Tensor) -> Tensor:
    return (predicted == gold).all(dim=1).float()


def _hamming_loss(metric: TaskMetric, predicted: Tensor, logits: Tensor, gold: Tensor) -> Tensor:
    return (predicted != gold).float().mean(dim=1)


def _log_loss(metric: TaskMetric, predicted: Tensor, logits: Tensor, gold: Tensor) -> Tensor:
    losses = F.binary_cross_entropy_with_logits(logits, gold.float(), reduction="none")
    return losses.clamp(max=MOST_LOG_LOSS).mean(dim=1)


def _brier_score(metric: TaskMetric, predicted: Tensor, logits: Tensor, gold: Tensor) -> Tensor:
    return (logits.sigmoid() - gold.float()).square().mean(dim=1)


def _label_ranking(metric: TaskMetric, predicted: Tensor, logits: Tensor, gold: Tensor) -> Tensor:
    """Of each gold label, the share of gold ones among the labels that rank at least as high; their mean."""
    lowest_first = -logits.contiguous()
    ranks = [
        torch.searchsorted(part.sort(dim=1).values, lowest_first, right=True)
        for part in (lowest_first.where(gold, torch.inf), lowest_first)
    ]
    count = gold.sum(dim=1)
    mean = (ranks[0] / ranks[1]).where(gold, 0).sum(dim=1) / count
    has_some = (count > 0) & (count < gold.shape[1])
    return torch.where(has_some, mean, 1.0) + 0 * logits.sum(dim=1)  # NaN if a logit is not finite


_OF_ROW: dict[str, Callable[[TaskMetric, Tensor, Tensor, Tensor], Tensor]] = {
    "precision": _of_samples, "recall": _of_samples, "f1": _of_samples, "fbeta": _of_samples,
    "subset_accuracy": _subset_accuracy, "hamming_loss": _hamming_loss, "log_loss": _log_loss,
    "brier_score": _brier_score, "label_ranking_average_precision": _label_ranking,
}  # fmt: skip
