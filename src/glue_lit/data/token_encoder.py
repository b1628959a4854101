"""The call of a tokenizer that turns rows into lists of token ids."""

from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from typing import Any

from glue_lit.data.head_tail import HeadTail, Truncation
from glue_lit.data.long_texts import TextStarts
from glue_lit.data.rows import Rows

_COMPARED = 100  # rows on which the fast way is compared with the tokenizer's own call
_CHARACTERS = 1 << 20  # of those rows together: until it truncates, a tokenizer holds 150 bytes for each
_Lists = list[list[int]]
Encode = Callable[[Rows, slice], tuple[_Lists, _Lists | None]]  # turns some of the rows into ids and token types


def encoder_of(sample: Rows, tokenizer: Any, max_length: int, truncation: Truncation) -> Encode:
    """The fastest function that tokenises rows such as the sample, and cuts them as ``data.truncation`` says."""
    encode = fastest_encoder(sample, tokenizer, max_length)
    if truncation == "head":
        return encode
    cut = HeadTail(tokenizer, max_length)

    def both_ends(rows: Rows, part: slice) -> tuple[_Lists, _Lists | None]:
        ids, types = encode(rows, part)
        full = [at for at, kept in enumerate(ids) if len(kept) >= max_length]  # the others are whole
        if full:
            texts = rows.texts_at([range(len(rows))[part][at] for at in full])
            new_ids, new_types = cut([list(column) for column in zip(*texts, strict=True)])
            for number, at in enumerate(full):
                ids[at] = new_ids[number]
                if types is not None and new_types is not None:
                    types[at] = new_types[number]
        return ids, types

    return both_ends


def fastest_encoder(sample: Rows, tokenizer: Any, max_length: int) -> Encode:
    """The fastest function that tokenises rows such as the sample as the tokenizer's own call does.

    The tokenizer's call turns everything that the Rust tokenizer returns into Python objects, offsets and masks too.
    Calling the Rust tokenizer directly takes half the time; it is done if the first rows get the same tokens.
    """
    starts = TextStarts(tokenizer, max_length)

    def texts(rows: Rows, part: slice) -> list[list[str]]:
        columns = [rows.texts_a] if rows.texts_b is None else [rows.texts_a, rows.texts_b]
        return [starts.cut(column[part]) for column in columns]

    def call(columns: list[list[str]]) -> tuple[_Lists, _Lists | None]:
        encoded = tokenizer(*columns, truncation=True, max_length=max_length, return_attention_mask=False)
        return encoded["input_ids"], encoded.get("token_type_ids")

    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    has_types = "token_type_ids" in tokenizer.model_input_names

    def direct(columns: list[list[str]]) -> tuple[_Lists, _Lists | None]:
        inputs = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
        encodings = backend.encode_batch_fast(inputs)
        return [e.ids for e in encodings], [e.type_ids for e in encodings] if has_types else None

    if not hasattr(backend, "encode_batch_fast"):
        return lambda rows, part: call(texts(rows, part))
    compared = _first_rows(texts(sample, slice(_COMPARED)))
    expected = call(compared)  # also sets the truncation that `direct` needs
    encode = direct if direct(compared) == expected else call
    return lambda rows, part: encode(texts(rows, part))


def _first_rows(columns: list[list[str]]) -> list[list[str]]:
    """The first rows of some columns, with at most `_CHARACTERS` in all; the first one however long it is."""
    sizes = [*accumulate(sum(map(len, row)) for row in zip(*columns, strict=True))]
    count = max(1, bisect_right(sizes, _CHARACTERS))
    return [column[:count] for column in columns]
