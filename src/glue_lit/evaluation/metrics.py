"""What an evaluation counts: exact on any number of devices, whatever the batches.

Each metric of torchmetrics' kind keeps what `formulas` needs; the scores follow from it at the end.
"""

import math

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class ClassCounts(Metric):
    """How often each class is gold, predicted, and both: ``(3, labels)`` int64.

    All classification metrics follow from these counts. torchmetrics' `MulticlassStatScores` would make a confusion
    matrix of every batch on the way, which has 800 MB for 10,000 classes.
    """

    full_state_update = False
    counts: Tensor

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.add_state("counts", default=torch.zeros(3, labels, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add predicted and gold classes, both ``(batch,)``."""
        for row, classes in enumerate((target, preds, target[preds == target])):
            self.counts[row] += torch.bincount(classes, minlength=self.counts.shape[1])

    def compute(self) -> Tensor:
        """The counts over all examples."""
        return self.counts.clone()


class ScorePairs(Metric):
    """Predicted and gold scores of all examples, so that a correlation has no running sums to round."""

    full_state_update = False
    preds: list[Tensor]
    target: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("preds", default=[], dist_reduce_fx="cat")
        self.add_state("target", default=[], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add predicted and gold scores, both ``(batch,)``."""
        self.preds.append(preds.detach().float())
        self.target.append(target.detach().float())

    def compute(self) -> Tensor:
        """All predicted and all gold scores, ``(2, examples)`` float64 on the CPU."""
        return torch.stack([dim_zero_cat(self.preds), dim_zero_cat(self.target)]).cpu().double()


class MeanLoss(Metric):
    """Mean loss over examples; NaN once a loss has diverged.

    torchmetrics' ``MeanMetric`` leaves NaN out, or the weights (1.9). The rounding errors are kept beside the sum
    (Knuth's TwoSum; not every device has float64), so that the mean does not depend on how examples are split into
    batches and over devices.
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
        """Add the mean loss of some examples; without any, it is undefined and adds nothing."""
        if examples:
            new = loss.detach().float() * examples
            total = self.total + new
            part = total - self.total
            self.rest = self.rest + (self.total - (total - part)) + (new - part)
            self.total = total
            self.examples += examples

    def compute(self) -> tuple[Tensor, Tensor]:
        """The mean over all examples, a float64 scalar (NaN without any), and their number."""
        total = self.total.cpu().double() + self.rest.cpu().double()
        return total / self.examples.cpu(), self.examples.clone()


def pearson(x: Tensor, y: Tensor) -> Tensor:
    """Pearson's correlation of ``(examples,)`` values, in -1 to 1; NaN as in SciPy: constant, or fewer than two."""
    if len(x) < 2 or bool((x == x[0]).all()) or bool((y == y[0]).all()):
        return x.new_tensor(math.nan)
    x, y = x - x.mean(), y - y.mean()
    correlation: Tensor = ((x / x.norm()) @ (y / y.norm())).clamp(-1, 1)
    return correlation


def spearmanr(x: Tensor, y: Tensor) -> Tensor:
    """Spearman's rank correlation of ``(examples,)`` values; NaN like `pearson`, and where a value is NaN."""
    if bool(x.isnan().any()) or bool(y.isnan().any()):  # a NaN has no rank
        return x.new_tensor(math.nan)
    return pearson(_ranks(x), _ranks(y))


def _ranks(x: Tensor) -> Tensor:
    _, place, counts = torch.unique(x, return_inverse=True, return_counts=True)
    ranks: Tensor = (counts.cumsum(0) - (counts - 1) / 2)[place].double()
    return ranks
