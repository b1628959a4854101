"""Limits of some architectures, and errors of a model's own code, each explained in one message."""

import inspect
import math
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from glue_lit.encoder.compiling import compiled_for, is_compiled
from glue_lit.encoder.first_token import first_token_only
from glue_lit.encoder.packing import PACKED, packed_inputs
from glue_lit.errors import GlueLitError, ModelError
from glue_lit.system.precisions import at_least_float32
from glue_lit.system.system_errors import explain_system_error

PAGE = "docs/architectures.md"  # what works for each architecture
MIXED = ("bf16-mixed", "16-mixed")
# Architectures whose code fails where half precision and float32 meet, with the reason.
_NOT_MIXED = {
    "deberta": "its attention is masked with float32's lowest number, which half precision does not have",
    "xmod": "its language adapters' half precision is written into float32",
}
_MRA = "transformers.models.mra.modeling_mra"


def check_kernels(model: Any) -> None:
    """Refuse a Hugging Face model that gives wrong outputs without its kernels.

    Raises:
        ModelError: It is an MRA without its CUDA kernels, whose attention transformers replaces by zeros, so that every
            text has the same output.
    """
    if model.config.model_type == "mra" and getattr(sys.modules.get(_MRA), "mra_cuda_kernel", None) is None:
        raise ModelError(
            "model.name_or_path: got a model of the architecture mra, whose attention needs CUDA kernels that are not "
            "loaded here: without them transformers computes zeros in its place, and every text has the same output. "
            f"Take it to a machine with a GPU and the packages kernels and ninja, or take another model ({PAGE})."
        )


def why_not_mixed(model: Any) -> str | None:
    """The reason why a Hugging Face model cannot run in mixed precision; ``None`` if it can."""
    return _NOT_MIXED.get(model.config.model_type)


def check_precision_of(model: Any, precision: str) -> None:
    """Refuse a precision of the Trainer in which a Hugging Face model does not run.

    Raises:
        ModelError: The precision is mixed, and the model cannot run in it.
    """
    why = why_not_mixed(model)
    if why is not None and precision in MIXED:
        raise ModelError(
            f"trainer.precision: got {precision}, which a model of the architecture {model.config.model_type} cannot "
            f"be computed in: {why}. Pass `--trainer.precision 32-true`."
        )


def explain_model_error(model: Any, error: Exception) -> ModelError | None:
    """Explain an error that a model's forward raised; ``None`` for errors of the operating system and our own."""
    if isinstance(error, GlueLitError) or explain_system_error(error) is not None:
        return None
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:400]
    weights = next(model.parameters())
    is_half = torch.is_autocast_enabled(weights.device.type) or weights.dtype in (torch.bfloat16, torch.float16)
    advice = " It was compiled; `--model.compile false` may do." if is_compiled(model) else ""
    advice += " It was computed in half precision; `--trainer.precision 32-true` may do." if is_half else ""
    return ModelError(
        f"A model of the architecture {model.config.model_type} cannot be run with these inputs: its own code stopped. "
        f"{PAGE} says which architectures work, and what the others need.{advice} The library said: {reason}"
    )


def accepted_inputs(model: Any) -> frozenset[str]:
    """Batch keys that the model's forward takes, or `packed_inputs`; it would silently ignore others."""
    names = inspect.signature(model.forward).parameters
    return frozenset(names) & {"input_ids", "attention_mask", "token_type_ids"} | PACKED


def compute_logits(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    """Compute the model's logits ``(batch, labels)``, in float32 or better.

    Args:
        model: The Hugging Face model.
        inputs: The inputs that its forward takes, ``(batch, length)`` each, or those of `packed_inputs`.

    Raises:
        ModelError: The model's own code fails.
    """
    if model.config.model_type == "gemma3":  # its token types mark images; transformers 5.0 needs them in training
        inputs["token_type_ids"] = inputs["input_ids"].new_zeros(inputs["input_ids"].shape)
    try:
        if "cu_seq_lens" in inputs:
            output = model(**packed_inputs(model, inputs), **first_token_only(model))
        else:
            with compiled_for(model, len(inputs["input_ids"])):
                output = model(**pad_for_training(model, inputs), **first_token_only(model))
    except Exception as error:
        if (explained := explain_model_error(model, error)) is None:
            raise
        raise explained from error
    return at_least_float32(output.logits)


def pad_for_training(model: Any, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Pad a batch to a length that the model can be trained on; only Reformer needs it.

    Its axial positions need inputs of exactly as many tokens as there are positions, and its attention needs whole
    chunks, to which it pads by itself in evaluation. The batch holds ``input_ids`` and ``attention_mask``, ``(batch,
    length)`` each.
    """
    config = model.config
    if config.model_type != "reformer" or not model.training:
        return batch
    length = batch["input_ids"].shape[1]
    chunks = {getattr(config, f"{kind}_attn_chunk_length") for kind in config.attn_layers}
    wanted = math.prod(config.axial_pos_shape) if config.axial_pos_embds else length + -length % math.lcm(*chunks)
    missing = max(wanted - length, 0)
    fill = {"input_ids": config.pad_token_id or 0}
    return {name: pad(value, (0, missing), value=fill.get(name, 0)) for name, value in batch.items()}
