"""What training minimises: the task's loss, and what recipes add to it."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ClassWeights(nn.Module):
    """Factors on the loss of each label: on the model's device, and in float32 whatever the model is in.

    They are the task's, so a checkpoint does not have them.

    Attributes:
        values: ``(labels,)`` float32.
    """

    values: Tensor

    def __init__(self, factors: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("values", torch.tensor(factors, dtype=torch.float32), persistent=False)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        exact = self.values
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.values = exact.to(self.values.device)  # in bfloat16 a factor has two digits
        return self


def task_loss(logits: Tensor, labels: Tensor, is_regression: bool) -> Tensor:
    """Mean cross-entropy, or mean squared error for scores.

    Args:
        logits: ``(batch, labels)``, or ``(batch, 1)`` for scores.
        labels: ``(batch,)``, all known.
        is_regression: Whether they are scores.
    """
    return F.mse_loss(logits[:, 0], labels.to(logits.dtype)) if is_regression else F.cross_entropy(logits, labels)


def weighted_loss(logits: Tensor, labels: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
    """Mean cross-entropy with each example's counted by the weight of its class, against smoothed labels.

    Not torch's own mean, which divides by the batch's weights: rare classes would weigh less where they meet.

    Args:
        logits: ``(batch, labels)``.
        labels: ``(batch,)``.
        weights: ``(labels,)``, on the device of the logits; ``None`` for all 1.
        smoothing: Share of the probability that is spread over all labels (Szegedy et al. 2016, section 7).
    """
    if weights is None:
        return F.cross_entropy(logits, labels, label_smoothing=smoothing)
    each = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    return (each * weights[labels]).mean()


def r_drop(first: Tensor, second: Tensor, is_regression: bool) -> Tensor:
    """How far two passes over the same rows differ, whose dropout masks do.

    The mean of both Kullback-Leibler divergences (Wu et al. 2021, "R-Drop", equation 2), or the squared difference of
    scores.

    Args:
        first: Logits ``(batch, labels)`` of one pass.
        second: Those of the other.
        is_regression: Whether they are scores.
    """
    if is_regression:
        return F.mse_loss(first, second)
    one, other = F.log_softmax(first, dim=-1), F.log_softmax(second, dim=-1)
    return ((one.exp() - other.exp()) * (one - other)).sum(dim=-1).mean() / 2


def r_drop_loss(classifier: Any, batch: dict[str, Tensor], weight: float) -> Tensor:
    """Mean training loss of two passes over a batch, and ``weight`` times their difference."""
    first, second = classifier(twice(batch)).chunk(2)
    losses = [classifier.training_loss(logits, batch["labels"]) for logits in (first, second)]
    loss: Tensor = (losses[0] + losses[1]) / 2 + weight * r_drop(first, second, classifier.task.is_regression)
    return loss


def twice(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """A batch with each row a second time, after all the others."""
    return {name: torch.cat([value, value]) for name, value in batch.items()}
