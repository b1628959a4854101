"""The mean loss of an evaluation by a loss that takes all rows together."""

from collections.abc import Callable

import torch
from torch import Tensor

from glue_lit.evaluation.metrics import KeptRows
from glue_lit.tasks.metrics import Kind

LossOfRows = Callable[[Tensor, Tensor], float]


class KeptLoss(KeptRows):
    """Mean loss over examples, computed at the end for all of them, by a loss that is not given unlabelled rows.

    Args:
        mean: Gives the mean loss of rows from their logits and labels.
        outputs: Number of logits of a row.
        kind: The kind of task.
    """

    def __init__(self, mean: LossOfRows, outputs: int, kind: Kind) -> None:
        super().__init__(outputs, kind)
        self._mean = mean

    def finish(self, found: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Mean over all examples, a float64 scalar (NaN if there are none), and their number."""
        logits, labels = super().finish(found)
        if self._kind == "multi_label":
            labels = labels.float()  # as in training
        with torch.inference_mode():
            return torch.tensor(self._mean(logits, labels), dtype=torch.float64), torch.tensor(len(labels))
