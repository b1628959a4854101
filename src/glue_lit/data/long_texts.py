"""Cut texts that are far longer than a model's input before they are tokenised.

A tokenizer processes a whole text and keeps what it cuts off: for a pair, each piece of one text with each piece of the
other. Cutting two texts of 100,000 characters to 12 tokens took minutes, and longer ones would have filled the memory.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

_LONG = 64  # characters per kept token; shorter texts are not cut
_FIRST = 16  # characters per kept token in the first start that is tried
_LEAST = 1000  # characters of a start: WordPiece treats a word of over 100 characters as unknown, but not its start
_SPACE = re.compile(r"\s")


class TextStarts:
    """Cuts texts to the starts that decide their first tokens.

    All kept tokens come from the first half of a start, which ends at a space if one is near. So they are the tokens of
    the whole text, and truncating a pair keeps the same of each text, with two exceptions: a tokenizer without words
    (Unigram) may split a word of thousands of characters differently; and if both texts of a pair are cut, an odd token
    goes to the text whose start has more tokens, not to the longer text.

    Args:
        tokenizer: A Hugging Face tokenizer. If it is written in Python or keeps the ends of texts, nothing is cut.
        max_length: Tokens kept of a text, or of a pair.
    """

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._can_cut = hasattr(tokenizer, "backend_tokenizer") and self._keeps(tokenizer)

    @staticmethod
    def _keeps(tokenizer: Any) -> bool:
        return bool(tokenizer.truncation_side == "right")

    def cut(self, texts: Sequence[str]) -> list[str]:
        """Return each text, or its start if it is long."""
        long = max(_LONG * self._max_length, 2 * _LEAST)
        return [self._start(text) if self._can_cut and len(text) > long else text for text in texts]

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

    def _end(self, text: str) -> str:
        """The end of a text, from a space if one is near, whose second half has the kept tokens."""
        size = max(_FIRST * self._max_length, _LEAST)
        while size < len(text):
            space = _SPACE.search(text, len(text) - 2 * size, len(text) - size)
            end = text[len(text) - size if space is None else space.start() :]
            offsets = self._counter.encode(end, add_special_tokens=False).offsets
            if len(offsets) >= self._max_length and offsets[-self._max_length][0] >= len(end) / 2:
                return end
            size *= 2
        return text

    @cached_property
    def _counter(self) -> Any:
        """A copy that does not truncate; the truncation of the tokenizer itself must not change."""
        backend = self._tokenizer.backend_tokenizer
        counter = type(backend).from_str(backend.to_str())
        counter.no_truncation()
        counter.no_padding()
        return counter


class TextEnds(TextStarts):
    """Cuts texts to the starts and ends that decide their first and last tokens, with nothing between them.

    Of such a text, so many tokens are kept that they come from outer halves, and are those of the whole text, with the
    exception for Unigram that `TextStarts` has.
    """

    @staticmethod
    def _keeps(tokenizer: Any) -> bool:
        return True

    def cut(self, texts: Sequence[str]) -> list[str]:
        """Return each text, or its start and end if it is long."""
        whole = super().cut(texts)
        return [self._with_end(start, text) for start, text in zip(whole, texts, strict=True)]

    def _with_end(self, start: str, text: str) -> str:
        end = self._end(text) if len(start) < len(text) else text
        return start + end if len(start) + len(end) < len(text) else text
