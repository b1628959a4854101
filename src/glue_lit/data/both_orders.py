"""Pairs of texts in both orders, where neither comes first: twice the examples for nothing."""

from dataclasses import replace

import torch

from glue_lit.data.rows import Rows, Split
from glue_lit.data.tokens import TokenStore


def swap_texts(split: Split) -> Split:
    """The same pairs, the second text first; tokenised and cached as a split of its own."""

    def read() -> Rows:
        rows = split.read()
        assert rows.texts_b is not None
        return replace(rows, texts_a=rows.texts_b, texts_b=rows.texts_a)

    return replace(split, fingerprint=f"{split.fingerprint}, texts swap_texts", read=read)


def join_stores(first: TokenStore, second: TokenStore) -> TokenStore:
    """The examples of one store, then those of the other."""
    types = (
        torch.cat([first.token_type_ids, second.token_type_ids])
        if first.token_type_ids is not None and second.token_type_ids is not None
        else None
    )
    return TokenStore(
        torch.cat([first.input_ids, second.input_ids]),
        torch.cat([first.offsets, first.offsets[-1] + second.offsets[1:]]),
        torch.cat([first.labels, second.labels]),
        types,
        torch.cat([first.numbers, second.numbers])
        if first.numbers is not None and second.numbers is not None
        else None,
        first.digest,
    )
