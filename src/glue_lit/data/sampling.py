"""Samplers, which decide batch by batch which process gets which examples.

The samplers earn their keep by saving padding: nearly half of a random batch of CoLA is padding. Batches hold examples
of similar length instead, yet their members and their order are random and change from epoch to epoch.

Both samplers are subclasses of ``DistributedSampler``, because Lightning replaces any other sampler with one that pads
the evaluation (103 examples over 2 processes would be scored as 104). They yield the positions of a whole batch at
once, for a ``DataLoader`` with ``batch_size=None``.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DistributedSampler

from glue_lit.data.large_arrays import parts_of, scratch_array
from glue_lit.data.length_order import count_lengths, sort_longest_first, taken
from glue_lit.data.mixed_batches import deal, steps_of_mixed

_POOL = 100  # batches whose examples are sorted together: less than 3 % padding, with other neighbours in each epoch

_SORTED = 1 << 18  # examples at once


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
        is_packed: Whether batches have no padding. With ``tokens`` and not ``grouped``, each then has texts of all
            lengths (`deal`).
        folder: Folder for temporary files, which hold the order of very many examples.
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
        is_packed: bool = False,
        folder: Path | None = None,
    ) -> None:
        super().__init__(range(len(lengths)), num_replicas=world, rank=rank, seed=seed)  # type: ignore[arg-type]
        self._lengths: NDArray[np.int32] = lengths.int().numpy()
        self._step = batch_size * world
        self._grouped, self._folder = grouped, folder
        self._done: dict[int, int] = {}  # batches by epoch
        self._is_mixed = tokens is not None and is_packed and not grouped
        self._sizes: list[int] | None = None  # of the steps, if they are filled with tokens
        if tokens is not None:
            filled = self._longest_first()
            mixed = [0] * steps_of_mixed(filled, tokens, world) if self._is_mixed else None  # sizes change each epoch
            self._sizes = fill_batches(filled, tokens, world) if mixed is None else mixed

    def start_at(self, epoch: int, done: int) -> None:
        """Continue within an epoch: skip the first ``done`` batches of this device in that epoch."""
        self.epoch = epoch
        self._done = {epoch: done}

    def __len__(self) -> int:
        return -(-self.total_size // self._step) if self._sizes is None else len(self._sizes)

    def __iter__(self) -> Iterator[list[int]]:
        order, steps = self._steps()
        return _share(order, steps[self._done.get(self.epoch, 0) :], self.rank, self.num_replicas)

    def batch_shapes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Longest example, in tokens, and number of examples of each step of this epoch, over all devices."""
        order, steps = self._steps()
        steps = steps[steps[:, 0].argsort()]
        longest = np.maximum.reduceat(taken(self._lengths, order.numpy(), self._folder), steps[:, 0])
        return longest.astype(np.int64), steps[:, 1] - steps[:, 0]

    def _longest_first(self) -> Tensor:
        """The lengths of all examples of an epoch, ``(examples,)`` int32."""
        lengths, known = scratch_array(self.total_size, "int32", self._folder), len(self._lengths)
        lengths[:known] = self._lengths
        # in mixed batches, any examples may be repeated
        lengths[known:] = self._lengths.max() if self._is_mixed else self._lengths[_repeats(known, self.total_size)]
        return torch.from_numpy(taken(lengths, sort_longest_first(lengths, self._folder), self._folder))

    def _steps(self) -> tuple[Tensor, "_Steps"]:
        """The order of the examples, and the steps into which it is cut."""
        # One number per (seed, epoch): with seed + epoch, epoch 1 of seed 0 would have the order of epoch 0 of seed 1.
        generator = torch.Generator("cpu").manual_seed(self.seed * 1_000_003 + self.epoch)
        order, size = scratch_array(self.total_size, "int32", self._folder), len(self._lengths)
        torch.randperm(size, generator=generator, out=torch.from_numpy(order[:size]), device="cpu")
        order[size:] = order[_repeats(size, self.total_size)]
        if self._sizes is None:
            steps = self._equal_steps()
            return torch.from_numpy(order), self._group(order, steps, generator) if self._grouped else steps
        order = sort_longest_first(self._lengths, self._folder, order)
        if self._is_mixed:
            dealt, sizes = deal(torch.from_numpy(order), len(self._sizes), self.num_replicas, generator)
            return dealt, _bounds(sizes)
        return torch.from_numpy(order), _shuffled(_bounds(self._sizes), generator, self._folder)

    def _equal_steps(self) -> "_Steps":
        steps: _Steps = scratch_array(2 * len(self), "int64", self._folder).reshape(-1, 2)
        for part in parts_of(len(self)):
            steps[part, 0] = np.arange(part.start, part.stop) * self._step
        np.minimum(steps[:, 0] + self._step, self.total_size, out=steps[:, 1])
        return steps

    def _group(self, order: NDArray[np.int32], steps: "_Steps", generator: torch.Generator) -> "_Steps":
        """Sort a random order by length within pools, and shuffle its steps; an incomplete one stays last."""
        whole = len(order) // self._step
        size = self._step * _POOL
        most = max(1, _SORTED // size) * size  # pool by pool takes longer
        for part in parts_of(whole * self._step, most):
            some = order[part]
            pools = some[: len(some) // size * size].reshape(-1, size)
            for rows in (pools, some[pools.size :][None]):
                lengths = self._lengths[rows]
                lengths = lengths.astype(np.min_scalar_type(int(lengths.max(initial=0))))  # small numbers sort faster
                rows[:] = np.take_along_axis(rows, lengths.argsort(axis=1, kind="stable"), axis=1)
        steps[:whole] = _shuffled(steps[:whole], generator, self._folder)
        return steps


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
        folder: Folder for temporary files, which hold the order of very many examples.
    """

    def __init__(
        self,
        lengths: Tensor,
        rank: int = 0,
        world: int = 1,
        batch_size: int | None = None,
        tokens: int = 8192,
        equal_lengths: bool = False,
        folder: Path | None = None,
    ) -> None:
        super().__init__(range(len(lengths)), num_replicas=world, rank=rank)  # type: ignore[arg-type]
        known = lengths.numpy()
        order = sort_longest_first(known, folder)
        self._order, filled = torch.from_numpy(order), torch.from_numpy(taken(known, order, folder))
        parts = [filled]
        if equal_lengths:
            counts = count_lengths(known)
            parts = list(torch.split(filled, counts[counts > 0][::-1].tolist()))
        sizes: list[int] = []
        for part in parts:
            sizes += (
                fill_batches(part, tokens, world) if batch_size is None else _equal_parts(len(part), batch_size * world)
            )
        self._steps = _shuffled(_bounds(sizes), torch.Generator("cpu").manual_seed(0), folder)

    def __iter__(self) -> Iterator[list[int]]:
        return _share(self._order, self._steps, self.rank, self.num_replicas)

    def __len__(self) -> int:
        return len(self._steps)


_Steps = NDArray[np.int64]  # the first position of each step in the order, and the end of the step: (steps, 2)


def _bounds(sizes: list[int]) -> _Steps:
    """Steps of some sizes, one after the other."""
    ends = np.cumsum(sizes, dtype=np.int64)
    return np.stack([ends - sizes, ends], axis=1)


def _shuffled(steps: _Steps, generator: torch.Generator, folder: Path | None) -> _Steps:
    order = scratch_array(len(steps), "int64", folder)
    torch.randperm(len(steps), generator=generator, out=torch.from_numpy(order), device="cpu")
    return taken(steps, order, folder)


def _share(order: Tensor, steps: _Steps, rank: int, world: int) -> Iterator[list[int]]:
    """A device's part of each step: every ``world``-th example, or a filler if there is none."""
    for start, end in steps:
        yield order[start + rank : end : world].tolist() or [-1]


def _repeats(known: int, total: int) -> NDArray[np.int64]:
    """Positions of the first items, which are repeated at the end so that there are ``total``."""
    return np.arange(known, total) % known


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


def rank_and_world(trainer: Any) -> tuple[int, int]:
    """This process's number and the number of processes; without a trainer (``None``) there is one."""
    return (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)
