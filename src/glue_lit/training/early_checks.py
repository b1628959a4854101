"""Checks of how a command computes its batches, before data are read; and what a fit prints about them afterwards."""

import math
from collections.abc import Mapping
from typing import Any

from glue_lit.data.accumulation import batches_of_step
from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.data.model_inputs import needs_equal_lengths
from glue_lit.data.resident_tokens import check_device
from glue_lit.encoder.compiling import GRAPHS, check_can_compile, is_asked
from glue_lit.encoder.flash_attention import check_attention_here
from glue_lit.encoder.packing import check_can_be_packed
from glue_lit.errors import ModelError
from glue_lit.system.console import say
from glue_lit.training.cuda_graphs import check_graphs, describe_padding
from glue_lit.training.padding_free import describe_saving


def check_computation(trainer: Any, model: Mapping[str, Any], data: Mapping[str, Any], is_fit: bool) -> None:
    """Refuse compiled code, CUDA graphs, FlashAttention and tokens on a GPU where they cannot be.

    Args:
        trainer: The command's trainer.
        model: The hyperparameters of `SequenceClassifier`.
        data: Those of `GLUEDataModule`.
        is_fit: Whether the command trains; evaluation is never compiled.

    Raises:
        GlueLitError: The device, the trainer or another setting does not allow it.
    """
    device = trainer.strategy.root_device
    if is_fit and is_asked(model["compile"]):
        check_graphs(trainer, model, data)
        check_can_compile(device, model["compile"])
    check_attention_here(model["attention"], device, str(trainer.precision))
    check_device(data["tokens_on_device"], device)


def check_architecture(data: GLUEDataModule, model: Mapping[str, Any], is_fit: bool) -> None:
    """Refuse batches that the model's architecture cannot take; arguments as for `check_computation`.

    Raises:
        ModelError: Padding-free batches would mix its texts, or its logits depend on the padding of CUDA graphs.
    """
    if not data.hparams["padding_free"] and (model["compile"] != GRAPHS or not is_fit):
        return
    config = data.splits.model_config
    if data.hparams["padding_free"]:
        check_can_be_packed(config, model["attention"])
    elif needs_equal_lengths(config):
        raise ModelError(
            f"model.compile: got {GRAPHS}, whose batches are padded to a few lengths, and the logits of a model of the "
            f"architecture {config['model_type']} depend on padding. Pass `--model.compile true`, or leave it out."
        )


def describe_batches(data: GLUEDataModule, trainer: Any) -> None:
    """Print on the first device what several of them take at each step, and what padding costs or its lack saves."""
    if not trainer.is_global_zero:
        return
    if trainer.world_size > 1 and data.hparams["tokens_per_batch"] is None:
        factors = {"devices": trainer.world_size, "data.batch_size": data.hparams["batch_size"]}
        if (accumulated := batches_of_step(trainer, trainer.current_epoch)) > 1:
            factors["trainer.accumulate_grad_batches"] = accumulated
        product = f"{' x '.join(map(str, factors.values()))} = {math.prod(factors.values())}"
        say(f"A step takes {product} examples ({' x '.join(factors)}).")
    if data.hparams["padding_free"]:
        describe_saving(data, trainer)
    if data.training_set(trainer).batch_lengths is not None:
        describe_padding(data, trainer)
