"""Samplers, which decide batch by batch which process gets which examples.

The samplers earn their keep by saving padding: nearly half of a random batch of CoLA is padding. Batches hold examples
of similar length instead, yet their members and their order are random and change from epoch to epoch.

Both samplers are subclasses of ``DistributedSampler``, because Lightning replaces any other sampler with one that pads
the evaluation (103 examples over 2 processes would be scored as 104). They yield the positions of a whole batch at
once, for a ``DataLoader`` with ``batch_size=None``.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DistributedSampler

_POOL = 100  # batches whose examples are sorted together: less than 3 % padding, with other neighbours in each epoch


class ShuffledSampler(DistributedSampler[Any]):
    """Random batches, new in each epoch; the devices share the examples of each step.

    With several devices, examples from the start of the order are repeated at its end, so that all devices take the
    same number of steps. If its total size is the same, a step holds the same examples for any number of devices.

    Args:
        lengths: Tokens of each example, ``(examples,)``.
        batch_size: Examples per batch and device; the last batch of an epoch may be smaller.
        seed: Decides the order, together with the epoch (`set_epoch`).
        rank: This device's number.
        world: Number of devices.
        grouped: Put examples of similar length into a batch.
        tokens: Fill batches with up to this many tokens, padding included, in place of ``batch_size`` examples. Then
            each epoch is sorted by length as a whole, and all epochs have the same number of batches.
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
        self._start = (0, 0)  # epoch and batches done
        self._by_tokens = tokens is not None
        filled = lengths[torch.arange(self.total_size, device="cpu") % len(lengths)]
        self._sizes = _equal_parts(self.total_size, self._step)
        if tokens is not None:
            self._sizes = fill_batches(filled.sort(descending=True).values, tokens, world)

    def start_at(self, epoch: int, done: int) -> None:
        """Continue within an epoch: skip the first ``done`` batches of this device in that epoch."""
        self.epoch = epoch
        self._start = (epoch, done)

    def __len__(self) -> int:
        return len(self._sizes)

    def __iter__(self) -> Iterator[list[int]]:
        epoch, done = self._start
        return iter(self._batches()[done if epoch == self.epoch else 0 :])

    def _batches(self) -> list[list[int]]:
        # One number per (seed, epoch): with seed + epoch, epoch 1 of seed 0 would have the order of epoch 0 of seed 1.
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
        """Sort a random order by length within pools, then shuffle its batches; an incomplete batch stays last."""
        whole = len(order) // self._step * self._step
        pool = torch.arange(whole, device="cpu") // (self._step * _POOL)
        lengths = self._lengths[order[:whole]]
        by_length = (pool * (int(self._lengths.max()) + 1) + lengths).argsort(stable=True)
        steps = order[:whole][by_length].view(-1, self._step)
        steps = steps[torch.randperm(len(steps), generator=generator, device="cpu")]
        return torch.cat([steps.flatten(), order[whole:]])


class EvaluationSampler(DistributedSampler[Any]):
    """Each example exactly once over all devices, in batches of similar length.

    All devices get the same number of batches. A device without an example left yields a filler (``-1``, an example
    that is never scored, see `TokenDataset`): without a batch it would skip the collective calls in which the others
    wait. The batches have a fixed random order, so that the first ones are representative if a limit skips the rest.

    Args:
        lengths: Tokens of each example, ``(examples,)``.
        rank: This device's number.
        world: Number of devices.
        batch_size: Examples per batch and device; ``None`` to fill batches with up to ``tokens``.
        tokens: Most tokens per batch and device, padding included.
        equal_lengths: Put only examples of equal length into a batch, for a model whose logits depend on padding.
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
    """A device's part of each step: every ``world``-th example, or a filler if there is none."""
    return [step[rank::world].tolist() or [-1] for step in steps]


def _equal_parts(total: int, size: int) -> list[int]:
    whole, rest = divmod(total, size)
    return [size] * whole + [rest] * (rest > 0)


def fill_batches(lengths: Tensor, tokens: int, world: int = 1) -> list[int]:
    """Cut a sorted list of examples into steps whose batches hold at most ``tokens``, padding included.

    Args:
        lengths: Tokens of each example, longest first, ``(examples,)``.
        tokens: Limit for the batch of one device; a longer example has a batch of its own.
        world: Number of devices that share a step; the size of each step but the last is a multiple of it.

    Returns:
        Number of examples in each step.
    """
    sizes: list[int] = []
    done = 0
    while done < len(lengths):
        rows = max(1, tokens // max(1, int(lengths[done])))  # the first is the longest
        sizes.append(min(rows * world, len(lengths) - done))
        done += sizes[-1]
    return sizes
