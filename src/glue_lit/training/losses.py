"""The training loss: the task's own, with class weights, label smoothing and R-Drop."""

from collections.abc import Callable
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glue_lit.data.batches import twice
from glue_lit.tasks.glue import TaskSpec
from glue_lit.tasks.metrics import Kind


class TaskLoss(nn.Module):
    """The loss of a task: mean cross-entropy, or mean squared error for regression.

    That of a multi-label task is the binary cross-entropy of each label, and the mean over rows and labels. Training
    adds the task's class weights and label smoothing. Nothing of it is saved in checkpoints.

    Args:
        task: Gives the kind of labels, and their weights if it has any.
        smoothing: Share of the target probability that is spread over all labels (Szegedy et al. 2016, section 7); for
            a multi-label task, over the two outcomes of each label.

    Attributes:
        weights: ``(labels,)`` float32, on the model's device; ``None`` for equal weights.
    """

    weights: Tensor | None

    def __init__(self, task: TaskSpec, smoothing: float = 0.0) -> None:
        super().__init__()
        self.kind, self._smoothing = task.kind, smoothing
        weights = torch.tensor(task.class_weights, dtype=torch.float32) if task.class_weights else None
        self.register_buffer("weights", weights, persistent=False)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        exact = self.weights
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if exact is not None and self.weights is not None:
            self.weights = exact.to(self.weights.device)  # in bfloat16 a weight has two digits
        return self

    def plain(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The evaluation loss ``()``: the mean over the labelled rows; NaN if there are none.

        Args:
            logits: ``(batch, labels)``, or ``(batch, 1)`` for regression.
            labels: ``(batch,)``, -1 or NaN where unlabelled; for a multi-label task ``(batch, labels)`` of 0 and 1.
        """
        if self.kind == "multi_label":
            known = labels[:, 0] >= 0
            return _binary(logits, labels.clamp(min=0)).mean(dim=1).where(known, 0).sum() / known.sum()
        if self.kind == "regression":
            known = ~labels.isnan()
            return (logits[:, 0] - labels.to(logits.dtype)).square().where(known, 0).sum() / known.sum()
        return F.cross_entropy(logits, labels, ignore_index=-1)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of a training batch, ``()``; arguments as for `plain`, all rows labelled.

        A weighted loss is divided by the number of rows. Torch would divide by the sum of their weights, so that a rare
        class would count less in a batch with several of its rows. Weights of a multi-label task are factors of the
        rows that have the label (``pos_weight`` in torch).
        """
        if self.kind == "multi_label":
            targets = labels if not self._smoothing else labels * (1 - self._smoothing) + self._smoothing / 2
            return _binary(logits, targets, self.weights).mean()
        if self.kind == "regression":
            return F.mse_loss(logits[:, 0], labels.to(logits.dtype))
        if self.weights is None:
            return F.cross_entropy(logits, labels, label_smoothing=self._smoothing)
        each = F.cross_entropy(logits, labels, reduction="none", label_smoothing=self._smoothing)
        return (each * self.weights[labels]).mean()


def _binary(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of each row and label, ``(batch, labels)``."""
    weights = None if weights is None else weights.to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="none", pos_weight=weights)


def r_drop_loss(
    model: Callable[[dict[str, Tensor]], Tensor], loss: TaskLoss, batch: dict[str, Tensor], weight: float
) -> Tensor:
    """Mean loss of two passes over a batch, plus ``weight`` times their difference (`r_drop`).

    Args:
        model: Gives the logits of a batch.
        loss: The loss of one pass.
        batch: Each row goes through both passes, with different dropout masks.
        weight: Factor on the difference.
    """
    first, second = model(twice(batch)).chunk(2)
    mean: Tensor = (loss(first, batch["labels"]) + loss(second, batch["labels"])) / 2
    return mean + weight * r_drop(first, second, loss.kind)


def r_drop(first: Tensor, second: Tensor, kind: Kind = "classification") -> Tensor:
    """Difference between two passes over the same rows, ``()``.

    The mean of both Kullback-Leibler divergences (Wu et al. 2021, "R-Drop", equation 2), or the mean squared
    difference of scores. For a multi-label task, the mean over the labels of the divergences of their two outcomes.

    Args:
        first: Logits ``(batch, labels)`` of one pass.
        second: Logits of the other.
        kind: The kind of task.
    """
    if kind == "regression":
        return F.mse_loss(first, second)
    if kind == "multi_label":
        return ((first.sigmoid() - second.sigmoid()) * (first - second)).mean() / 2
    one, other = F.log_softmax(first, dim=-1), F.log_softmax(second, dim=-1)
    return ((one.exp() - other.exp()) * (one - other)).sum(dim=-1).mean() / 2
