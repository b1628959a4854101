"""The loader of a split's batches."""

import atexit
import signal
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler, dataloader
from torch.utils.data._utils import pin_memory

from glue_lit.data.batches import Batch, TokenDataset
from glue_lit.data.resident_tokens import ResidentTokens, Tokens

_AHEAD = 1 << 16  # tokens, or labels of a multi-label task, that are cut at once: 0.5 MB an array

# Where its workers cannot start, torch's iterator is half built, and its __del__ fails for want of this attribute: a
# traceback beside the message that explains the error. Seen in torch 2.13.
dataloader._MultiProcessingDataLoaderIter._shutdown = True


def identity_collate(batch: Any) -> Any:
    """Return the item itself, for a dataset whose items are whole batches."""
    return batch


def ignore_signals(worker: int) -> None:
    """Ignore signals in a worker: they reach the whole process group, and the training process ends its workers."""
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _end_workers(found: "weakref.ref[Any]") -> None:
    """Ask the workers of an iterator to end, if it still exists: Python's exit sends SIGTERM and waits for them."""
    iterator = found()
    if iterator is not None:
        iterator._shutdown_workers()


def cut_ahead(dataset: TokenDataset, sampler: Iterable[Sequence[int]], tokens: Tokens | None) -> Iterator[Batch]:
    """The batches that a sampler gives, of which many small ones are cut at once; see `TokenDataset.cut`."""
    groups: list[Sequence[int]] = []
    size = 0
    for group in sampler:
        groups.append(group)
        size += dataset.size_of(group)
        if size >= _AHEAD:
            yield from dataset.cut(groups, tokens)
            groups, size = [], 0
    if groups:
        yield from dataset.cut(groups, tokens)


class ResumableLoader(DataLoader[Batch]):
    """A loader that Lightning accepts as resumable within an epoch, because it has a state.

    Attributes:
        resident: Tokens on an accelerator, where batches are then cut; ``None`` for batches of the processor.
    """

    resident: ResidentTokens | None = None

    def __iter__(self) -> Any:
        """An iterator over the batches."""
        dataset, resident = self.dataset, self.resident
        if self.num_workers or not isinstance(dataset, TokenDataset):
            known, found = self._iterator, super().__iter__()
            if self.num_workers and found is not known:  # which persistent workers keep for all epochs
                # registered after torch's and Python's own functions, hence called before them
                atexit.register(_end_workers, weakref.ref(found))
            return found
        batches = cut_ahead(dataset, iter(self.sampler), None if resident is None else resident.of(dataset.store))
        is_sent = resident is None and self.pin_memory and torch.accelerator.is_available()
        return map(pin_memory.pin_memory, batches) if is_sent else batches

    def state_dict(self) -> dict[str, Any]:
        """Empty: the sampler resumes by the trainer's position (see `glue_lit.training.position`)."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Ignore the empty state."""


def batch_loader(
    dataset: TokenDataset, sampler: Sampler[Any], workers: int, device: str, resident: ResidentTokens | None = None
) -> DataLoader[Batch]:
    """A loader of the batches that a sampler gives.

    Args:
        dataset: Cuts them.
        sampler: Gives the positions of a whole batch at once.
        workers: Processes that cut batches; 0 for this one.
        device: Kind of the device to which they go.
        resident: Tokens on that device, which then cuts the batches; ``None`` if they are not there.
    """
    workers = 0 if resident is not None else workers
    loader = ResumableLoader(
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
    loader.resident = resident
    return loader
