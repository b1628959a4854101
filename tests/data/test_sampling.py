"""Samplers: each example once in evaluation, and the same training steps for any number of devices."""

import hashlib
import json
import tracemalloc
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from glue_lit.data import large_arrays, sampling
from glue_lit.data.sampling import EvaluationSampler, ShuffledSampler, fill_batches

SIZES = [*range(1, 11), 103]
WORLDS = range(1, 5)


def lengths(examples: int, seed: int = 0) -> Tensor:
    """Lengths as in CoLA: most are short, a few are long."""
    generator = torch.Generator().manual_seed(seed)
    return (5 + 6 * torch.randn(examples, generator=generator).exp()).long().clamp(max=60)


def padding(batches: list[list[int]], of: Tensor) -> float:
    """Share of padding in batches that are padded to their longest example."""
    padded = sum(int(of[batch].max()) * len(batch) for batch in batches)
    return 1 - sum(int(of[batch].sum()) for batch in batches) / padded


# ---------------------------------------------------------------- evaluation


@pytest.mark.parametrize("size", [None, 1, 4])
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("examples", SIZES)
def test_evaluation_covers_every_row_once(examples: int, world: int, size: int | None) -> None:
    samplers = [EvaluationSampler(lengths(examples), rank, world, size, tokens=100) for rank in range(world)]
    shares = [list(sampler) for sampler in samplers]
    seen = [row for share in shares for batch in share for row in batch if row >= 0]
    assert sorted(seen) == list(range(examples))
    # All devices take the same number of steps; a filler is alone in its batch, and only used if no example is left.
    assert {len(share) for share in shares} == {len(sampler) for sampler in samplers} == {len(shares[0])}
    assert all(batch == [-1] or min(batch) >= 0 for share in shares for batch in share)
    assert sum(batch == [-1] for share in shares for batch in share) < world
    assert all(len(batch) <= (size or examples) for share in shares for batch in share)


@pytest.mark.parametrize("size", [None, 1, 4])
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("examples", SIZES)
def test_evaluation_in_batches_of_equal_lengths(examples: int, world: int, size: int | None) -> None:
    of = lengths(examples)
    samplers = [EvaluationSampler(of, rank, world, size, tokens=100, equal_lengths=True) for rank in range(world)]
    shares = [list(sampler) for sampler in samplers]
    seen = [row for share in shares for batch in share for row in batch if row >= 0]
    assert sorted(seen) == list(range(examples))
    assert {len(share) for share in shares} == {len(samplers[0])}
    for batch in (batch for share in shares for batch in share):
        assert batch == [-1] or len(of[batch].unique()) == 1
        assert len(batch) <= (size or max(1, 100 // int(of[batch[0]])))


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize(("grouped", "tokens"), [(True, None), (False, None), (True, 100), (False, 100)])
def test_shapes_of_batches_are_those_that_the_devices_get(grouped: bool, tokens: int | None, world: int) -> None:
    of = lengths(70)
    samplers = [ShuffledSampler(of, 4, 3, rank, world, grouped, tokens, is_packed=True) for rank in range(world)]
    for epoch in range(2):
        for sampler in samplers:
            sampler.set_epoch(epoch)
        steps = [[*chain(*parts)] for parts in zip(*samplers, strict=True)]
        longest, rows = samplers[0].batch_shapes()
        assert sorted(zip(longest.tolist(), rows.tolist(), strict=True)) == sorted(
            (int(of[step].max()), len(step)) for step in steps
        )


def test_evaluation_is_the_same_in_every_epoch() -> None:
    sampler = EvaluationSampler(lengths(70), 0, 2)
    first = list(sampler)
    sampler.set_epoch(5)
    assert list(sampler) == first


@pytest.mark.parametrize("world", [1, 3])
def test_evaluation_batches_are_filled_with_tokens(world: int) -> None:
    of = lengths(10_000)
    batches = [batch for rank in range(world) for batch in EvaluationSampler(of, rank, world, tokens=300)]
    sizes = [int(of[batch].max()) * len(batch) for batch in batches]
    assert max(sizes) <= 300
    assert (
        sum(size < 200 for size in sizes) <= 2 * world
    )  # the batch of the longest examples, and the last one of each device
    assert padding(batches, of) < 0.02


def test_the_first_evaluation_batches_represent_all() -> None:
    # `--trainer.limit_val_batches 0.1` on sorted batches would score the longest rows alone.
    of = lengths(2000)
    batches = list(EvaluationSampler(of, batch_size=10))
    first = torch.cat([of[batch] for batch in batches[:40]]).double().mean()
    assert abs(first - of.double().mean()) < 2


@pytest.mark.parametrize("tokens", [1, 7, 60, 10_000])
def test_filling_packs_batches_up_to_a_number_of_tokens(tokens: int) -> None:
    of = lengths(50).sort(descending=True).values
    sizes = fill_batches(of, tokens)
    assert sum(sizes) == 50
    steps = torch.split(of, sizes)
    assert all(len(step) == 1 or int(step[0]) * len(step) <= tokens for step in steps)
    # no batch has room for the next example
    assert all(int(step[0]) * (len(step) + 1) > tokens for step in steps[:-1])


# ---------------------------------------------------------------- training


def order(
    examples: int, seed: int = 0, epoch: int = 0, rank: int = 0, world: int = 1, size: int = 4, **options: object
) -> list[list[int]]:
    sampler = ShuffledSampler(lengths(examples), size, seed, rank, world, **options)  # type: ignore[arg-type]
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert len(sampler) == len(batches)
    return batches


def flat(batches: list[list[int]]) -> list[int]:
    return [row for batch in batches for row in batch]


MIXED: dict[str, Any] = {"tokens": 90, "grouped": False, "is_packed": True}
KINDS = [{}, {"grouped": False}, {"tokens": 90}, MIXED]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("examples", SIZES)
def test_training_sees_a_permutation(examples: int, kind: dict[str, object]) -> None:
    batches = order(examples, **kind)  # type: ignore[arg-type]
    assert sorted(flat(batches)) == list(range(examples))
    if "tokens" not in kind:
        assert [len(batch) for batch in batches[:-1]] == [4] * (len(batches) - 1)


@pytest.mark.parametrize("kind", KINDS)
def test_training_order_is_shuffled_and_reproducible(kind: dict[str, object]) -> None:
    first = order(1000, **kind)  # type: ignore[arg-type]
    assert flat(first) != list(range(1000))
    assert order(1000, seed=3, epoch=2, **kind) == order(1000, seed=3, epoch=2, **kind)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_every_epoch_and_every_seed_has_its_own_batches(kind: dict[str, object]) -> None:
    # Also if seed + epoch is the same: epoch 0 of seed 1 is not epoch 1 of seed 0.
    seen = {
        frozenset(map(frozenset, order(100, seed, epoch, **kind)))  # type: ignore[arg-type]
        for seed in range(5)
        for epoch in range(5)
    }
    assert len(seen) == 25


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("examples", SIZES)
def test_devices_share_the_steps_of_one(examples: int, world: int, kind: dict[str, object]) -> None:
    shares = [order(examples, 7, 3, rank, world, **kind) for rank in range(world)]  # type: ignore[arg-type]
    assert len({len(share) for share in shares}) == 1  # the others would wait for a device with one step less
    sizes = [{len(batch) for batch in step} for step in zip(*shares, strict=True)]
    assert all(len(step) == 1 for step in sizes)
    dealt = [row for share in shares for row in flat(share)]
    assert set(dealt) == set(range(examples))
    assert len(dealt) - examples == -examples % world  # as few as make the steps equal


@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize("world", [2, 3, 4])
def test_a_step_is_the_same_on_any_number_of_devices(world: int, kind: dict[str, object]) -> None:
    single = order(240, 7, 3, size=12, **kind)  # type: ignore[arg-type]
    shares = [order(240, 7, 3, rank, world, size=12 // world, **kind) for rank in range(world)]  # type: ignore[arg-type]
    together = [sorted(flat(list(step))) for step in zip(*shares, strict=True)]
    assert together == [sorted(batch) for batch in single]


@pytest.mark.parametrize("world", [1, 2])
def test_grouping_by_length_saves_padding(world: int) -> None:
    of = lengths(8000)
    for size, most in ((16, 0.035), (32, 0.035)):
        grouped = [b for rank in range(world) for b in order(8000, rank=rank, world=world, size=size)]
        random = [b for rank in range(world) for b in order(8000, rank=rank, world=world, size=size, grouped=False)]
        assert padding(grouped, of) < most
        assert padding(random, of) > 0.4


def test_batches_of_one_epoch_come_in_random_order_of_length() -> None:
    of = lengths(8000)
    means = torch.tensor([of[batch].double().mean() for batch in order(8000, size=16)])
    place = torch.arange(len(means), dtype=torch.float64)
    assert abs(torch.corrcoef(torch.stack([means, place]))[0, 1]) < 0.15


@pytest.mark.parametrize("world", [1, 3])
@pytest.mark.parametrize("limit", [40, 100, 1000])
def test_mixed_batches_hold_texts_of_all_lengths_up_to_a_number_of_tokens(limit: int, world: int) -> None:
    """Also with texts that are longer than the limit, which then is their length."""
    of = lengths(1000)
    most, steps = max(limit, int(of.max())), set()
    for epoch in range(3):
        kind = MIXED | {"tokens": limit}
        batches = [batch for rank in range(world) for batch in order(1000, 0, epoch, rank, world, **kind)]
        assert max(int(of[batch].sum()) for batch in batches) <= most
        steps.add(len(batches))
        assert max(len(batch) for batch in batches) - min(len(batch) for batch in batches) <= 1
    assert len(steps) == 1
    if limit == 1000:  # batches of 80 texts are full, and each is like all
        assert steps.pop() <= 1.07 * int(of.sum()) / limit + world
        assert max(abs(float(of[batch].float().mean() - of.float().mean())) for batch in batches) < 1


def test_token_batches_are_full_and_equally_many_in_every_epoch() -> None:
    of = lengths(3000)
    counts = set()
    for epoch in range(4):
        batches = order(3000, epoch=epoch, tokens=256)
        sizes = [int(of[batch].max()) * len(batch) for batch in batches]
        assert max(sizes) <= 256
        assert padding(batches, of) < 0.03
        counts.add(len(batches))
    assert len(counts) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rank", [0, 1])
def test_training_can_start_in_the_middle_of_an_epoch(rank: int, kind: dict[str, object]) -> None:
    sampler = ShuffledSampler(lengths(103), 4, 1, rank, 2, **kind)  # type: ignore[arg-type]
    sampler.set_epoch(2)
    whole = list(sampler)
    sampler.start_at(2, 5)
    assert list(sampler) == whole[5:]
    assert len(sampler) == len(whole)  # of the whole epoch, which Lightning counts
    sampler.set_epoch(3)
    assert len(list(sampler)) == len(whole)  # the next epoch is complete


def test_the_order_of_a_seed_never_changes() -> None:
    # A change of this code must not change trainings with the same seed.
    sampler = ShuffledSampler(torch.arange(3, 13), 4, 1)
    assert list(sampler) == [[6, 7, 8, 9], [1, 3, 4, 5], [2, 0]]
    sampler.set_epoch(1)
    assert list(sampler) == [[5, 7, 8, 9], [1, 2, 3, 4], [6, 0]]
    # Nor may it change which batches an evaluation scores that is limited to the first few.
    limited = list(EvaluationSampler(torch.arange(3, 13), batch_size=2))[:3]
    assert limited == [[1, 0], [9, 8], [7, 6]]


def test_one_device_is_the_default() -> None:
    of = lengths(70)
    assert list(ShuffledSampler(of, 8, 0)) == list(ShuffledSampler(of, 8, 0, 0, 1, grouped=True, tokens=None))
    assert list(EvaluationSampler(of)) == list(EvaluationSampler(of, 0, 1, None, 8192))
    assert sorted(map(len, EvaluationSampler(torch.ones(8193, dtype=torch.int64)))) == [1, 8192]


def test_examples_are_grouped_within_pools_of_a_hundred_batches() -> None:
    lengths = torch.arange(1000) % 37
    grouped = [row for step in ShuffledSampler(lengths, 4, seed=5, grouped=True) for row in step]
    order = [row for step in ShuffledSampler(lengths, 4, seed=5, grouped=False) for row in step]
    steps = [tuple(grouped[start : start + 4]) for start in range(0, 1000, 4)]
    expected = []
    for start in range(0, 1000, 400):  # 100 batches of 4, in the order without grouping
        pool = sorted(order[start : start + 400], key=lambda row: int(lengths[row]))
        expected += [tuple(pool[place : place + 4]) for place in range(0, len(pool), 4)]
    assert sorted(steps) == sorted(expected)
    assert steps != expected


@pytest.mark.parametrize("together", [1, 5_000, 1 << 18])
def test_the_order_does_not_depend_on_how_many_pools_are_sorted_together(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is that of a stable sort of each pool of a hundred batches, and of the examples left over."""
    examples, size = 10_037, 16
    of = lengths(examples)
    generator = torch.Generator().manual_seed(7 * 1_000_003)
    expected = torch.randperm(examples, generator=generator)
    whole = examples // size * size
    for pool in torch.split(expected[:whole], 100 * size):
        pool.copy_(pool[of[pool].argsort(stable=True)])
    steps = expected[:whole].view(-1, size)
    expected[:whole] = steps[torch.randperm(len(steps), generator=generator)].flatten()
    monkeypatch.setattr(sampling, "_SORTED", together)
    assert flat(list(ShuffledSampler(of, size, seed=7))) == expected.tolist()


def digest(batches: Any) -> str:
    return hashlib.sha256(json.dumps(batches).encode()).hexdigest()[:16]


# recorded when the order was still made in memory, by torch's own sorts
@pytest.mark.parametrize(
    ("kind", "recorded"),
    [
        ({}, "40eca9011eb4d2e7"),
        ({"grouped": False}, "1cc60e02038b3579"),
        ({"tokens": 300}, "d8e3c77e0fed18bf"),
        (MIXED | {"tokens": 300}, "2894d8f557bea480"),
    ],
)
@pytest.mark.parametrize("held", [16, large_arrays._HELD])
def test_the_order_of_training_is_that_of_earlier_versions_in_memory_and_in_files(
    kind: dict[str, Any], recorded: str, held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_arrays, "_HELD", held)
    of = (torch.arange(10_037) * 7919) % 53 + 4
    found = []
    for rank, world, epoch in [(0, 1, 0), (0, 1, 2), *((rank, 3, epoch) for epoch in (0, 2) for rank in range(3))]:
        sampler = ShuffledSampler(of, 16, 7, rank, world, **kind, folder=tmp_path)
        sampler.set_epoch(epoch)
        found.append(list(sampler))
    assert digest(found) == recorded
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("kind", "recorded"),
    [
        ({"tokens": 300}, "4b60e9ac8a448369"),
        ({"batch_size": 8}, "6e527e890c9b32bb"),
        ({"batch_size": 8, "equal_lengths": True}, "488e6a69c8b0add3"),
        ({"tokens": 300, "equal_lengths": True}, "b214ec726c410b7d"),
    ],
)
def test_the_order_of_evaluation_is_that_of_earlier_versions(kind: dict[str, Any], recorded: str) -> None:
    of = (torch.arange(10_037) * 7919) % 53 + 4
    assert digest([list(EvaluationSampler(of, rank, 3, **kind)) for rank in range(3)]) == recorded


@pytest.mark.parametrize("kind", [{}, {"tokens": 2048}])
def test_memory_for_the_order_does_not_grow_with_the_examples(
    kind: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_arrays, "_HELD", 1 << 16)

    def peak(examples: int) -> int:
        of = torch.from_numpy(np.resize(np.arange(4, 20, dtype=np.int32), examples))
        tracemalloc.start()
        for sampler in (ShuffledSampler(of, 16, 1, **kind, folder=tmp_path), EvaluationSampler(of, folder=tmp_path)):
            assert len(next(iter(sampler))) > 0
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(3_000_000) - peak(1_000_000) < 1_000_000  # half a byte for each example more
