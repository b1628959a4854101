"""Pairs of texts in both orders, for tasks in which the order means nothing: twice the examples for training."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from glue_lit.data.large_arrays import scratch_array
from glue_lit.data.rows import Rows, Split
from glue_lit.data.tokens import TokenStore


def swap_texts(split: Split) -> Split:
    """The same pairs with the second text first, which are tokenised and cached as a split of their own."""

    def swapped(rows: Rows) -> Rows:
        assert rows.texts_b is not None
        return replace(rows, texts_a=rows.texts_b, texts_b=rows.texts_a)

    return replace(
        split,
        fingerprint=f"{split.fingerprint}, texts swapped",
        read=lambda: swapped(split.read()),
        read_parts=lambda: map(swapped, split.parts()),
        held_out=(),
    )


def join_tensors(first: Tensor, second: Tensor, shift: int = 0, folder: Path | None = None) -> Tensor:
    """The numbers of one tensor, then those of the other with ``shift`` added; very many are in a temporary file."""
    dtype, size = str(first.dtype).removeprefix("torch."), len(first)
    found = torch.from_numpy(scratch_array(size + len(second), dtype, folder))
    found[:size], found[size:] = first, second
    found[size:] += shift
    return found


def join_stores(first: TokenStore, second: TokenStore, folder: Path | None = None) -> TokenStore:
    """The examples of one store, then those of the other; very many are in temporary files of a folder."""
    both = partial(join_tensors, folder=folder)

    def join(one: Tensor | None, other: Tensor | None) -> Tensor | None:
        return None if one is None or other is None else both(one, other)

    offsets = None
    if first.label_offsets is not None and second.label_offsets is not None:
        offsets = both(first.label_offsets, second.label_offsets[1:], int(first.label_offsets[-1]))
    return replace(
        first,
        label_indices=join(first.label_indices, second.label_indices),
        label_offsets=offsets,
        input_ids=both(first.input_ids, second.input_ids),
        offsets=both(first.offsets, second.offsets[1:], int(first.offsets[-1])),
        labels=both(first.labels, second.labels),
        token_type_ids=join(first.token_type_ids, second.token_type_ids),
        numbers=join(first.numbers, second.numbers),
        used=None if (used := join(first.used, second.used)) is None else torch.unique(used),
    )
