"""Who sees which example when, batch by batch.

Padding is wasted work: drawn at random, a batch of CoLA is nearly half padding. So batches hold examples of
about the same length, and stay random in which examples meet, in their order, and from epoch to epoch.

Both samplers are ``DistributedSampler``s by type, because Lightning leaves those alone and replaces any other
with one that pads the evaluation (103 examples over 2 processes would be scored as 104). They yield the
positions of a whole batch at once, for a ``DataLoader`` with ``batch_size=None``.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DistributedSampler

_POOL = 100  # batches that are sorted by length together: padding below 3 %, and neighbours still change each epoch


class ShuffledSampler(DistributedSampler[Any]):
    """Random batches, new ones each epoch, of which every device takes its share.

    With several devices the order is filled up from its start, so that all take the same number of steps. A
    step of all devices together holds the same examples on any number of them, if its size is the same.

    Args:
        lengths: Tokens of each example, ``(examples,)``.
        batch_size: Examples in a batch of one device; the last batch of an epoch may be smaller.
        seed: Decides the order, together with the epoch that `set_epoch` names.
        rank: This device's number.
        world: Number of devices.
        grouped: Put examples of about the same length into a batch.
        tokens: Fill batches up to so many tokens, padding included, in place of ``batch_size`` examples; then
            every epoch is sorted by length as a whole, and has the same number of batches.
    """

    def __init__(
        self,
        lengths: Tensor,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        grouped: bool = True,
        tokens: int | None = None,
    ) -> None:
        super().__init__(range(len(lengths)), num_replicas=world, rank=rank, shuffle=True, seed=seed)  # type: ignore[arg-type]
        self._lengths = lengths
        self._step = batch_size * world
        self._grouped = grouped
        self._begun = (0, 0)
        filled = lengths[torch.arange(self.total_size, device="cpu") % len(lengths)]
        self._sizes = (
            fill_batches(filled.sort(descending=True).values, tokens, world)
            if tokens is not None
            else _equal_parts(self.total_size, self._step)
        )
        self._by_tokens = tokens is not None

    def start_at(self, epoch: int, done: int) -> None:
        """Go on in the middle of an epoch: leave out the first ``done`` of this device's batches, once."""
        self.epoch = epoch
        self._begun = (epoch, done)

    def __len__(self) -> int:
        return len(self._sizes)

    def __iter__(self) -> Iterator[list[int]]:
        epoch, done = self._begun
        return iter(self._batches()[done if epoch == self.epoch else 0 :])

    def _batches(self) -> list[list[int]]:
        # One generator for each (seed, epoch): seed + epoch would give seed 1's first epoch to seed 0's second.
        generator = torch.Generator("cpu").manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self._lengths), generator=generator, device="cpu")
        order = order[torch.arange(self.total_size, device="cpu") % len(order)]
        if self._by_tokens:
            order = order[self._lengths[order].argsort(descending=True, stable=True)]
            steps = list(torch.split(order, self._sizes))
            steps = [steps[i] for i in torch.randperm(len(steps), generator=generator, device="cpu").tolist()]
        else:
            if self._grouped:
                order = self._group(order, generator)
            steps = list(torch.split(order, self._step))
        return _share(steps, self.rank, self.num_replicas)

    def _group(self, order: Tensor, generator: torch.Generator) -> Tensor:
        """Sort a random order by length within pools, then shuffle the batches; what fills no batch stays last."""
        whole = len(order) // self._step * self._step
        pool = torch.arange(whole, device="cpu") // (self._step * _POOL)
        lengths = self._lengths[order[:whole]]
        by_length = (pool * (int(self._lengths.max()) + 1) + lengths).argsort(stable=True)
        steps = order[:whole][by_length].view(-1, self._step)
        steps = steps[torch.randperm(len(steps), generator=generator, device="cpu")]
        return torch.cat([steps.flatten(), order[whole:]])


class EvaluationSampler(DistributedSampler[Any]):
    """Every example exactly once over all devices, in batches of about the same length.

    Every device gets the same number of batches. One that has no example left yields a filler (``-1``, which
    `TokenDataset` takes for an example that is never scored): a device without a batch would skip the
    collective calls that the others wait in. The batches come in a random order that never changes, so that
    the first ones stand for all of them where a limit leaves out the rest.

    Args:
        lengths: Tokens of each example, ``(examples,)``.
        rank: This device's number.
        world: Number of devices.
        batch_size: Examples in a batch; ``None`` to fill batches up to ``tokens``.
        tokens: Tokens in a batch, padding included.
        equal_lengths: Put only examples of exactly the same length into a batch, for a model whose logits depend on
            padding.
    """

    def __init__(
        self,
        lengths: Tensor,
        rank: int = 0,
        world: int = 1,
        batch_size: int | None = None,
        tokens: int = 8192,
        equal_lengths: bool = False,
    ) -> None:
        super().__init__(range(len(lengths)), num_replicas=world, rank=rank, shuffle=False)  # type: ignore[arg-type]
        order = lengths.argsort(descending=True, stable=True)
        parts = [order]
        if equal_lengths:
            counts = torch.unique(lengths, return_counts=True)[1]
            parts = list(torch.split(order, counts.flip(0).tolist()))
        steps: list[Tensor] = []
        for part in parts:
            size = len(part)
            sizes = (
                fill_batches(lengths[part], tokens, world)
                if batch_size is None
                else _equal_parts(size, batch_size * world)
            )
            steps += torch.split(part, sizes)
        generator = torch.Generator("cpu").manual_seed(0)
        steps = [steps[i] for i in torch.randperm(len(steps), generator=generator, device="cpu").tolist()]
        self.mine = _share(steps, rank, world)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.mine)

    def __len__(self) -> int:
        return len(self.mine)


def _share(steps: list[Tensor], rank: int, world: int) -> list[list[int]]:
    """One device's part of each step: every ``world``-th example, a filler if there is none for it."""
    return [step[rank::world].tolist() or [-1] for step in steps]


def _equal_parts(total: int, size: int) -> list[int]:
    whole, rest = divmod(total, size)
    return [size] * whole + [rest] * (rest > 0)


def fill_batches(lengths: Tensor, tokens: int, world: int = 1) -> list[int]:
    """Cut a sorted list of examples into steps whose batches hold at most ``tokens``, padding included.

    Args:
        lengths: Tokens of each example, longest first, ``(examples,)``.
        tokens: Limit for the batch of one device; an example that is longer has a batch to itself.
        world: Number of devices that share a step; all steps but the last are multiples of it.

    Returns:
        Examples in each step, their sum is ``len(lengths)``.
    """
    sizes: list[int] = []
    done = 0
    while done < len(lengths):
        rows = max(1, tokens // max(1, int(lengths[done])))  # the first is the longest
        sizes.append(min(rows * world, len(lengths) - done))
        done += sizes[-1]
    return sizes
