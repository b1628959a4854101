"""The lengths to which batches are padded are the best of all choices, and every batch has one of them."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from glue_lit import GLUEDataModule
from glue_lit.data.length_buckets import choose_lengths
from glue_lit.errors import UsageError


def padded(chosen: list[int], longest: np.ndarray, rows: np.ndarray) -> int:
    """Tokens of batches that are padded to the next of the chosen lengths."""
    return sum(min(one for one in chosen if one >= length) * count for length, count in zip(longest, rows, strict=True))


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_no_other_lengths_pad_less(most: int) -> None:
    random = np.random.default_rng(most)
    for _ in range(40):
        size = random.integers(1, 12)
        longest, rows = random.integers(1, 15, size), random.integers(1, 5, size)
        limit = int(longest.max()) + int(random.integers(0, 3))
        found = choose_lengths(longest, rows, most, limit)
        others = sorted(set(longest.tolist()))
        fewest = min(
            padded([*some, limit], longest, rows) for count in range(most) for some in combinations(others, count)
        )
        assert padded(found, longest, rows) == fewest
        assert len(found) <= most
        assert found == sorted({*found, limit})


@pytest.mark.parametrize("grouped", [True, False])
def test_every_batch_of_every_epoch_has_one_of_the_lengths(tiny_model: Path, grouped: bool) -> None:
    """Also the last, smaller one; its rows are those of a batch that is padded to its longest text."""
    settings = {"source": "demo", "batch_size": 8, "train_limit": 150, "group_by_length": grouped}
    data = GLUEDataModule("cola", str(tiny_model), **settings, length_buckets=3)  # type: ignore[arg-type]
    plain = GLUEDataModule("cola", str(tiny_model), **settings)  # type: ignore[arg-type]
    chosen = data.training_set(None).batch_lengths
    assert chosen is not None
    assert len(chosen) == 3
    shapes = set()
    sampler = data.training_sampler(None)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        for indices in sampler:
            batch, shorter = data.training_set(None)[indices], plain.training_set(None)[indices]
            shapes.add(tuple(batch["input_ids"].shape))
            length = shorter["input_ids"].shape[1]
            assert torch.equal(batch["input_ids"][:, :length], shorter["input_ids"])
            assert not batch["attention_mask"][:, length:].any()
    assert {length for _, length in shapes} <= set(chosen)
    assert {rows for rows, _ in shapes} == {8, 150 % 8}


def test_the_lengths_are_the_same_on_every_device(tiny_model: Path) -> None:
    chosen = []
    for rank in range(2):
        data = GLUEDataModule("cola", str(tiny_model), source="demo", train_limit=100, length_buckets=4)
        trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
        trainer.strategy._world_size = 2  # type: ignore[attr-defined]
        trainer.strategy.__class__ = type("Of2", (type(trainer.strategy),), {"global_rank": rank, "world_size": 2})
        chosen.append(data.training_set(trainer).batch_lengths)
    assert chosen[0] == chosen[1]


def test_multiples_are_kept(tiny_model: Path) -> None:
    data = GLUEDataModule(
        "cola", str(tiny_model), source="demo", train_limit=100, length_buckets=4, pad_to_multiple_of=8
    )
    chosen = data.training_set(None).batch_lengths or []
    assert all(length % 8 == 0 or length == data.max_length for length in chosen)
    with pytest.raises(UsageError, match=r"^data\.length_buckets: got 4, and data\.padding_free true, with which"):
        GLUEDataModule("cola", str(tiny_model), source="demo", length_buckets=4, padding_free=True)
    with pytest.raises(UsageError, match=r"^data\.length_buckets: got 0, allowed: 1 to"):
        GLUEDataModule("cola", str(tiny_model), source="demo", length_buckets=0)
