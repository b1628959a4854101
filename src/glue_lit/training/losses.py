"""The training loss: the task's own, focal, or one that a user names, with class weights, smoothing and R-Drop."""

import math
from collections.abc import Callable
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glue_lit.data.batches import twice
from glue_lit.tasks.glue import TaskSpec
from glue_lit.tasks.metrics import Kind
from glue_lit.training.chosen_loss import ChosenLoss
from glue_lit.training.loss_choice import FOCAL, Choice


class TaskLoss(nn.Module):
    """The loss of a task: mean cross-entropy, or mean squared error for regression, unless the user chooses another.

    That of a multi-label task is the binary cross-entropy of each label, and the mean over rows and labels. Training
    adds the task's class weights and label smoothing. Nothing of it is saved in checkpoints.

    Args:
        task: Gives the kind of labels, and their weights if it has any.
        smoothing: Share of the target probability that is spread over all labels (Szegedy et al. 2016, section 7); for
            a multi-label task, over the two outcomes of each label.
        choice: The loss that the user has chosen, from `plain_loss`; ``None`` for the task's own.
        gamma: The focusing parameter of the focal loss.

    Attributes:
        weights: ``(labels,)`` float32, on the model's device; ``None`` for equal weights.
        chosen: A loss that the user has named by its import path; ``None`` for ours.
        guessing: The training loss of a model that gives all labels the same probability; ``None`` if not known.
    """

    weights: Tensor | None

    def __init__(self, task: TaskSpec, smoothing: float = 0.0, choice: Choice = None, gamma: float = 2.0) -> None:
        super().__init__()
        self.kind, self._smoothing = task.kind, smoothing
        self._gamma = gamma if choice == FOCAL else None
        self.chosen = None if choice in (None, FOCAL) else ChosenLoss(choice, task)
        self.guessing = self._loss_of_guessing(task)
        weights = torch.tensor(task.class_weights, dtype=torch.float32) if task.class_weights else None
        self.register_buffer("weights", weights, persistent=False)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        exact = self.weights
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if exact is not None and self.weights is not None:
            self.weights = exact.to(self.weights.device)  # in bfloat16 a weight has two digits
        if self.chosen is not None:
            self.chosen.move(fn)
        return self

    def load(self, in_parts: bool = False) -> None:
        """Import a loss that the user has named, and try it on a few rows; else do nothing.

        Args:
            in_parts: Whether batches may be computed in parts.

        Raises:
            UsageError: It cannot be imported, or a fit with it would fail or train wrongly.
        """
        if self.chosen is not None:
            self.chosen.load(in_parts)

    def _loss_of_guessing(self, task: TaskSpec) -> float | None:
        if self.kind != "classification" or self.chosen is not None:
            return None
        focus = 1.0 if self._gamma is None else (1 - 1 / len(task.labels)) ** self._gamma
        return focus * math.log(len(task.labels)) * max(task.class_weights, default=1.0)

    def plain(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The evaluation loss ``()``: the mean over the labelled rows; NaN if there are none.

        Args:
            logits: ``(batch, labels)``, or ``(batch, 1)`` for regression.
            labels: ``(batch,)``, -1 or NaN where unlabelled; for a multi-label task ``(batch, labels)`` of 0 and 1.

        A chosen loss is not computed here, but for all rows of a split (`ChosenLoss.mean`).
        """
        if self._gamma is not None:
            known = _are_known(labels)
            each = self._focal(logits, labels.clamp(min=0), self._gamma)
            return (each if each.ndim == 1 else each.mean(dim=1)).where(known, 0).sum() / known.sum()
        if self.kind == "multi_label":
            known = _are_known(labels)
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
        if self.chosen is not None:
            each = self.chosen(logits, labels)
        elif self._gamma is not None:
            each = self._focal(logits, labels, self._gamma)
        else:
            return self._own(logits, labels)
        if self.weights is None:
            return each.mean()
        factors = 1 + labels * (self.weights - 1) if self.kind == "multi_label" else self.weights[labels]
        return (each * factors).mean()

    def _own(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.kind == "multi_label":
            targets = labels if not self._smoothing else labels * (1 - self._smoothing) + self._smoothing / 2
            return _binary(logits, targets, self.weights).mean()
        if self.kind == "regression":
            return F.mse_loss(logits[:, 0], labels.to(logits.dtype))
        if self.weights is None:
            return F.cross_entropy(logits, labels, label_smoothing=self._smoothing)
        each = F.cross_entropy(logits, labels, reduction="none", label_smoothing=self._smoothing)
        return (each * self.weights[labels]).mean()

    def _focal(self, logits: Tensor, labels: Tensor, gamma: float) -> Tensor:
        return (binary_focal_loss if self.kind == "multi_label" else focal_loss)(logits, labels, gamma)


def focal_loss(logits: Tensor, labels: Tensor, gamma: float) -> Tensor:
    """The focal loss of each row, ``(batch,)``: ``-(1 - p) ** gamma * log(p)`` (Lin et al. 2017, equation 4).

    Args:
        logits: ``(batch, labels)``; p is the probability of the gold label.
        labels: Classes, ``(batch,)``.
        gamma: How much less the rows count that the model is sure of; 0 for cross-entropy.
    """
    of_gold = logits.log_softmax(dim=1).gather(1, labels[:, None])[:, 0]
    return _focused(of_gold, -torch.expm1(of_gold), gamma)


def binary_focal_loss(logits: Tensor, labels: Tensor, gamma: float) -> Tensor:
    """The focal loss of each row and label, ``(batch, labels)``, each label with a probability of its own.

    Args:
        logits: ``(batch, labels)``.
        labels: ``(batch, labels)`` of 0 and 1.
        gamma: As for `focal_loss`.
    """
    towards_gold = logits * (2 * labels.to(logits.dtype) - 1)
    return _focused(F.logsigmoid(towards_gold), (-towards_gold).sigmoid(), gamma)


def _focused(logarithm: Tensor, missing: Tensor, gamma: float) -> Tensor:
    """The loss from the logarithm of a probability, and from what it lacks to 1."""
    # the power of zero has no finite gradient for a gamma below 1
    return -(missing.clamp(min=torch.finfo(missing.dtype).tiny) ** gamma) * logarithm


def _are_known(labels: Tensor) -> Tensor:
    """Which rows are labelled, ``(batch,)``."""
    return (labels if labels.ndim == 1 else labels[:, 0]) >= 0


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
