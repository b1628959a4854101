"""Texts far longer than a model can take: only their starts are tokenised.

A tokenizer works through all of a text, and keeps what it cuts off: of a pair of long texts every piece of the one
with every piece of the other. Two texts of 100,000 characters, cut at 12 tokens, made it run for minutes, and longer
ones would have filled the memory.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

_LONG = 64  # characters for each token that is kept: what is shorter is left to the tokenizer
_FIRST = 16  # with which the search for the start begins,
_LEAST = 1000  # and no fewer characters in all: a word cut down to 100 would be another one to a WordPiece model
_SPACE = re.compile(r"\s")


class TextStarts:
    """Cuts texts down to what decides their first tokens.

    The first half of a start has all the tokens that will be kept, and it ends at a space if one is near. So the tokens
    that are kept, and what a pair's truncation takes from which text, are those of the whole text. But for a word of
    thousands of characters, which a model without words (Unigram) splits as well in another way; and for the odd token
    where both texts of a pair are cut, which goes to the text whose start has more tokens, not to the longer one.

    Args:
        tokenizer: A Hugging Face tokenizer. One written in Python, or one that keeps the ends of texts, gets all of it.
        max_length: Tokens that are kept of a text, or of a pair.
    """

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._can = hasattr(tokenizer, "backend_tokenizer") and tokenizer.truncation_side == "right"

    def cut(self, texts: Sequence[str]) -> list[str]:
        """Each text, or its start."""
        long = max(_LONG * self._max_length, 2 * _LEAST)
        return [self._start(text) if self._can and len(text) > long else text for text in texts]

    def _start(self, text: str) -> str:
        end = max(_FIRST * self._max_length, _LEAST)
        while end < len(text):
            space = _SPACE.search(text, end, 2 * end)
            start = text[: end if space is None else space.start()]
            offsets = self._counter.encode(start, add_special_tokens=False).offsets
            if len(offsets) >= self._max_length and offsets[self._max_length - 1][1] <= len(start) / 2:
                return start
            end *= 2
        return text

    @cached_property
    def _counter(self) -> Any:
        """A tokenizer of our own, since whether the user's one truncates must stay as it is."""
        backend = self._tokenizer.backend_tokenizer
        counter = type(backend).from_str(backend.to_str())
        counter.no_truncation()
        counter.no_padding()
        return counter
