"""Who sees which example when.

Both are ``DistributedSampler``s by type, because Lightning leaves those alone and replaces any other
with one that pads the evaluation (103 examples over 2 processes would be scored as 104).
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DistributedSampler


class ShuffledSampler(DistributedSampler[Any]):
    """A new random order each epoch, the same on every device, dealt out in turn.

    With several devices the order is filled up from its start, so that all take the same number of steps.

    Args:
        examples: Number of examples.
        seed: Decides the order, together with the epoch that `set_epoch` names.
        rank: This device's number.
        world: Number of devices.
    """

    def __init__(self, examples: int, seed: int, rank: int = 0, world: int = 1) -> None:
        super().__init__(range(examples), num_replicas=world, rank=rank, shuffle=True, seed=seed)  # type: ignore[arg-type]
        self._begun = (0, 0)

    def start_at(self, epoch: int, done: int) -> None:
        """Go on in the middle of an epoch: leave out the first ``done`` of this device's examples, once."""
        self.epoch = epoch
        self._begun = (epoch, done)

    def __iter__(self) -> Iterator[int]:
        epoch, done = self._begun
        return iter(self._order()[done if epoch == self.epoch else 0 :])

    def _order(self) -> list[int]:
        examples = len(self.dataset)  # type: ignore[arg-type]
        # One generator for each (seed, epoch): seed + epoch would give seed 1's first epoch to seed 0's second.
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(examples, generator=generator)
        order = order[torch.arange(self.total_size) % examples]
        mine: list[int] = order[self.rank :: self.num_replicas].tolist()
        return mine


class EvaluationSampler(DistributedSampler[Any]):
    """Every example exactly once over all devices, in order: ``rank, rank + world, ...``.

    A device that gets none yields one filler (``-1``, which `TokenDataset` takes for an example that is
    never scored): a device without a batch would skip the collective calls that the others wait in.

    Args:
        examples: Number of examples.
        rank: This device's number.
        world: Number of devices.
    """

    def __init__(self, examples: int, rank: int = 0, world: int = 1) -> None:
        super().__init__(range(examples), num_replicas=world, rank=rank, shuffle=False)  # type: ignore[arg-type]
        self.mine = list(range(rank, examples, world)) or [-1]

    def __iter__(self) -> Iterator[int]:
        return iter(self.mine)

    def __len__(self) -> int:
        return len(self.mine)
