"""CUDA graphs of a fit (``model.compile reduce-overhead``): where they can be recorded, what their padding costs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from glue_lit.data.accumulation import accumulation_schedule
from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.encoder.compiling import GRAPHS
from glue_lit.errors import UsageError
from glue_lit.system.console import say

RECORDING = ("cuda",)  # devices; also AMD's


def check_graphs(trainer: Any, model: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """Refuse CUDA graphs where shapes do not repeat, or where a graph would be replayed over values still in use.

    Args:
        trainer: The trainer of a fit.
        model: The hyperparameters of `SequenceClassifier`.
        data: Those of `GLUEDataModule`; empty for other data.

    Raises:
        UsageError: Graphs are asked for, and the device or another setting does not allow them.
    """
    if model["compile"] != GRAPHS:
        return
    device: torch.device = trainer.strategy.root_device
    got = f"model.compile: got {GRAPHS}, which records CUDA graphs"
    if device.type not in RECORDING:
        raise UsageError(f"{got} and needs a GPU; this is computed on {device.type}. Allowed here: auto, true, false.")
    if trainer.world_size > 1:
        raise UsageError(
            f"{got} of one device, and trainer.devices makes {trainer.world_size}, whose gradients are exchanged "
            "between the graphs. Pass `--trainer.devices 1` or `--model.compile true`."
        )
    if trainer.accumulate_grad_batches > 1 or accumulation_schedule(trainer) is not None:
        raise UsageError(
            f"{got}: the gradients of a batch are overwritten by those of the next, and "
            "trainer.accumulate_grad_batches adds them up. Leave it out with a larger `--data.batch_size`, or pass "
            "`--model.compile true`."
        )
    if model["split_batches"]:
        raise UsageError(f"model.split_batches: got true, allowed with model.compile {GRAPHS}: false. Leave one out.")
    if data.get("tokens_per_batch") is not None:
        raise UsageError(
            f"data.tokens_per_batch: got {data['tokens_per_batch']}, which gives batches of any number of texts, and "
            f"model.compile {GRAPHS} needs the same number in each. Leave one of them out."
        )
    if data.get("length_buckets") is None:
        raise UsageError(
            f"{got}, one for each length of a batch, and would record too many. Pass `--data.length_buckets 8`, or "
            "another number of lengths to which batches are padded."
        )


def describe_padding(data: GLUEDataModule, trainer: Any) -> None:
    """Print the lengths to which a fit pads its batches, and the share of padding with and without them."""
    chosen = data.training_set(trainer).batch_lengths or []
    longest, rows = data.training_sampler(trainer).batch_shapes()
    tokens = float(data.dataset("train").real_lengths.double().mean()) * int(rows.sum())
    padded = (np.array(chosen)[np.searchsorted(chosen, longest)] * rows).sum()
    before, after = (1 - tokens / float(total) for total in ((longest * rows).sum(), padded))
    lengths = ", ".join(map(str, chosen))
    say(f"Batches are padded to lengths of {lengths}: {after:.1%} padding in place of {before:.1%}.")
