"""`TokenDataset`, which cuts padded batches out of a `TokenStore`, and its loader."""

import signal
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, dataloader

from glue_lit.data.label_tensors import dense_labels
from glue_lit.data.large_arrays import mark_used, scratch_array
from glue_lit.data.tokens import TokenStore, are_labels

Batch = dict[str, Tensor]
_AT_ONCE = 1 << 22  # examples or tokens, since intermediate results take more memory than the store

# Where its workers cannot start, torch's iterator is half built, and its __del__ fails for want of this attribute: a
# traceback beside the message that explains the error. Seen in torch 2.13.
dataloader._MultiProcessingDataLoaderIter._shutdown = True


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
            into.copy_(self._padded(self.store.offsets[part + 1] - self.store.offsets[part]))
        return found

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
        wanted = torch.as_tensor(indices, device="cpu")
        filler = wanted < 0
        places = torch.where(filler, ~wanted, wanted)
        idx, lengths = self._rows(places)
        batch = self._packed(places, lengths) if self.is_packed else self._in_rows(places, lengths)
        labels = self.store.labels[idx]
        labels = labels.masked_fill(filler, float("nan") if labels.is_floating_point() else -1)
        if self._sets_of is not None:
            labels = dense_labels(idx, labels, self.store.label_indices, self.store.label_offsets, self._sets_of)
        batch["labels"] = labels
        batch["idx"] = idx.masked_fill(filler, -1)
        return batch

    def _rows(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Position in the split and number of tokens of what is at some places of the dataset, ``(batch,)`` each."""
        idx = self.examples[places].long()
        return idx, self.store.offsets[idx + 1] - self.store.offsets[idx]

    def _sources(self, places: Tensor, column: Tensor) -> Tensor:
        """Where in the store the tokens of some places are; ``column`` counts from the first of a place."""
        return self.store.offsets[self.examples[places]] + column

    def _in_rows(self, places: Tensor, lengths: Tensor) -> Batch:
        longest = int(self._padded(lengths).max())
        if self.batch_lengths is not None:
            longest = self.batch_lengths[bisect_left(self.batch_lengths, longest)]
        column = torch.arange(longest, device="cpu")
        if self.pad_left:
            column = column - (longest - lengths)[:, None]
        mask = (column >= 0) & (column < lengths[:, None])
        source = self._sources(places[:, None], column).clamp(0, len(self.store.input_ids) - 1)
        batch = {
            "input_ids": torch.where(mask, self.store.input_ids[source].long(), self.pad_id),
            "attention_mask": mask.long(),
        }
        if self.store.token_type_ids is not None:
            batch["token_type_ids"] = torch.where(mask, self.store.token_type_ids[source].long(), self.pad_type)
        return batch

    def _packed(self, places: Tensor, lengths: Tensor) -> Batch:
        bounds = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
        positions = torch.arange(int(bounds[-1]), device="cpu") - bounds[:-1].repeat_interleave(lengths)
        source = self._sources(places.repeat_interleave(lengths), positions)
        batch = {
            "input_ids": self.store.input_ids[source].long()[None],
            "attention_mask": (torch.arange(int(lengths.max()), device="cpu") < lengths[:, None]).long(),
            "position_ids": positions[None],
            "cu_seq_lens": bounds.int(),
        }
        if self.store.token_type_ids is not None:
            batch["token_type_ids"] = self.store.token_type_ids[source].long()[None]
        return batch


def twice(batch: Batch) -> Batch:
    """A batch with each example twice: all of them, and all of them again."""
    flat = ("input_ids", "token_type_ids", "position_ids") if "cu_seq_lens" in batch else ()
    found = {name: torch.cat([value, value], dim=int(name in flat)) for name, value in batch.items()}
    if flat:
        bounds = batch["cu_seq_lens"]
        found["cu_seq_lens"] = torch.cat([bounds, bounds[1:] + batch["input_ids"].shape[1]])
    return found


def identity_collate(batch: Any) -> Any:
    """Return the item itself, for a dataset whose items are whole batches."""
    return batch


def ignore_signals(worker: int) -> None:
    """Ignore signals in a worker: they reach the whole process group, and the training process ends its workers."""
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


class ResumableLoader(DataLoader[Batch]):
    """A loader that Lightning accepts as resumable within an epoch, because it has a state."""

    def state_dict(self) -> dict[str, Any]:
        """Empty: the sampler resumes by the trainer's position (see `glue_lit.training.position`)."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Ignore the empty state."""


def batch_loader(dataset: TokenDataset, sampler: Sampler[Any], workers: int, device: str) -> DataLoader[Batch]:
    """A loader of the batches that a sampler gives.

    Args:
        dataset: Cuts them.
        sampler: Gives the positions of a whole batch at once.
        workers: Processes that cut batches; 0 for this one.
        device: Kind of the device to which they go.
    """
    return ResumableLoader(
        dataset,
        batch_size=None,  # the sampler gives whole batches
        sampler=sampler,
        collate_fn=identity_collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device not in ("cpu", "mps"),  # MPS shares the memory of the processor
        worker_init_fn=ignore_signals,
        generator=torch.Generator(),  # without it each pass would draw a number from the model's generator
    )
