"""torchmetrics metrics that collect what `formulas` computes scores from.

The result does not depend on the number of devices or on how the examples are batched.
"""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class ClassCounts(Metric):
    """How often each class is gold, predicted, and both: ``(3, labels)`` int64.

    Every classification metric follows from them. torchmetrics' `MulticlassStatScores` builds a confusion matrix of
    each batch, which takes 800 MB for 10,000 classes.
    """

    full_state_update = False
    counts: Tensor

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.add_state("counts", default=torch.zeros(3, labels, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count predicted and gold classes, both ``(batch,)``."""
        for row, classes in enumerate((target, preds, target[preds == target])):
            self.counts[row] += torch.bincount(classes, minlength=self.counts.shape[1])

    def compute(self) -> Tensor:
        """The counts over all examples."""
        return self.counts.clone()


class ScorePairs(Metric):
    """Gold and predicted scores of all examples; running sums of a correlation would lose precision."""

    full_state_update = False
    target: list[Tensor]
    preds: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("target", default=[], dist_reduce_fx="cat")
        self.add_state("preds", default=[], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Keep predicted and gold scores, both ``(batch,)``."""
        self.target.append(target.detach().float())
        self.preds.append(preds.detach().float())

    def compute(self) -> Tensor:
        """Gold scores, then predicted ones, ``(2, examples)`` float32."""
        return torch.stack([dim_zero_cat(self.target), dim_zero_cat(self.preds)])


class MeanLoss(Metric):
    """Mean loss over examples; NaN once a loss is NaN.

    torchmetrics' ``MeanMetric`` (1.9) drops either NaN losses or the weights. Compensated summation (Knuth's TwoSum;
    not every device has float64) keeps the mean independent of batches and devices.
    """

    full_state_update = False
    total: Tensor
    rest: Tensor
    examples: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", default=torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("rest", default=torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("examples", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, loss: Tensor, examples: int) -> None:
        """Add the mean loss of ``examples`` examples; an empty batch, whose loss is NaN, is ignored."""
        if examples:
            new = loss.detach().float() * examples
            total = self.total + new
            part = total - self.total
            self.rest = self.rest + (self.total - (total - part)) + (new - part)
            self.total = total
            self.examples += examples

    def compute(self) -> tuple[Tensor, Tensor]:
        """Mean over all examples, a float64 scalar (NaN if there are none), and their number."""
        total = self.total.cpu().double() + self.rest.cpu().double()
        return total / self.examples.cpu(), self.examples.clone()
