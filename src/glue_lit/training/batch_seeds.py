"""Random numbers that depend only on a batch's position in the training."""

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer

from glue_lit.system.environment import global_seed
from glue_lit.training.fit_part import FitPart


class BatchSeeds(FitPart):
    """Seed every batch by its position in the training, so that a resumed fit draws the same dropout masks."""

    def __init__(self) -> None:
        self._seed = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the fit's seed."""
        self._seed = torch.initial_seed() if (seed := global_seed()) is None else seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed the generators of Python, NumPy and torch."""
        seed = batch_seed(self._seed, trainer.current_epoch, batch_idx, trainer.global_rank)
        random.seed(seed)  # BigBird and models with code of their own draw from these
        np.random.seed(seed % 2**32)
        if pl_module.device.type == "cpu":
            torch.default_generator.manual_seed(seed)  # as torch.manual_seed, without the other devices
        else:
            torch.manual_seed(seed)


def batch_seed(seed: int, epoch: int, batch: int, rank: int) -> int:
    """Seed of one batch on one device, in 0 to 2**64 - 1, distinct for distinct arguments."""
    # NumPy promises that SeedSequence gives the same numbers in all versions.
    return int(np.random.SeedSequence((seed, epoch, batch, rank)).generate_state(1, np.uint64)[0])
