"""The mean loss of an evaluation by a loss that takes all rows together."""

from collections.abc import Callable

import torch
from torch import Tensor

from glue_lit.evaluation.metrics import DeviceMetric, all_parts
from glue_lit.tasks.metrics import Kind

LossOfRows = Callable[[Tensor, Tensor], float]


class KeptLoss(DeviceMetric):
    """Mean loss over examples, computed at the end for all of them, by a loss that is not given unlabelled rows.

    Args:
        mean: Gives the mean loss of rows from their logits and labels.
        outputs: Number of logits of a row.
        kind: The kind of task.
    """

    target: list[Tensor]
    logits: list[Tensor]

    def __init__(self, mean: LossOfRows, outputs: int, kind: Kind) -> None:
        super().__init__()
        self._mean, self._outputs, self._kind = mean, outputs, kind
        self.add_state("target", default=[], dist_reduce_fx="cat")
        self.add_state("logits", default=[], dist_reduce_fx="cat")

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Keep ``(batch, outputs)`` logits and the labels of the same rows."""
        self.target.append(target.detach())
        self.logits.append(logits.detach())

    def compute(self) -> tuple[Tensor, Tensor]:
        """Labels and logits of all rows, on the device."""
        return all_parts(self.target), all_parts(self.logits)

    def finish(self, found: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Mean over all examples, a float64 scalar (NaN if there are none), and their number."""
        logits = found[1].view(-1, self._outputs)  # torchmetrics makes a scalar of the only value
        target = found[0].view(-1, self._outputs) if self._kind == "multi_label" else found[0].view(-1)
        first = target if target.ndim == 1 else target[:, 0]
        known = ~first.isnan() if self._kind == "regression" else first >= 0
        with torch.inference_mode():
            return torch.tensor(self._mean(logits[known], target[known]), dtype=torch.float64), known.sum()
