"""The rows of an evaluation: collected batch by batch, then gathered from all devices in the order of the data."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from glue_lit.data.batches import Batch
from glue_lit.evaluation.pooling import pool_windows
from glue_lit.evaluation.predictions import Predictions
from glue_lit.evaluation.thresholds import cut_logits
from glue_lit.system.host_copies import to_host
from glue_lit.tasks.glue import TaskSpec
from glue_lit.training.gathering import gather_values


class Evaluated(NamedTuple):
    """The rows of a split, each once.

    Attributes:
        idx: Positions in the split, ascending, ``(n,)``.
        logits: ``(n, labels)``, or ``(n, 1)`` for regression.
        labels: ``(n,)``, -1 or NaN where unlabelled; for a multi-label task int8 ``(n, labels)``.
    """

    idx: Tensor
    logits: Tensor
    labels: Tensor


class RowCollector:
    """Keeps the results of an evaluation.

    They stay on their device, so that no batch waits for a copy, until there are many: logits of 10,000 labels and
    400,000 rows would take 16 GB of it.

    Args:
        most: Logits that are kept on the device.
    """

    def __init__(self, most: int = 1 << 24) -> None:
        self._most = most
        self.clear()

    def add(self, split: str, logits: Tensor, batch: Batch) -> None:
        """Keep a batch."""
        labels = batch["labels"] if batch["labels"].ndim == 1 else batch["labels"].to(torch.int8)
        self._batches.setdefault(split, []).append((batch["idx"], logits.detach(), labels, *_windows(batch)))
        self._on_device += logits.numel()
        if self._on_device > self._most:
            self._move()

    def clear(self) -> None:
        """Drop all batches."""
        self._batches: dict[str, list[tuple[Tensor, ...]]] = {}
        self._moved: dict[str, list[tuple[Tensor, ...]]] = {}
        self._on_device = 0

    def _move(self) -> None:
        for split, batches in self._batches.items():
            rows = tuple(to_host([torch.cat(tensors) for tensors in zip(*batches, strict=True)]))
            self._moved.setdefault(split, []).append(rows)
        self._batches, self._on_device = {}, 0

    def gather(self, trainer: Any) -> Iterator[tuple[str, Evaluated]]:
        """As `rows`, of the devices of a trainer. Collective under DDP."""
        yield from self.rows(trainer.world_size, trainer.lightning_module.hparams.get("windows"))

    def rows(self, world: int, windows: Mapping[str, Any] | None) -> Iterator[tuple[str, Evaluated]]:
        """Each split with the rows of all devices, without filler rows; empties itself. Collective under DDP.

        Args:
            world: Number of devices.
            windows: The settings of windows; the rows of windows are those of their documents.
        """
        self._move()
        moved = self._moved
        self.clear()
        for split, parts in moved.items():
            rows = tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))
            real = rows[0] >= 0
            rows = tuple(tensor[real] for tensor in rows)
            if world > 1:
                rows = tuple(torch.cat(tensors) for tensors in zip(*gather_values(rows), strict=True))
            idx, logits, labels, *number = rows
            order = (number[0] if number else idx).argsort()
            found = Evaluated(*(tensor[order] for tensor in (idx, logits, labels)))
            yield split, _documents(found, windows) if number and windows else found


def _windows(batch: Batch) -> tuple[Tensor, ...]:
    """The numbers of the windows in a batch, ``(batch,)``, if that is what it holds."""
    return (batch["window"],) if "window" in batch else ()


def _documents(windows: Evaluated, settings: Mapping[str, Any]) -> Evaluated:
    """The documents of some windows, which are in their order."""
    _, counts = torch.unique_consecutive(windows.idx, return_counts=True)
    first = counts.cumsum(0) - counts
    logits = pool_windows(windows.logits, windows.idx, settings["pooling"])
    return Evaluated(windows.idx[first], logits, windows.labels[first])


def labelled_predictions(task: TaskSpec, rows: Evaluated, thresholds: Sequence[float] = ()) -> Predictions | None:
    """The labelled rows as `Predictions`; ``None`` if there are none.

    Args:
        task: The task.
        rows: All rows.
        thresholds: Probability from which on each label of a multi-label task is predicted.
    """
    known = ~rows.labels.isnan() if task.is_regression else rows.labels >= 0
    known = known.all(dim=1) if task.is_multi_label else known
    if not bool(known.any()):
        return None
    idx, logits, gold = (tensor[known] for tensor in rows)
    unlabelled = len(known) - len(idx)
    if task.is_regression:
        scores = logits[:, 0].double().numpy()
        return Predictions(idx.numpy(), gold.double().numpy(), scores, None, unlabelled)
    if task.is_multi_label:
        predicted = (logits.float() >= torch.from_numpy(cut_logits(thresholds))).to(torch.int8).numpy()
        of_labels: np.ndarray = logits.double().sigmoid().numpy()
        least = np.array(thresholds, dtype=np.float64)
        return Predictions(idx.numpy(), gold.numpy(), predicted, of_labels, unlabelled, thresholds=least)
    probabilities: np.ndarray = logits.double().softmax(dim=1).numpy()
    return Predictions(idx.numpy(), gold.numpy(), logits.argmax(dim=1).numpy(), probabilities, unlabelled)
