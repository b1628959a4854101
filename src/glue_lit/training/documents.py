"""Metrics by document: the windows of an evaluation are pooled at its end, wherever they were computed."""

from typing import Any

import torch
from torch import Tensor

from glue_lit.data.batches import Batch
from glue_lit.errors import UsageError
from glue_lit.evaluation.task_metrics import Loss, SplitMetrics
from glue_lit.training.tensorboard.evaluated import Evaluated, RowCollector

_AT_ONCE = 1 << 22  # logits that are moved to the device at a time


class Documents:
    """Collects the windows of an evaluation, and adds their documents to the metrics, each once over all devices.

    Until the end of the evaluation, logits stay on their device, so that no batch waits for it.
    """

    def __init__(self) -> None:
        self._rows = RowCollector()

    def add(self, split: str, logits: Tensor, batch: Batch) -> None:
        """Keep the logits of a batch of windows, ``(batch, labels)``."""
        self._rows.add(split, logits, batch)

    def clear(self) -> None:
        """Drop all windows."""
        self._rows.clear()

    def score(self, trainer: Any, metrics: SplitMetrics, loss: Loss) -> None:
        """Add the documents of each split to its metrics, shared out between the devices. Collective under DDP.

        Args:
            trainer: Evaluates.
            metrics: The metrics of the splits.
            loss: Computes the mean loss of the labelled documents from logits and labels.
        """
        device = trainer.strategy.root_device
        for split, rows in self._rows.gather(trainer):
            for part in _parts(rows, trainer.global_rank, trainer.world_size):
                metrics.of(split).add(part.logits.to(device), part.labels.to(device), loss)


def _parts(rows: Evaluated, rank: int, world: int) -> list[Evaluated]:
    """A device's share of the documents, in parts that fit into its memory; an unlabelled one if it has none."""
    share = Evaluated(*(tensor[rank::world] for tensor in rows))
    if not len(share.idx):
        is_score = rows.labels.dim() == 1 and rows.labels.is_floating_point()
        hidden = torch.full_like(rows.labels[:1], float("nan") if is_score else -1)
        return [Evaluated(rows.idx[:1], rows.logits[:1], hidden)]
    size = max(1, _AT_ONCE // share.logits.shape[1])
    return [Evaluated(*part) for part in zip(*(torch.split(tensor, size) for tensor in share), strict=True)]


def check_has_pooling(windows: Any) -> None:
    """Refuse to evaluate windows with a model that does not know how to pool them.

    Raises:
        UsageError: The setting is missing.
    """
    if windows is None:
        raise UsageError(
            "model.windows: got null, but the data are windows of documents, whose logits are pooled. Pass the data "
            "module's setting: SequenceClassifier(windows=data.hparams.windows)."
        )
