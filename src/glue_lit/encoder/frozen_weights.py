"""Frozen layers in bfloat16: half the memory, and no conversion at each step of mixed precision."""

from typing import Literal

import torch
from torch import nn

from glue_lit.encoder.build import Float32Linear
from glue_lit.errors import UsageError

FrozenDtype = Literal["float32", "bfloat16"]


def check_frozen_dtype(dtype: str, precision: str) -> None:
    """Refuse bfloat16 for frozen layers if the others compute in another precision.

    Raises:
        UsageError: ``precision``, the trainer's, is not bf16-mixed.
    """
    if dtype == "bfloat16" and precision != "bf16-mixed":
        raise UsageError(
            f"model.frozen_dtype: got bfloat16, allowed with trainer.precision {precision}: float32. Pass "
            "`--trainer.precision bf16-mixed` too, or leave model.frozen_dtype out."
        )


def store_frozen_layers(model: nn.Module, dtype: str) -> None:
    """Convert the linear layers of a model that are not trained, in place.

    bf16-mixed computes them in bfloat16 anyway, so that training stays the same to the last bit. Embeddings and norms,
    which it computes in float32, stay as they are, and so does the layer that gives the logits.

    Args:
        model: With its adapters.
        dtype: ``bfloat16``; ``float32`` changes nothing.
    """
    if dtype != "bfloat16":
        return
    for module in model.modules():
        parameters = [*module.parameters(recurse=False)]
        is_linear = isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"  # that of GPT-2
        if is_linear and not isinstance(module, Float32Linear) and not any(p.requires_grad for p in parameters):
            for parameter in parameters:
                parameter.data = parameter.data.to(torch.bfloat16)
