"""Checks of how a command computes its batches, before data are read; and what a fit prints about them afterwards."""

from collections.abc import Mapping
from typing import Any

from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.encoder.compiling import check_can_compile, is_asked
from glue_lit.encoder.flash_attention import check_attention_here
from glue_lit.training.cuda_graphs import check_graphs, describe_padding
from glue_lit.training.padding_free import describe_saving


def check_computation(trainer: Any, model: Mapping[str, Any], data: Mapping[str, Any], is_fit: bool) -> None:
    """Refuse compiled code, CUDA graphs and FlashAttention where they cannot run.

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


def describe_batches(data: GLUEDataModule, trainer: Any) -> None:
    """Print on the first device what padding-free batches save, or what padding to chosen lengths costs."""
    if not trainer.is_global_zero:
        return
    if data.hparams["padding_free"]:
        describe_saving(data, trainer)
    if data.hparams["length_buckets"] is not None:
        describe_padding(data, trainer)
