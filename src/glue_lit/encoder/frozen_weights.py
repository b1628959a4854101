"""Frozen weights in half precision: half the memory, and no conversion at each step of mixed precision."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from glue_lit.encoder.build import Float32Linear
from glue_lit.errors import UsageError

FrozenDtype = Literal["float32", "bfloat16", "float16", "auto"]
_HALF = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}  # in which mixed precision multiplies


def check_has_frozen(settings: Mapping[str, Any]) -> None:
    """Refuse half precision for weights that are trained.

    Args:
        settings: The hyperparameters of `SequenceClassifier`.

    Raises:
        UsageError: All weights are trained.
    """
    if settings["dtype"] != "float32" and settings["peft"] is None and settings["freeze"] is None:
        raise UsageError(
            f"model.dtype: got {settings['dtype']}, but all weights are trained, and half precision would round their "
            "small steps to nothing. It goes with model.peft or model.freeze; `--trainer.precision bf16-mixed` "
            "computes in half precision with weights in float32."
        )


def check_frozen_dtype(dtype: str, precision: str) -> None:
    """Refuse half precision for frozen weights if the others compute in another precision.

    Raises:
        UsageError: ``precision``, the trainer's, is not the mixed one that goes with ``dtype``.
    """
    fitting = next((name for name, half in _HALF.items() if str(half) == f"torch.{dtype}"), precision)
    if precision != fitting:
        raise UsageError(
            f"model.dtype: got {dtype}, allowed with trainer.precision {precision}: float32 or auto. Pass "
            f"`--trainer.precision {fitting}` too, or leave model.dtype out."
        )


def store_frozen_layers(model: Any, dtype: str, precision: str) -> None:
    """Convert the weights of a model that are not trained to half precision, in place.

    Mixed precision multiplies in it anyway, so that training stays the same to the last bit. It computes embeddings and
    norms in float32: embeddings are converted where that rounds nothing, as in a model stored in half precision, and
    norms stay as they are, as does the layer that gives the logits. The first forward pass outside of mixed precision
    converts the weights back, so that a trained model in memory predicts as its checkpoint does.

    Args:
        model: With its adapters.
        dtype: ``bfloat16`` or ``float16``; ``auto`` converts all layers only where that rounds nothing; ``float32``
            changes nothing.
        precision: The trainer's; ``auto`` changes nothing unless it is mixed.
    """
    half = _HALF.get(precision)
    if dtype == "float32" or half is None:
        return
    for module in model.modules():
        parameters = [*module.parameters(recurse=False)]
        is_linear = isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"  # that of GPT-2
        is_embedding = type(module) is nn.Embedding and module.max_norm is None
        if not (is_linear or is_embedding) or isinstance(module, Float32Linear):
            continue
        if any(p.requires_grad or not p.is_floating_point() for p in parameters):
            continue
        if (dtype == "auto" or is_embedding) and not all(_is_exact(parameter, half) for parameter in parameters):
            continue
        for parameter in parameters:
            parameter.data = parameter.data.to(half)
        module.is_stored_in_half = True
        if is_embedding:
            module.__class__ = _HalfEmbedding
    if not hasattr(model, "has_half_layers"):
        model.register_forward_pre_hook(_restore_frozen_layers)
    model.has_half_layers = True


def _restore_frozen_layers(model: Any, arguments: Any) -> None:
    """Convert frozen weights back to float32 before a forward pass that does not compute in mixed precision."""
    if not model.has_half_layers or torch.is_autocast_enabled(model.device.type):
        return
    model.has_half_layers = False
    for module in model.modules():
        if getattr(module, "is_stored_in_half", False):
            module.is_stored_in_half = False
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.float()
            if isinstance(module, _HalfEmbedding):
                module.__class__ = nn.Embedding  # type: ignore[assignment]


def _is_exact(value: Tensor, half: torch.dtype) -> bool:
    """Whether a conversion to half precision rounds no number."""
    return torch.equal(value.to(half).to(value.dtype), value)


class _HalfEmbedding(nn.Embedding):
    """An embedding kept in half precision, whose rows are float32 to the layers after it."""

    def forward(self, input: Tensor) -> Tensor:
        """The rows ``(..., width)`` of tokens ``(...)``."""
        return super().forward(input).float()
