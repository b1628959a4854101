"""GLUE's metrics on torchmetrics, exact over devices, equal to scikit-learn and SciPy in degenerate cases.

Every metric takes ``(preds, target)``: class numbers ``(batch,)`` int64, or scores ``(batch,)`` float.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from glue_lit.tasks.glue import TaskSpec


class _FromCounts(Metric):
    """Base of the classification metrics: exact counts of each class, and the figure from them in float64.

    All of them follow from the sums of a confusion matrix and its diagonal. The matrix itself would take 800 MB for
    10,000 classes, for every metric and split.
    """

    full_state_update = False
    counts: Tensor

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.add_state("counts", default=torch.zeros(3, labels, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add predicted and gold classes, both ``(batch,)``."""
        for row, seen in enumerate((target, preds, target[preds == target])):
            self.counts[row] += torch.bincount(seen, minlength=self.counts.shape[1])

    def compute(self) -> Tensor:
        """The figure over all examples seen, a float64 scalar."""
        return self.figure(*self.counts.cpu().double())

    def figure(self, gold: Tensor, predicted: Tensor, right: Tensor) -> Tensor:
        """The figure of how often each class occurs, is predicted, and is predicted rightly; all ``(labels,)``."""
        raise NotImplementedError


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """The quotient, and 0 where scikit-learn says 0: nothing to divide by."""
    return numerator / denominator if denominator > 0 else numerator.new_zeros((), dtype=torch.float64)


class Accuracy(_FromCounts):
    """Share of examples whose class is right, in 0 to 1 (torchmetrics' default is the mean over classes)."""

    def figure(self, gold: Tensor, predicted: Tensor, right: Tensor) -> Tensor:
        """Right ones over all."""
        return _ratio(right.sum(), gold.sum())


class F1(_FromCounts):
    """Harmonic mean of precision and recall of the positive class (equivalent, duplicate), in 0 to 1.

    Args:
        labels: How many classes there are.
        positive: The positive one.
    """

    def __init__(self, labels: int, positive: int = 1) -> None:
        super().__init__(labels)
        self.positive = positive

    def figure(self, gold: Tensor, predicted: Tensor, right: Tensor) -> Tensor:
        """Twice the true positives over gold plus predicted positives."""
        return _ratio(2 * right[self.positive], gold[self.positive] + predicted[self.positive])


class MacroF1(_FromCounts):
    """Mean over the classes of each one's F1, in 0 to 1; a class that neither occurs nor is predicted is left out."""

    def figure(self, gold: Tensor, predicted: Tensor, right: Tensor) -> Tensor:
        """As scikit-learn has it when the labels are those that occur."""
        both = gold + predicted
        seen = both > 0
        return (2 * right[seen] / both[seen]).mean() if seen.any() else _ratio(both.sum(), both.sum())


class MatthewsCorrelation(_FromCounts):
    """Matthews correlation coefficient, in -1 to 1, for two or more classes.

    The R_K of Gorodkin 2004 (https://doi.org/10.1016/j.compbiolchem.2004.09.006), and 0 where its
    denominator is 0 (all examples, or all predictions, of one class), as scikit-learn has it.
    torchmetrics' own gives about 0.03 of either sign there, enough to pick a collapsed checkpoint.
    """

    def figure(self, gold: Tensor, predicted: Tensor, right: Tensor) -> Tensor:
        """Covariance of gold and predicted classes over the product of their spreads."""
        total = gold.sum()
        covariance = right.sum() * total - gold @ predicted
        spread = (total**2 - predicted @ predicted) * (total**2 - gold @ gold)
        return _ratio(covariance, spread.sqrt())


class _Correlation(Metric):
    """Base of the correlations: keeps every score, so that the result has no running sums to round.

    Undefined (all predictions, or all gold scores, the same; fewer than two examples) is NaN, as in SciPy.
    """

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

    def _scores(self) -> tuple[Tensor, Tensor]:
        return dim_zero_cat(self.preds).cpu().double(), dim_zero_cat(self.target).cpu().double()


class PearsonCorrelation(_Correlation):
    """Pearson's product-moment correlation, in -1 to 1."""

    def compute(self) -> Tensor:
        """The coefficient over all examples seen, a float64 scalar."""
        return _pearson(*self._scores())


class SpearmanCorrelation(_Correlation):
    """Spearman's rank correlation, in -1 to 1; equal scores share their mean rank."""

    def compute(self) -> Tensor:
        """The coefficient over all examples seen, a float64 scalar."""
        preds, target = self._scores()
        if bool(preds.isnan().any()) or bool(target.isnan().any()):  # a NaN has no rank
            return preds.new_tensor(math.nan)
        return _pearson(_ranks(preds), _ranks(target))


def _pearson(x: Tensor, y: Tensor) -> Tensor:
    if len(x) < 2 or bool((x == x[0]).all()) or bool((y == y[0]).all()):
        return x.new_tensor(math.nan)
    x, y = x - x.mean(), y - y.mean()
    correlation: Tensor = ((x / x.norm()) @ (y / y.norm())).clamp(-1, 1)
    return correlation


def _ranks(x: Tensor) -> Tensor:
    _, place, counts = torch.unique(x, return_inverse=True, return_counts=True)
    ranks: Tensor = (counts.cumsum(0) - (counts - 1) / 2)[place].double()
    return ranks


class MeanLoss(Metric):
    """Mean loss over examples; a diverged loss (NaN) shows.

    torchmetrics' ``MeanMetric`` either leaves NaN out or, told not to, leaves out the weights (1.9).
    Added up with the rounding errors kept beside the sum (Knuth's TwoSum; float64 does not exist on every
    device), so that how the examples were dealt out over batches and devices does not show.
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
        """Add the mean loss of so many examples; of none it is undefined, and adds nothing."""
        if examples:
            new = loss.detach().float() * examples
            total = self.total + new
            part = total - self.total
            self.rest = self.rest + (self.total - (total - part)) + (new - part)
            self.total = total
            self.examples += examples

    def compute(self) -> tuple[Tensor, Tensor]:
        """The mean over all examples seen, a float64 scalar (NaN if there were none), and their number."""
        total = self.total.cpu().double() + self.rest.cpu().double()
        return total / self.examples.cpu(), self.examples.clone()


class PredictedClasses(Metric):
    """How often each class was predicted, ``(labels,)``: a model that knows one class only shows."""

    full_state_update = False
    counts: Tensor

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.add_state("counts", default=torch.zeros(labels, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Tensor) -> None:
        """Add predicted classes ``(batch,)``."""
        self.counts += torch.bincount(preds, minlength=len(self.counts))

    def compute(self) -> Tensor:
        """The counts over all examples seen."""
        return self.counts.clone()


METRICS: dict[str, Callable[[TaskSpec], Metric]] = {
    "accuracy": lambda task: Accuracy(task.num_labels),
    "f1": lambda task: F1(task.num_labels, task.positive),
    "macro_f1": lambda task: MacroF1(task.num_labels),
    "matthews_correlation": lambda task: MatthewsCorrelation(task.num_labels),
    "pearson": lambda task: PearsonCorrelation(),
    "spearmanr": lambda task: SpearmanCorrelation(),
}
