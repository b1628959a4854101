"""Truncation that keeps the start and the end of a long text.

Sun et al. 2019, "How to Fine-Tune BERT for Text Classification?", section 5.3.1 (https://arxiv.org/abs/1905.05583): of
510 tokens the first 128 and the last 382. Their share, 128 of 510, is used for any length.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from glue_lit.data.long_texts import TextEnds
from glue_lit.errors import ModelError

Truncation = Literal["head", "head_tail"]
_HEAD, _ROOM = 128, 510  # of Sun et al.
_SAMPLE = ("one two", "three")
_Lists = list[list[int]]


def truncation_in(settings: Mapping[str, Any]) -> Truncation:
    """``data.truncation`` in the settings of a data module; those of older versions have none."""
    return "head_tail" if settings.get("truncation") == "head_tail" else "head"


def head_of(room: int) -> int:
    """How many of the ``room`` tokens that are kept of a text come from its start; the others come from its end."""
    return max(1, round(room * _HEAD / _ROOM))


def kept_of_pair(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of a pair's texts are kept: the longer one is cut first, then both alike.

    It is the ``longest_first`` of transformers' fast tokenizers.

    Args:
        first: Tokens of the first text.
        second: Tokens of the second text.
        room: Tokens for both, fewer than they have.
    """
    half, odd = room // 2, room % 2
    if min(first, second) <= half:
        return (first, room - first) if first <= second else (room - second, second)
    return (half + odd, half) if first > second else (half, half + odd)


class HeadTail:
    """Tokenises examples that are too long, and keeps the start and the end of each text.

    Args:
        tokenizer: A Hugging Face tokenizer.
        max_length: Tokens that are kept of an example, special tokens included.

    Raises:
        ModelError: The tokenizer does not put its special tokens before, between and after the texts.
    """

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        # A copy, because a tokenizer keeps the truncation of its last call.
        self._tokenizer, self._max_length = copy.deepcopy(tokenizer), max_length
        self._ends = TextEnds(tokenizer, max_length)
        self._special = {count: self._special_tokens(_SAMPLE[:count]) for count in (1, 2)}

    @property
    def ends(self) -> tuple[int, int]:
        """How many tokens are kept of the start and of the end of a single long text, special tokens included."""
        kept = self._kept(2 * self._max_length, 0, 1)
        first = sum(at == place for at, place in enumerate(kept))
        return first, len(kept) - first

    def __call__(self, columns: Sequence[Sequence[str]]) -> tuple[_Lists, _Lists | None]:
        """Ids and token types of some examples; those that are not too long are left whole.

        Args:
            columns: Their first (or only) texts, and their second ones.
        """
        texts = [self._ends.cut(column) for column in columns]
        found = self._encode(*texts)
        ids, types = found["input_ids"], found.get("token_type_ids")
        firsts = self._encode(texts[0], add_special_tokens=False)["input_ids"] if len(texts) > 1 else ids
        for at, (whole, first) in enumerate(zip(ids, firsts, strict=True)):
            if len(whole) > self._max_length:
                kept = self._kept(len(whole), len(first), len(texts))
                ids[at] = [whole[place] for place in kept]
                if types is not None:
                    types[at] = [types[at][place] for place in kept]
        return ids, types

    def _encode(self, *texts: Any, **options: Any) -> Any:
        return self._tokenizer(*texts, truncation=False, return_attention_mask=False, verbose=False, **options)

    def _kept(self, length: int, first: int, texts: int) -> list[int]:
        """Positions of the tokens that are kept of an example with ``length`` tokens, ``first`` in its first text."""
        special = self._special[texts]
        room, own = self._max_length - sum(special), length - sum(special)
        lengths: tuple[int, ...] = (own,)
        rooms: tuple[int, ...] = (room,)
        if texts > 1:
            lengths, rooms = (first, own - first), kept_of_pair(first, own - first, room)
        kept, start = list(range(special[0])), special[0]
        for size, keep, after in zip(lengths, rooms, special[1:], strict=True):
            head = keep if keep == size else head_of(keep)
            kept += [*range(start, start + head), *range(start + size - keep + head, start + size + after)]
            start += size + after
        return kept

    def _special_tokens(self, texts: Sequence[str]) -> tuple[int, ...]:
        """How many special tokens stand before, between and after the texts."""
        whole: list[int] = self._encode(*texts)["input_ids"]
        counts, start = [], 0
        for text in texts:
            own = self._encode(text, add_special_tokens=False)["input_ids"]
            places = (at for at in range(start, len(whole)) if whole[at : at + len(own)] == own)
            at = next(places, None) if own else None
            if at is None:
                raise ModelError(
                    "data.truncation: got head_tail, but the tokenizer of this model changes a text's tokens when it "
                    "adds special tokens, so that its ends cannot be told apart. Allowed for it: head."
                )
            counts.append(at - start)
            start = at + len(own)
        return (*counts, len(whole) - start)
