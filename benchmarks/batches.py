"""What a batch costs the host: cut by it and sent, and cut by a GPU from tokens that are there.

Rows have random words and the lengths of CoLA and MNLI. Without a GPU both are the same: nothing is sent.
"""

import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_inputs import TINY, make_models, make_rows
from glue_lit import GLUEDataModule
from glue_lit.data.loaders import batch_loader
from glue_lit.data.resident_tokens import ResidentTokens

SHAPES = (("cola", "CoLA", 16), ("mnli", "MNLI", 128))


def batches(rows: int = 20_000, rounds: int = 7) -> None:
    """Measure the processor time of the host for a batch of either kind, and print it as a table.

    Args:
        rows: Training rows of each task.
        rounds: Epochs; the least time counts.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print("| batch | bytes of its tensors | cut by the host, us | cut by the GPU, us |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        make_rows(Path(name), rows, 16)
        (model,) = make_models(Path(name), TINY).values()
        for task, shown, size in SHAPES:
            data = GLUEDataModule(task, model, source=name, cache_dir=str(Path(name, "tokens")), batch_size=size)
            rows_of, sampler = data.dataset("train"), data.training_sampler(None)
            by_host = batch_loader(rows_of, sampler, 0, device.type)
            by_device = batch_loader(rows_of, sampler, 0, device.type, ResidentTokens(device))
            sent = [sum(value.nbytes for value in batch.values()) for batch in by_host]
            idle = min(_seconds(sampler) for _ in range(rounds))
            found = [
                min(_seconds(loader, lambda value: value.to(device, non_blocking=True)) for _ in range(rounds)) - idle
                for loader in (by_host, by_device)
            ]
            cells = [f"{shown}-like, {size} rows", f"{sum(sent) / len(sent):,.0f}"]
            print("| " + " | ".join([*cells, *(f"{1e6 * spent / len(sent):.0f}" for spent in found)]) + " |")


def _seconds(batches: Iterable[Any], use: Callable[[Any], Any] | None = None) -> float:
    """Processor time of an epoch."""
    start = time.process_time()
    for batch in batches:
        if use is not None:
            for value in batch.values():
                use(value)
    return time.process_time() - start
