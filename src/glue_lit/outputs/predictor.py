"""Compute the logits of texts with a checkpoint, in order, without a trainer, on one or more devices."""

import copy
import queue
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data._utils import pin_memory

from glue_lit.data.batches import TokenDataset
from glue_lit.data.given_texts import texts_of_given
from glue_lit.data.head_tail import truncation_in
from glue_lit.data.model_inputs import needs_equal_lengths
from glue_lit.data.rows import Rows
from glue_lit.data.sampling import EvaluationSampler
from glue_lit.data.texts_to_predict import Example, chunk_size, chunk_texts, unlabelled_rows
from glue_lit.data.tokens import tokenise
from glue_lit.data.window_settings import parse_windows, window_ends
from glue_lit.data.windows import WindowDataset, in_windows, kept_tokens
from glue_lit.encoder.build import check_tokens
from glue_lit.encoder.limits import check_precision_of
from glue_lit.errors import RunError, UsageError
from glue_lit.evaluation.pooling import pool_windows
from glue_lit.outputs.loading import load_classifier, model_config
from glue_lit.system.ahead import ahead
from glue_lit.system.host_copies import to_host
from glue_lit.system.precisions import precision_name
from glue_lit.training.classifier import SequenceClassifier

_Kept = TypeVar("_Kept")
_TOKENS = 8192  # of a batch, padding included
_UNREAD = 1 << 20  # logits that stay on an accelerator
_AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
_TRUE = {"32-true": torch.float32, "bf16-true": torch.bfloat16, "16-true": torch.float16, "64-true": torch.float64}


class Predictor:
    """Compute the logits of texts with a trained classifier; only the checkpoint is needed.

    Args:
        checkpoint: The checkpoint file.
        devices: Number of devices that share the work; without a GPU, number of thread groups.
        precision: One of the Trainer's names; ``None`` for the training's precision.
        trust_remote_code: Run code that comes with its model.
        name_or_path: As in `load_classifier`.

    Attributes:
        task: The task that the classifier was trained on.
        thresholds: Probability from which on each label of a multi-label task is predicted; empty for other tasks.
        id_column: Column of its data that identifies the rows (``data.custom.id``), if it has one.

    Raises:
        RunError: The checkpoint cannot be read.
        UsageError: There are too few devices.
    """

    def __init__(
        self,
        checkpoint: Path,
        devices: int = 1,
        precision: str | None = None,
        trust_remote_code: bool = False,
        name_or_path: str | None = None,
    ) -> None:
        loaded = load_classifier(checkpoint, trust_remote_code, name_or_path)
        classifier, self._tokenizer, self._max_length, saved = loaded
        self.task, self.thresholds = classifier.task, classifier.thresholds
        self._windows = parse_windows(classifier.hparams["windows"])
        self._ends = window_ends(self._windows, self._tokenizer)
        self.id_column: str | None = (saved["hyper_parameters"].get("custom") or {}).get("id")
        self._truncation = truncation_in(saved.get("datamodule_hyper_parameters") or {})
        self._equal_lengths = needs_equal_lengths(model_config(classifier))
        precision = precision_name(precision or (saved.get("glue_lit") or {}).get("precision") or "32-true")
        check_precision_of(classifier.model, precision)
        self._autocast = _AUTOCAST.get(precision)
        if precision in _TRUE:
            classifier.to(_TRUE[precision])
        del saved
        self._checkpoint = checkpoint
        self._replicas = _replicas(classifier, devices)

    def logits(self, chunks: Iterable[tuple[Rows, _Kept]]) -> Iterator[tuple[Tensor, _Kept]]:
        """Logits ``(rows, labels)`` in float32 of each chunk of rows, with the value that came with the chunk.

        Within a chunk, rows of about the same length (of exactly the same, for a model whose logits depend on
        padding) share a batch of about 8192 tokens; the logits are in the order of the rows. One chunk is held at a
        time; on an accelerator two, of which one is read and tokenised while the other is computed.

        Raises:
            RunError: A logit is NaN or infinite.
        """
        longest = kept_tokens(self._windows, self._max_length)
        tokenised = (
            (tokenise(rows, self._tokenizer, longest, self.task.is_regression, truncation=self._truncation), kept)
            for rows, kept in chunks
        )
        # A processor computes and tokenises with the same cores; an accelerator would wait.
        for store, kept in ahead(tokenised) if self._replicas[0].device.type != "cpu" else tokenised:
            all_rows = TokenDataset(store, torch.arange(len(store), device="cpu"), self._tokenizer)
            yield self.of_dataset(in_windows(all_rows, self._ends, self._windows, self._max_length)), kept

    def of_texts(self, examples: Iterable[str | Sequence[str] | Mapping[str, Any]]) -> Tensor:
        """Logits ``(examples, labels)`` in float32 of texts, in their order.

        Args:
            examples: A string each, two strings for a pair, or values by the names of the task's columns, which a task
                with templates or joined columns needs.

        Raises:
            DataError: An example lacks a column or a text.
            RunError: A logit is NaN or infinite.
        """
        made = (
            Example(texts_of_given(given, self.task, f"Example {at} (from 0)"), at) for at, given in enumerate(examples)
        )
        chunks = ((unlabelled_rows(chunk), None) for chunk in chunk_texts(made, chunk_size(self.task.num_labels)))
        found = [logits for logits, _ in self.logits(chunks)]
        return torch.cat(found) if found else torch.empty(0, self.task.num_labels, device="cpu")

    def of_dataset(self, dataset: TokenDataset) -> Tensor:
        """Logits ``(examples, labels)`` in float32 of tokenised examples, in their order; windows are pooled."""
        found = torch.empty(len(dataset), self.task.num_labels, device="cpu")
        model, store = self._replicas[0].model, dataset.store
        ids, types = store.vocabulary()
        check_tokens(model, ids, str(self._checkpoint), types)
        free: queue.SimpleQueue[SequenceClassifier] = queue.SimpleQueue()
        for replica in self._replicas:
            free.put(replica)
        lengths = dataset.lengths.tolist()

        def work(places: list[int]) -> tuple[list[int], Tensor]:
            replica = free.get()
            try:
                size = _rounded_size(len(places), most=_TOKENS // lengths[places[0]])  # the first is the longest
                filled = places + places[-1:] * (size - len(places))
                return places, self._of_batch(replica, dataset[filled])[: len(places)]
            finally:
                free.put(replica)

        sampler = EvaluationSampler(dataset.lengths, tokens=_TOKENS, equal_lengths=self._equal_lengths)
        # In another thread, the C library would keep a second pool of freed memory.
        _collect(map(work, sampler) if len(self._replicas) == 1 else self._pool.map(work, sampler), found)
        if not found.isfinite().all():
            raise RunError(
                f"{self._checkpoint} gives outputs that are not numbers (NaN): its training has diverged. "
                "Use another checkpoint."
            )
        if isinstance(dataset, WindowDataset):
            return pool_windows(found, dataset.documents, dataset.windows.pooling)
        return found

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(len(self._replicas))

    def _of_batch(self, replica: SequenceClassifier, batch: dict[str, Tensor]) -> Tensor:
        device = replica.device
        cast: Any = nullcontext() if self._autocast is None else torch.autocast(device.type, self._autocast)
        with torch.inference_mode(), cast:
            if device.type not in ("cpu", "mps"):  # from other memory a copy waits
                batch = pin_memory.pin_memory(batch)  # type: ignore[no-untyped-call]
            logits: Tensor = replica({key: value.to(device, non_blocking=True) for key, value in batch.items()})
        return logits


def _collect(computed: Iterable[tuple[list[int], Tensor]], found: Tensor) -> None:
    """Copy the logits of batches to their places; an accelerator is waited for once for many batches."""
    waiting: list[tuple[list[int], Tensor]] = []
    count = 0

    def read() -> None:
        for (places, _), logits in zip(waiting, to_host([logits for _, logits in waiting]), strict=True):
            found[places] = logits
        waiting.clear()

    for places, logits in computed:
        waiting.append((places, logits))
        count += logits.numel()
        if logits.device.type == "cpu" or count > _UNREAD:
            read()
            count = 0
    read()


def _rounded_size(rows: int, most: int) -> int:
    """Round ``rows`` up to one of 1, 2, 3, 4, 6, 8, 12, 16, 24 ..., at most to ``most``.

    The last batch of a chunk can have any number of rows. The library for matrix products caches hundreds of kilobytes
    of code for each shape, which grew to gigabytes over millions of rows.
    """
    size = 1 << max(0, rows - 1).bit_length()
    size = size * 3 // 4 if size > 2 and size * 3 // 4 >= rows else size
    return max(rows, min(size, most))


def _replicas(classifier: SequenceClassifier, devices: int) -> list[SequenceClassifier]:
    """The classifier on each device; without a GPU one is shared, and the threads are divided."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        most = torch.get_num_threads()
        if not 1 <= devices <= most:
            raise UsageError(f"--devices: got {devices}, allowed: 1 to {most} (PyTorch's threads here).")
        torch.set_num_threads(most // devices)
        return [classifier] * devices
    if not 1 <= devices <= (most := torch.accelerator.device_count()):
        raise UsageError(f"--devices: got {devices}, allowed: 1 to {most} (GPUs here).")
    return [copy.deepcopy(classifier).to(f"{accelerator.type}:{number}") for number in range(devices)]
