"""Count the tokens that are lost because examples are longer than the model's input."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from glue_lit.data.rows import Rows

_BUDGET = 1 << 16  # characters that are tokenised once more; or one in a hundred, if the split is large
_START = 1 << 15  # characters of a long text; the rest is taken to have as many tokens for each


class CutTexts(NamedTuple):
    """Examples that are cut at the longest input.

    Attributes:
        rows: How many they are.
        tokens: Tokens cut off all of them.
        longest: Position of the one that loses most.
        length: Tokens of that one.
        is_exact: 1 if all were counted, 0 if the numbers are extrapolated from some.
    """

    rows: int
    tokens: int
    longest: int
    length: int
    is_exact: int


def count_cut(rows: Rows, tokenizer: Any, kept: Tensor, max_length: int) -> Tensor:
    """The values of `CutTexts` for rows that were tokenised, ``(5,)`` int64; empty if none is cut.

    Args:
        rows: The rows.
        tokenizer: Their tokenizer.
        kept: Tokens kept of each row, ``(rows,)``.
        max_length: The longest input, in tokens.
    """
    none = torch.empty(0, dtype=torch.int64, device="cpu")
    full = np.flatnonzero(kept.numpy() >= max_length).tolist()
    if not full:
        return none
    columns = [rows.texts_a] if rows.texts_b is None else [rows.texts_a, rows.texts_b]
    sizes = [len(column[row]) for column in columns for row in full]
    budget = max(_BUDGET, sum(len(text) for column in columns for text in column) // 100)
    picked = full[:: max(1, math.ceil(sum(min(size, _START) for size in sizes) / budget))]
    lengths = _count_tokens([[column[row] for row in picked] for column in columns], tokenizer)
    lost = [length - max_length for length in lengths]
    cut = sum(tokens > 0 for tokens in lost)
    if not cut:
        return none
    share, longest = len(full) / len(picked), lengths.index(max(lengths))
    is_exact = len(picked) == len(full) and max(sizes) <= _START
    counted = (round(cut * share), round(sum(lost) * share), picked[longest], lengths[longest], is_exact)
    return torch.tensor(counted, dtype=torch.int64, device="cpu")


def _count_tokens(columns: Sequence[Sequence[str]], tokenizer: Any) -> list[int]:
    """Tokens of each text or pair that is not cut, special tokens included."""
    starts = [[text[:_START] for text in column] for column in columns]
    found = tokenizer(*starts, truncation=False, return_attention_mask=False, verbose=False)["input_ids"]
    read, whole = ([sum(map(len, texts)) for texts in zip(*part, strict=True)] for part in (starts, columns))
    return [round(len(ids) * full / max(part, 1)) for ids, full, part in zip(found, whole, read, strict=True)]
