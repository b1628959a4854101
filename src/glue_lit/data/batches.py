"""`TokenDataset`, which cuts padded batches out of a `TokenStore`, and its loader."""

import signal
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, dataloader

from glue_lit.data.tokens import TokenStore

Batch = dict[str, Tensor]
_TOKENS = 1 << 22  # sorted together

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
    """

    def __init__(
        self, store: TokenStore, examples: Tensor, tokenizer: Any, multiple: int = 1, max_length: int | None = None
    ) -> None:
        self.store = store
        self.multiple, self.max_length = multiple, max_length
        self.examples = examples
        self.pad_id = int(tokenizer.pad_token_id)
        self.pad_type = int(getattr(tokenizer, "pad_token_type_id", 0) or 0)
        self.pad_left = tokenizer.padding_side == "left"

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def lengths(self) -> Tensor:
        """Tokens of each example, with those that pad it to the multiple, ``(examples,)``."""
        return self._padded(self.store.lengths[self.examples])

    def tokens(self) -> Tensor:
        """All tokens of the store and the padding, each once, sorted, ``(tokens,)`` int64."""
        # Lightning builds the model inside `torch.device(...)`, where a tensor without a device would be on the GPU.
        found = torch.tensor([self.pad_id], dtype=torch.int32, device="cpu")
        for part in torch.split(self.store.input_ids, _TOKENS):
            found = torch.unique(torch.cat([found, part]))
        return found.long()

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
            length)`` int64; ``labels`` and ``idx`` (position in the split), ``(batch,)``.
        """
        wanted = torch.as_tensor(indices, device="cpu")
        filler = wanted < 0
        idx = self.examples[torch.where(filler, ~wanted, wanted)]
        starts, lengths = self.store.offsets[idx], self.store.offsets[idx + 1] - self.store.offsets[idx]
        longest = int(self._padded(lengths).max())
        column = torch.arange(longest, device="cpu")
        if self.pad_left:
            column = column - (longest - lengths)[:, None]
        mask = (column >= 0) & (column < lengths[:, None])
        source = (starts[:, None] + column).clamp(0, len(self.store.input_ids) - 1)
        batch = {
            "input_ids": torch.where(mask, self.store.input_ids[source].long(), self.pad_id),
            "attention_mask": mask.long(),
        }
        if self.store.token_type_ids is not None:
            batch["token_type_ids"] = torch.where(mask, self.store.token_type_ids[source].long(), self.pad_type)
        labels = self.store.labels[idx]
        unlabelled = float("nan") if labels.is_floating_point() else -1
        batch["labels"] = labels.masked_fill(filler, unlabelled)
        batch["idx"] = idx.masked_fill(filler, -1)
        return batch


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
