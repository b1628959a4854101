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


class RowMeans(Metric):
    """Means of several values of each row, such as its log loss, by compensated summation as in `MeanLoss`."""

    full_state_update = False
    total: Tensor
    rest: Tensor
    examples: Tensor

    def __init__(self, values: int) -> None:
        super().__init__()
        self.add_state("total", default=torch.zeros(values), dist_reduce_fx="sum")
        self.add_state("rest", default=torch.zeros(values), dist_reduce_fx="sum")
        self.add_state("examples", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, values: Tensor, known: Tensor) -> None:
        """Add ``(batch, values)``; rows that are not ``known``, ``(batch,)`` bool, are ignored."""
        new = values.detach().float().where(known[:, None], 0).sum(dim=0)
        self.total, self.rest = _add(self.total, self.rest, new)
        self.examples += known.sum()

    def compute(self) -> Tensor:
        """The means over all examples, ``(values,)`` float64, on the CPU."""
        sums = torch.stack([self.total, self.rest]).cpu().double().sum(dim=0)
        return sums / self.examples.cpu()


class KeptRows(Metric):
    """Logits and gold classes of all examples, for metrics that rank them."""

    full_state_update = False
    target: list[Tensor]
    logits: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("target", default=[], dist_reduce_fx="cat")
        self.add_state("logits", default=[], dist_reduce_fx="cat")

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Keep ``(batch, labels)`` logits and ``(batch,)`` gold classes; rows whose class is -1 are ignored."""
        self.target.append(target.detach())
        self.logits.append(logits.detach().float())

    def compute(self) -> Tensor:
        """Gold class, then probabilities of all labels, ``(examples, 1 + labels)`` float64, on the CPU."""
        target, logits = dim_zero_cat(self.target).cpu(), dim_zero_cat(self.logits).cpu()
        rows = torch.cat([target[:, None].double(), logits.double().softmax(dim=1)], dim=1)
        return rows[target >= 0]


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
        self.total, self.rest = _add(self.total, self.rest, new)
        self.examples += examples

    def compute(self) -> tuple[Tensor, Tensor]:
        """Mean over all examples, a float64 scalar (NaN if there are none), and their number, on the CPU."""
        examples = self.examples.cpu()
        return torch.stack([self.total, self.rest]).cpu().double().sum() / examples, examples


def _add(total: Tensor, rest: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
    """A sum, and what it has lost by rounding, after another summand."""
    larger = total + new
    part = larger - total
    return larger, rest + (total - (larger - part)) + (new - part)
