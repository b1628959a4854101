"""The training loss: the task's own, with class weights, label smoothing and R-Drop."""

from collections.abc import Callable
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glue_lit.data.batches import twice
from glue_lit.tasks.glue import TaskSpec


class TaskLoss(nn.Module):
    """The loss of a task: mean cross-entropy, or mean squared error for regression.

    Training adds the task's class weights and label smoothing. Nothing of it is saved in checkpoints.

    Args:
        task: Gives the kind of labels, and their weights if it has any.
        smoothing: Share of the target probability that is spread over all labels (Szegedy et al. 2016, section 7).

    Attributes:
        weights: ``(labels,)`` float32, on the model's device; ``None`` for equal weights.
    """

    weights: Tensor | None

    def __init__(self, task: TaskSpec, smoothing: float = 0.0) -> None:
        super().__init__()
        self.is_regression, self._smoothing = task.is_regression, smoothing
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
            labels: ``(batch,)``, -1 or NaN where unlabelled.
        """
        if self.is_regression:
            known = ~labels.isnan()
            return (logits[:, 0] - labels.to(logits.dtype)).square().where(known, 0).sum() / known.sum()
        return F.cross_entropy(logits, labels, ignore_index=-1)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of a training batch, ``()``; arguments as for `plain`, all rows labelled.

        A weighted loss is divided by the number of rows. Torch would divide by the sum of their weights, so that a rare
        class would count less in a batch with several of its rows.
        """
        if self.is_regression:
            return F.mse_loss(logits[:, 0], labels.to(logits.dtype))
        if self.weights is None:
            return F.cross_entropy(logits, labels, label_smoothing=self._smoothing)
        each = F.cross_entropy(logits, labels, reduction="none", label_smoothing=self._smoothing)
        return (each * self.weights[labels]).mean()


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
    return mean + weight * r_drop(first, second, loss.is_regression)


def r_drop(first: Tensor, second: Tensor, is_regression: bool) -> Tensor:
    """Difference between two passes over the same rows, ``()``.

    The mean of both Kullback-Leibler divergences (Wu et al. 2021, "R-Drop", equation 2), or the mean squared
    difference of scores.

    Args:
        first: Logits ``(batch, labels)`` of one pass.
        second: Logits of the other.
        is_regression: Whether they are scores.
    """
    if is_regression:
        return F.mse_loss(first, second)
    one, other = F.log_softmax(first, dim=-1), F.log_softmax(second, dim=-1)
    return ((one.exp() - other.exp()) * (one - other)).sum(dim=-1).mean() / 2
