"""Frozen weights in half precision: half the memory, and no conversion at each step of mixed precision."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from glue_lit.encoder.base_weights import keeps_base
from glue_lit.encoder.build import Float32Linear
from glue_lit.encoder.waiting_weights import Waiting, is_linear
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
    if dtype == "float32":
        return
    if half is None:  # a model that was read for mixed precision, and cannot be computed in it
        for parameter in model.parameters():
            parameter.data = parameter.data.float() if parameter.dtype in _HALF.values() else parameter.data
        return
    for module in model.modules():
        parameters = [*module.parameters(recurse=False)]
        if not _goes_half(module, parameters, parameters, dtype, half):
            continue
        for parameter in parameters:
            parameter.data = parameter.data.to(half)
        module.is_stored_in_half = True
        if type(module) is nn.Embedding:
            module.__class__ = _HalfEmbedding
    if not hasattr(model, "has_half_layers"):
        model.register_forward_pre_hook(_restore_frozen_layers)
    model.has_half_layers = True


def can_wait(settings: Mapping[str, Any], adapters: Mapping[str, Any] | None, precision: str | None) -> bool:
    """Whether the weights of linear layers can wait until it is known which of them go into half precision.

    Args:
        settings: The hyperparameters of `SequenceClassifier`.
        adapters: Settings of the adapters, if there are any; some begin with values computed from the weights.
        precision: The trainer's in a fit; ``None`` if nothing is trained.
    """
    half = _HALF.get(precision or "")
    if half is None or settings["dtype"] not in ("auto", str(half).removeprefix("torch.")):
        return False
    return adapters is None or (keeps_base(adapters) and not adapters.get("use_dora"))


def read_waiting(model: nn.Module, waiting: Waiting, dtype: str, precision: str) -> None:
    """Read the weights of a model that wait, in place: in the precision of `store_frozen_layers`, else in float32.

    Args:
        model: With its adapters; what is trained is known.
        waiting: From `linear_layers_wait`; empty afterwards.
        dtype: As in `store_frozen_layers`.
        precision: The trainer's.
    """
    for module in model.modules():
        parameters = [*module.parameters(recurse=False)]
        if not any(parameter in waiting for parameter in parameters):
            continue
        values = [waiting.pop(p)() if p in waiting else p.data for p in parameters]
        half = _HALF[precision]
        kind = half if _goes_half(module, parameters, values, dtype, half) else torch.float32
        for parameter, value in zip(parameters, values, strict=True):
            parameter.data = value.to(kind, copy=True)  # aligned, unlike a mapped one, which may change the last bit
    assert not waiting


def _goes_half(
    module: nn.Module, parameters: Sequence[Tensor], values: Sequence[Tensor], dtype: str, half: torch.dtype
) -> bool:
    """Whether a module's parameters, with these values, are kept in half precision."""
    is_embedding = type(module) is nn.Embedding and module.max_norm is None
    if not (is_linear(module) or is_embedding) or isinstance(module, Float32Linear):
        return False
    if any(p.requires_grad or not p.is_floating_point() for p in parameters):
        return False
    return not (dtype == "auto" or is_embedding) or all(_is_exact(value, half) for value in values)


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
