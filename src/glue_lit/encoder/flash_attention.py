"""Find out before anything is read whether FlashAttention can run here."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch

from glue_lit.errors import ModelError

_PACKAGES = {"flash_attention_2": "flash_attn", "flash_attention_3": "flash_attn_interface"}
# Least compute capability of an NVIDIA GPU: Ampere, and Hopper for the fourth. The third has kernels for both.
_CAPABILITIES = {"flash_attention_4": (9, 0)}
_AMPERE = (8, 0)
_ELSE = "Allowed here: sdpa (the default), eager."


def is_flash(attention: Any) -> bool:
    """Whether an attention's implementation is FlashAttention."""
    return isinstance(attention, str) and attention.startswith("flash_attention_")


def runs_anywhere(hparams: Mapping[str, Any]) -> dict[str, str]:
    """The setting that replaces FlashAttention by PyTorch's, which gives the same logits on every device."""
    return {"attention": "sdpa"} if is_flash(hparams.get("attention")) else {}


def check_attention_here(attention: str | None, device: torch.device, precision: str) -> None:
    """Refuse FlashAttention where it cannot run.

    Args:
        attention: The attention's implementation; ``None`` for transformers' choice.
        device: The device that computes.
        precision: The trainer's.

    Raises:
        ModelError: The device or the precision has no such attention, or its package is missing.
    """
    if attention is None or not is_flash(attention):
        return
    got = f"model.attention: got {attention}, which"
    if device.type in ("cpu", "mps"):
        raise ModelError(f"{got} needs a GPU, and this is computed on {device.type}. {_ELSE}")
    if device.type == "cuda" and torch.version.hip is None:
        least, found = _CAPABILITIES.get(attention, _AMPERE), torch.cuda.get_device_capability(device)
        if found < least:  # a kernel would say so at the first batch
            raise ModelError(
                f"{got} needs a GPU of compute capability {least[0]}.{least[1]} or more, and "
                f"{torch.cuda.get_device_name(device)} has {found[0]}.{found[1]}. {_ELSE}"
            )
    if precision in ("32-true", "64-true"):
        raise ModelError(
            f"{got} computes in half precision, and trainer.precision is {precision}. Pass `--trainer.precision "
            f"bf16-mixed`, or another attention. {_ELSE}"
        )
    package = _PACKAGES.get(attention, "flash_attn")
    if find_spec(package) is None and find_spec("kernels") is None:
        raise ModelError(f"{got} needs the package {package} or kernels, and neither is installed. {_ELSE}")
