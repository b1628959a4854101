"""torchmetrics metrics that collect what `formulas` computes scores from.

The result does not depend on the number of devices or on how the examples are batched.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from glue_lit.system.host_copies import to_host
from glue_lit.tasks.metrics import Kind


class DeviceMetric(Metric, ABC):
    """A metric whose states stay on their device.

    ``compute`` returns them, so that those of several metrics reach the host in one copy; `finish` does the rest there.
    """

    full_state_update = False

    @abstractmethod
    def compute(self) -> Any:
        """The states over all examples and devices, on the device."""

    @abstractmethod
    def finish(self, found: Any) -> Any:
        """The result, from what ``compute`` has returned, copied to the CPU."""


class CollectedRows(nn.Module):
    """Rows of an evaluation, in several `DeviceMetric`: the attributes loss, outcomes, means and rows."""

    def __init__(self) -> None:
        super().__init__()
        self._results: dict[str, Any] | None = None

    def results(self) -> dict[str, Any]:
        """The results of all parts by name, read from the device at once. Collective under DDP."""
        if self._results is None:
            found = to_host({name: part.compute() for name, part in self._parts().items()})
            self._results = {name: part.finish(found[name]) for name, part in self._parts().items()}
        return self._results

    def forget_results(self) -> None:
        """Compute them again at the next call."""
        self._results = None

    def reset(self) -> None:
        """Forget all examples."""
        self.forget_results()
        for part in self._parts().values():
            part.reset()

    def _parts(self) -> dict[str, DeviceMetric]:
        names = ("loss", "outcomes", "means", "rows")
        return {name: part for name in names if isinstance(part := getattr(self, name), DeviceMetric)}


class ClassCounts(DeviceMetric):
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
        """The counts over all examples, on the device."""
        return self.counts

    def finish(self, found: Tensor) -> Tensor:
        """The counts, ``(3, labels)``."""
        return found


class KeptRows(DeviceMetric):
    """Logits and labels of all rows, for results that need all of them at once.

    Args:
        outputs: Number of logits of a row.
        kind: The kind of task: a row has a class, a score, or 0 or 1 for each label.
    """

    target: list[Tensor]
    logits: list[Tensor]

    def __init__(self, outputs: int, kind: Kind) -> None:
        super().__init__()
        self._outputs, self._kind = outputs, kind
        self.add_state("target", default=[], dist_reduce_fx="cat")
        self.add_state("logits", default=[], dist_reduce_fx="cat")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Keep ``(batch, outputs)`` logits and the labels of the same rows; unlabelled rows are ignored."""
        self.target.append(labels.detach().to(torch.int8 if self._kind == "multi_label" else labels.dtype))
        self.logits.append(logits.detach())

    def compute(self) -> tuple[Tensor, Tensor]:
        """Logits and labels of all rows, on the device."""
        return all_parts(self.logits), all_parts(self.target)

    def finish(self, found: tuple[Tensor, Tensor]) -> Any:
        """Logits ``(rows, outputs)`` of the labelled rows, and labels ``(rows,)``, or int8 ``(rows, outputs)``."""
        logits = found[0].view(-1, self._outputs)  # torchmetrics makes a scalar of the only value
        target = found[1].view(-1, self._outputs) if self._kind == "multi_label" else found[1].view(-1)
        first = target if target.ndim == 1 else target[:, 0]
        known = ~first.isnan() if self._kind == "regression" else first >= 0
        return logits[known], target[known]


class ScorePairs(KeptRows):
    """Gold and predicted scores of all examples; running sums of a correlation would lose precision."""

    def __init__(self) -> None:
        super().__init__(1, "regression")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Keep predicted and gold scores, both ``(batch,)``; rows whose gold score is NaN are ignored."""
        super().update(preds.float(), target.float())

    def finish(self, found: tuple[Tensor, Tensor]) -> Tensor:
        """Gold scores, then predicted ones, ``(2, examples)`` float32."""
        preds, target = super().finish(found)
        return torch.stack([target, preds[:, 0]])


class RowMeans(DeviceMetric):
    """Means of several values of each row, such as its log loss, by compensated summation as in `MeanLoss`."""

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

    def compute(self) -> tuple[Tensor, Tensor]:
        """The sums with what they lost by rounding, ``(2, values)``, and the number of examples, on the device."""
        return torch.stack([self.total, self.rest]), self.examples

    def finish(self, found: tuple[Tensor, Tensor]) -> Tensor:
        """The means over all examples, ``(values,)`` float64."""
        sums, examples = found
        return sums.double().sum(dim=0) / examples


class MeanLoss(DeviceMetric):
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
        """The sum with what it lost by rounding, ``(2,)``, and the number of examples, on the device."""
        return torch.stack([self.total, self.rest]), self.examples

    def finish(self, found: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Mean over all examples, a float64 scalar (NaN if there are none), and their number."""
        sums, examples = found
        return sums.double().sum() / examples, examples


def all_parts(parts: list[Tensor] | Tensor) -> Tensor:
    """All parts in one tensor, without a part ``(0,)``."""
    return dim_zero_cat(parts) if len(parts) else torch.zeros(0)


def _add(total: Tensor, rest: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
    """A sum, and what it has lost by rounding, after another summand."""
    larger = total + new
    part = larger - total
    return larger, rest + (total - (larger - part)) + (new - part)
