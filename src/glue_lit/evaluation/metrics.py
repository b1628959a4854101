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

    counts: Tensor

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.add_state("counts", default=torch.zeros(3, labels, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count predicted and gold classes, both ``(batch,)``; rows whose gold class is -1 are ignored."""
        # Sizes that depend on values, as those of `bincount` and of rows picked by a mask, would wait for the device.
        known = target >= 0
        gold = target.clamp(min=0)
        for row, (classes, is_counted) in enumerate(((gold, known), (preds, known), (gold, known & (preds == gold)))):
            self.counts[row].scatter_add_(0, classes, is_counted.to(torch.int64))

    def compute(self) -> Tensor:
        """The counts over all examples, on the CPU."""
        return self.counts.cpu()


class ScorePairs(Metric):
    """Gold and predicted scores of all examples; running sums of a correlation would lose precision."""

    target: list[Tensor]
    preds: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("target", default=[], dist_reduce_fx="cat")
        self.add_state("preds", default=[], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Keep predicted and gold scores, both ``(batch,)``; rows whose gold score is NaN are ignored."""
        self.target.append(target.detach().float())
        self.preds.append(preds.detach().float())

    def compute(self) -> Tensor:
        """Gold scores, then predicted ones, ``(2, examples)`` float32 on the CPU."""
        scores = torch.stack([dim_zero_cat(self.target), dim_zero_cat(self.preds)]).cpu()
        return scores[:, ~scores[0].isnan()]


class MeanLoss(Metric):
    """Mean loss over examples; NaN once a loss is NaN.

    torchmetrics' ``MeanMetric`` (1.9) drops either NaN losses or the weights. Compensated summation (Knuth's TwoSum;
    not every device has float64) keeps the mean independent of batches and devices.
    """

    total: Tensor
    rest: Tensor
    examples: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", default=torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("rest", default=torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("examples", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, loss: Tensor, examples: Tensor) -> None:
        """Add the mean loss ``()`` of ``examples`` examples, ``()`` int64; that of none, which is NaN, is ignored."""
        new = (loss.detach().float() * examples).where(examples > 0, 0)
        total = self.total + new
        part = total - self.total
        self.rest = self.rest + (self.total - (total - part)) + (new - part)
        self.total = total
        self.examples += examples

    def compute(self) -> tuple[Tensor, Tensor]:
        """Mean over all examples, a float64 scalar (NaN if there are none), and their number, on the CPU."""
        examples = self.examples.cpu()
        return torch.stack([self.total, self.rest]).cpu().double().sum() / examples, examples
