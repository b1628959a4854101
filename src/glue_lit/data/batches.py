"""`TokenDataset`, which cuts padded batches out of a `TokenStore`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from glue_lit.data.batch_layout import BatchLayout, lay_out
from glue_lit.data.label_tensors import dense_labels
from glue_lit.data.large_arrays import mark_used, scratch_array
from glue_lit.data.resident_tokens import Tokens, move
from glue_lit.data.tokens import TokenStore, are_labels

Batch = dict[str, Tensor]
_AT_ONCE = 1 << 18  # examples or tokens, since intermediate results take more memory than the store


class TokenDataset(Dataset[Batch]):
    """Examples of a split, which a loader gets as whole padded batches.

    Args:
        store: The split's tokens.
        examples: Positions in the store of the examples in this dataset, ``(n,)``.
        tokenizer: Decides how to pad.
        multiple: Pad batches to a multiple of this many tokens.
        max_length: Longest batch in tokens, which ends such padding; ``None`` for no limit.
        is_packed: Whether batches are padding-free.
        sets_of: Number of labels of a multi-label task; ``None`` for other tasks.
        folder: Folder for temporary files, which hold what is computed of very many examples.

    Attributes:
        batch_lengths: The lengths to which batches are padded, ascending; ``None`` for that of their longest example.
    """

    def __init__(
        self, store: TokenStore, examples: Tensor, tokenizer: Any, multiple: int = 1, max_length: int | None = None,
        is_packed: bool = False, sets_of: int | None = None, folder: Path | None = None,
    ) -> None:  # fmt: skip
        self.store, self.is_packed, self._sets_of, self.folder = store, is_packed, sets_of, folder
        self.batch_lengths: list[int] | None = None
        self.multiple, self.max_length = multiple, max_length
        self.examples = examples
        self.pad_id = int(tokenizer.pad_token_id)
        self.pad_type = int(getattr(tokenizer, "pad_token_type_id", 0) or 0)
        self.pad_left = tokenizer.padding_side == "left"

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def lengths(self) -> Tensor:
        """Tokens of each example, with those that pad it to the multiple, ``(examples,)`` int32."""
        found = torch.from_numpy(scratch_array(len(self.examples), "int32", self.folder))
        for into, part in zip(torch.split(found, _AT_ONCE), torch.split(self.examples, _AT_ONCE), strict=True):
            into.copy_(self._padded(self._lengths_of(part)))
        return found

    def _lengths_of(self, rows: Tensor) -> Tensor:
        first, size = int(rows[0]), len(rows)
        if bool(
            (rows == torch.arange(first, first + size, device="cpu")).all()
        ):  # a difference is faster than two looks
            return self.store.offsets[first : first + size + 1].diff()
        return self.store.offsets[rows + 1] - self.store.offsets[rows]

    @property
    def real_lengths(self) -> Tensor:
        """Tokens of each example without padding, ``(examples,)``."""
        return self._rows(torch.arange(len(self), device="cpu"))[1]

    def has_labels(self) -> bool:
        """Whether any example is labelled."""
        return any(bool(are_labels(self.store.labels[part]).any()) for part in torch.split(self.examples, _AT_ONCE))

    def tokens(self) -> Tensor:
        """All tokens of the store and the padding, each once, sorted, ``(tokens,)`` int64."""
        used, known = np.zeros(0, bool), self.store.used
        parts = torch.split(self.store.input_ids, _AT_ONCE) if known is None else (known,)
        for part in (torch.tensor([self.pad_id], dtype=torch.int32, device="cpu"), *parts):
            used = mark_used(used, part.numpy())
        return torch.from_numpy(np.flatnonzero(used))

    def _padded(self, lengths: Tensor) -> Tensor:
        if self.multiple == 1:
            return lengths
        longer = lengths + -lengths % self.multiple
        return longer if self.max_length is None else torch.minimum(longer, lengths.clamp(min=self.max_length))

    def __getitem__(self, indices: int | Sequence[int]) -> Batch:
        """The batch of some examples, or of one."""
        return self.__getitems__([indices] if isinstance(indices, int) else indices)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """The examples at ``indices``, padded to the longest of them, or to the multiple above it.

        A negative index gives a filler (see `EvaluationSampler`): any example, with ``idx`` -1 and no label.

        Returns:
            ``input_ids``, ``attention_mask`` and, if the tokenizer gives them, ``token_type_ids``, all ``(batch,
            length)`` int64; ``labels`` and ``idx`` (position in the split), ``(batch,)``. Labels of a multi-label task
            are ``(batch, labels)`` float32, 1 for each that an example has, or all -1.

            A padding-free batch has ``input_ids``, ``token_type_ids`` and ``position_ids`` (from 0 in each example),
            ``(1, tokens)`` int64, of all examples one after the other; ``cu_seq_lens``, where each begins, and the end,
            ``(batch + 1,)`` int32; and the others as above.
        """
        return next(self.cut([indices]))

    def size_of(self, group: Sequence[int]) -> int:
        """Elements of the largest array of a batch, about: its tokens with padding, or labels of a multi-label task."""
        places = np.asarray(group)
        longest = int(self._lengths_at(np.where(places < 0, ~places, places)).max())
        return len(places) * max(longest, self._sets_of or 1)

    def _lengths_at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        idx, offsets = self.examples.numpy()[places], self.store.offsets.numpy()
        lengths: NDArray[np.int64] = offsets[idx + 1] - offsets[idx]
        return lengths

    def cut(self, groups: Sequence[Sequence[int]], tokens: Tokens | None = None) -> Iterator[Batch]:
        """The batch of each group of examples, as `__getitems__` gives it.

        The processor finds out what concerns rows: lengths, places, labels. Their tokens are looked up for all groups
        at once where the tokens are, so that an accelerator gets one table of the rows and waits for nothing.

        Args:
            groups: Places of the examples of each batch.
            tokens: Those of the store, on the device of the batches; ``None`` for the store's own.
        """
        wanted = torch.cat([torch.as_tensor(group, device="cpu") for group in groups])
        filler = wanted < 0
        idx, lengths, *source = self._rows(torch.where(filler, ~wanted, wanted))
        layout = self._layout(lengths, np.array([len(group) for group in groups]))
        rows = self._values(wanted, filler, idx)
        rows["spans"] = torch.stack([layout.room, layout.first, lengths, *source])
        if layout.bounds is not None:
            rows["bounds"] = layout.bounds
        if tokens is None:
            tokens = Tokens(self.store.input_ids, self.store.token_type_ids)
        else:
            rows = move(rows, tokens.input_ids.device)
        yield from self._batches(layout, rows, self._looked_up(layout.size, rows["spans"], tokens))

    def _rows(self, places: Tensor) -> tuple[Tensor, ...]:
        """Of what is at some places of the dataset: position in the split, tokens, first place in the store ..."""
        idx = self.examples[places].long()
        start = self.store.offsets[idx]
        return idx, self.store.offsets[idx + 1] - start, start

    def _sources(self, column: Tensor, length: Tensor, start: Tensor, *_: Tensor) -> Tensor:
        """Where in the store the tokens of some rows are; ``column`` counts from the first of a row."""
        return start + column

    def _values(self, wanted: Tensor, filler: Tensor, idx: Tensor) -> Batch:
        """The values of a batch that each row has one of, ``(rows,)``, or ``(rows, labels)``."""
        labels = self.store.labels[idx]
        labels = labels.masked_fill(filler, float("nan") if labels.is_floating_point() else -1)
        if self._sets_of is not None:
            labels = dense_labels(idx, labels, self.store.label_indices, self.store.label_offsets, self._sets_of)
        return {"labels": labels, "idx": idx.masked_fill(filler, -1)}

    def _layout(self, lengths: Tensor, sizes: NDArray[np.int64]) -> BatchLayout:
        if self.is_packed:
            return lay_out(lengths.numpy(), sizes, None, False)
        starts = np.cumsum(sizes) - sizes
        widths = np.maximum.reduceat(self._padded(lengths).numpy(), starts)
        if self.batch_lengths is not None:
            widths = np.asarray(self.batch_lengths)[np.searchsorted(self.batch_lengths, widths)]
        return lay_out(lengths.numpy(), sizes, widths, self.pad_left)

    def _looked_up(self, size: int, spans: Tensor, tokens: Tokens) -> Batch:
        """The flat arrays of some batches, ``(size,)``."""
        row = torch.repeat_interleave(spans[0], output_size=size)  # of each element; with its size, nothing waits
        first, length, *source = spans[1:].index_select(1, row)
        column = torch.arange(size, device=row.device) - first
        place = self._sources(column, length, *source).clamp(0, len(tokens.input_ids) - 1)
        found = {"input_ids": tokens.input_ids.index_select(0, place).long()}
        if tokens.token_type_ids is not None:
            found["token_type_ids"] = tokens.token_type_ids.index_select(0, place).long()
        if self.is_packed:
            return found | {"position_ids": column}
        outside = column >= length
        if self.pad_left:
            outside |= column < 0
        # not torch.where, which would copy the padding id to the device
        for name, padding in (("input_ids", self.pad_id), ("token_type_ids", self.pad_type)):
            if name in found:
                found[name].masked_fill_(outside, padding)
        return found | {"attention_mask": outside.logical_not().long()}

    def _batches(self, layout: BatchLayout, rows: Batch, flat: Batch) -> Iterator[Batch]:
        lengths = rows.pop("spans")[2]
        bounds = rows.pop("bounds", None)
        for number, (of_rows, elements, longest) in enumerate(layout.parts()):
            shape = (1 if self.is_packed else of_rows.stop - of_rows.start, -1)
            batch = {name: values[elements].view(shape) for name, values in flat.items()}
            if bounds is not None:
                column = torch.arange(longest, device=lengths.device)
                batch["attention_mask"] = (column < lengths[of_rows, None]).long()
                batch["cu_seq_lens"] = bounds[of_rows.start + number : of_rows.stop + number + 1]
            yield batch | {name: values[of_rows] for name, values in rows.items()}


def twice(batch: Batch) -> Batch:
    """A batch with each example twice: all of them, and all of them again."""
    flat = ("input_ids", "token_type_ids", "position_ids") if "cu_seq_lens" in batch else ()
    found = {name: torch.cat([value, value], dim=int(name in flat)) for name, value in batch.items()}
    if flat:
        bounds = batch["cu_seq_lens"]
        found["cu_seq_lens"] = torch.cat([bounds, bounds[1:] + batch["input_ids"].shape[1]])
    return found
