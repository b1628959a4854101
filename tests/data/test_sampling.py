"""Who sees which example: all exactly once in evaluation, the same order on any number of devices in training."""

import pytest
from torch.utils.data import DistributedSampler

from glue_lit.data.sampling import EvaluationSampler, ShuffledSampler

SIZES = [*range(1, 11), 103]
WORLDS = range(1, 5)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("examples", SIZES)
def test_evaluation_covers_every_row_once(examples: int, world: int) -> None:
    shares = [list(EvaluationSampler(examples, rank, world)) for rank in range(world)]
    seen = [row for share in shares for row in share if row >= 0]
    assert sorted(seen) == list(range(examples))
    for rank, share in enumerate(shares):
        # A filler only where there is nothing else, and exactly one: every device must make a step.
        assert share == (list(range(rank, examples, world)) if rank < examples else [-1])
        assert len(EvaluationSampler(examples, rank, world)) == len(share) >= 1
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_evaluation_is_the_same_in_every_epoch() -> None:
    sampler = EvaluationSampler(7, 0, 2)
    first = list(sampler)
    sampler.set_epoch(5)
    assert list(sampler) == first


def order(examples: int, seed: int = 0, epoch: int = 0, rank: int = 0, world: int = 1) -> list[int]:
    sampler = ShuffledSampler(examples, seed, rank, world)
    sampler.set_epoch(epoch)
    rows = list(sampler)
    assert len(sampler) == len(rows)
    return rows


@pytest.mark.parametrize("examples", SIZES)
def test_training_sees_a_permutation(examples: int) -> None:
    assert sorted(order(examples)) == list(range(examples))


def test_training_order_is_shuffled_and_reproducible() -> None:
    assert order(1000) != list(range(1000))
    assert order(1000, seed=3, epoch=2) == order(1000, seed=3, epoch=2)


def test_every_epoch_and_every_seed_has_its_own_order() -> None:
    # Also along the diagonals: with seed + epoch, seed 1 would begin with seed 0's second epoch.
    orders = {tuple(order(100, seed, epoch)) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("examples", SIZES)
def test_devices_share_the_order_of_one(examples: int, world: int) -> None:
    shares = [order(examples, 7, 3, rank, world) for rank in range(world)]
    assert len({len(share) for share in shares}) == 1  # a device with one step less would leave the others waiting
    dealt = [row for step in zip(*shares, strict=True) for row in step]
    single = order(examples, 7, 3)
    assert dealt[:examples] == single
    filling = dealt[examples:]
    assert len(filling) < world
    assert filling == [single[position % examples] for position in range(len(filling))]


def test_lightning_leaves_them_alone() -> None:
    # It replaces any sampler that is no DistributedSampler, by one that scores rows twice.
    assert isinstance(EvaluationSampler(3), DistributedSampler)
    assert isinstance(ShuffledSampler(3, 0), DistributedSampler)
