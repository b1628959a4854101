"""Long documents as overlapping windows over their stored tokens.

A document is tokenised once, as a whole. A window is a view of it: the special tokens at the document's ends around a
piece of the tokens between them, so that overlapping windows take no memory of their own.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glue_lit.data.batches import Batch, TokenDataset
from glue_lit.data.window_settings import Windows

WHOLE = 1 << 30  # tokens at which a document is cut: never


class WindowDataset(TokenDataset):
    """The windows of a split's documents, in their order, which a loader gets as padded batches.

    Beside the values of a `TokenDataset`, a batch holds ``window`` ``(batch,)``, the window's number in this dataset
    (-1 for a filler); ``idx`` is the position of its document. Windows are those that a tokenizer of transformers gives
    with ``return_overflowing_tokens=True``: all but the last are full, and the last one ends with the document.

    Args:
        documents: The documents, tokenised as a whole (`kept_tokens`).
        ends: Special tokens before and after each window (`special_ends`).
        windows: The settings.
        length: Tokens of a window.
        most: Windows of a document, at most, spread evenly over it; ``None`` for all.

    Attributes:
        windows: The settings.
        documents: Position of each window's document in the store, ascending, ``(windows,)`` int64.
        counts: Windows of each document, also those that ``most`` leaves out, ``(documents,)`` int64.
    """

    def __init__(
        self, documents: TokenDataset, ends: tuple[int, int], windows: Windows, length: int, most: int | None = None
    ) -> None:
        vars(self).update(vars(documents))  # the same store and examples, in batches of the same kind
        self.windows = windows
        self._first, self._last = ends
        special = self._first + self._last
        room, step = length - special, length - special - windows.stride
        texts = self.store.lengths[self.examples] - special
        counts = self.counts = 1 + ((texts - room).clamp(min=0) + step - 1) // step
        kept = counts if most is None else counts.clamp(max=most)
        place = torch.repeat_interleave(torch.arange(len(texts), device="cpu"), kept)
        number = torch.arange(len(place), device="cpu") - (kept.cumsum(0) - kept)[place]
        self.documents = self.examples[place].long()
        self._starts = number * counts[place] // kept[place] * step
        self._lengths = torch.minimum(texts[place] - self._starts, torch.tensor(room, device="cpu")) + special

    def __len__(self) -> int:
        return len(self.documents)

    @property
    def lengths(self) -> Tensor:
        """Tokens of each window, with those that pad it to the multiple, ``(windows,)``."""
        return self._padded(self._lengths)

    def _values(self, wanted: Tensor, filler: Tensor, idx: Tensor) -> Batch:
        return super()._values(wanted, filler, idx) | {"window": wanted.clamp(min=-1)}

    def _lengths_at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._lengths.numpy()[places]

    def _rows(self, places: Tensor) -> tuple[Tensor, ...]:
        document = self.documents[places]
        start, end = self.store.offsets[document], self.store.offsets[document + 1]
        return document, self._lengths[places], start, self._starts[places], end

    def _sources(self, column: Tensor, length: Tensor, *source: Tensor) -> Tensor:
        start, skipped, end = source
        text = start + column + skipped * (column >= self._first)
        return torch.where(column >= length - self._last, end - length + column, text)


def in_windows(
    rows: TokenDataset, ends: tuple[int, int], windows: Windows | None, length: int, most: int | None = None
) -> TokenDataset:
    """The windows of some documents, as `WindowDataset`; the dataset itself without windows."""
    return rows if windows is None else WindowDataset(rows, ends, windows, length, most)


def kept_tokens(windows: Windows | None, max_length: int) -> int:
    """Tokens at which an example is cut when it is tokenised."""
    return max_length if windows is None else WHOLE
