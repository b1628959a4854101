"""Padding-free batches: what they do not combine with, and whether a fit gains from them."""

from collections.abc import Mapping
from typing import Any

from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.errors import UsageError
from glue_lit.system.console import say

LITTLE = 0.1  # share of padding up to which the work that finds the texts' bounds may take more time


def check_combines(padding_free: bool, model: Mapping[str, Any]) -> None:
    """Refuse settings of the model that need a batch in rows.

    Args:
        padding_free: The data's setting.
        model: The hyperparameters of `SequenceClassifier`.

    Raises:
        UsageError: A batch is to be split, or the model to be compiled.
    """
    for name in ("split_batches", "compile"):
        if padding_free and model[name] not in (False, "auto"):
            allowed = "false" if name == "split_batches" else "auto (which then does not compile), false"
            raise UsageError(
                f"model.{name}: got {str(model[name]).lower()}, allowed with data.padding_free true: {allowed}. A "
                "batch without padding has one row, of another length in each step. Leave one of them out."
            )


def describe_saving(data: GLUEDataModule, trainer: Any) -> None:
    """Print how much padding a fit saves, since it is little where batches hold texts of similar length."""
    longest, rows = data.training_sampler(trainer).batch_shapes()
    tokens = float(data.dataset("train").real_lengths.double().mean()) * int(rows.sum())
    share = 1 - tokens / float((longest * rows).sum())
    advice = ""
    if share < LITTLE:
        advice = " That hardly pays: batches of similar lengths have little padding"
        grouped = data.hparams["group_by_length"] or data.hparams["tokens_per_batch"] is not None
        advice += " (`--data.group_by_length`)." if grouped else "."
    say(f"Without padding a batch has {share:.1%} fewer tokens.{advice}")
