"""The rows of an evaluation: collected batch by batch, then gathered from all devices in the order of the data."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from glue_lit.data.batches import Batch
from glue_lit.evaluation.predictions import Predictions
from glue_lit.tasks.glue import TaskSpec
from glue_lit.training.gathering import gather_values


class Evaluated(NamedTuple):
    """The rows of a split, each once.

    Attributes:
        idx: Positions in the split, ascending, ``(n,)``.
        logits: ``(n, labels)``, or ``(n, 1)`` for regression.
        labels: ``(n,)``, -1 or NaN where unlabelled.
    """

    idx: Tensor
    logits: Tensor
    labels: Tensor


class RowCollector:
    """Keeps the results of an evaluation on their device, so that no batch waits for a copy."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Evaluated]] = {}

    def add(self, split: str, logits: Tensor, batch: Batch) -> None:
        """Keep a batch."""
        self._parts.setdefault(split, []).append(Evaluated(batch["idx"], logits.detach(), batch["labels"]))

    def clear(self) -> None:
        """Drop all batches."""
        self._parts = {}

    def gather(self, trainer: Any) -> Iterator[tuple[str, Evaluated]]:
        """Each split with the rows of all devices, without filler rows; empties itself. Collective under DDP."""
        parts, self._parts = self._parts, {}
        for split, batches in parts.items():
            rows = Evaluated(*(torch.cat(tensors).cpu() for tensors in zip(*batches, strict=True)))
            real = rows.idx >= 0
            rows = Evaluated(*(tensor[real] for tensor in rows))
            if trainer.world_size > 1:
                rows = Evaluated(*(torch.cat(tensors) for tensors in zip(*gather_values(tuple(rows)), strict=True)))
            order = rows.idx.argsort()
            yield split, Evaluated(*(tensor[order] for tensor in rows))


def labelled_predictions(task: TaskSpec, rows: Evaluated) -> Predictions | None:
    """The labelled rows as `Predictions`; ``None`` if there are none."""
    known = ~rows.labels.isnan() if task.is_regression else rows.labels >= 0
    if not bool(known.any()):
        return None
    idx, logits, gold = (tensor[known] for tensor in rows)
    unlabelled = len(known) - len(idx)
    if task.is_regression:
        scores = logits[:, 0].double().numpy()
        return Predictions(idx.numpy(), gold.double().numpy(), scores, None, unlabelled)
    probabilities: np.ndarray = logits.double().softmax(dim=1).numpy()
    return Predictions(idx.numpy(), gold.numpy(), logits.argmax(dim=1).numpy(), probabilities, unlabelled)
