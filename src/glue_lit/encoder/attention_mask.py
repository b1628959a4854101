"""Attention masks that are built on an accelerator without looking at their values."""

from typing import Any

from torch import Tensor

_LONG = 1024  # tokens


def build_masks_on_device() -> None:
    """Let transformers build the mask of torch's attention (``sdpa``) on an accelerator without waiting for it.

    transformers asks in each forward pass whether a batch has any padding, since attention is faster without a mask.
    The answer makes the host wait for the device. That costs more than the mask for texts of up to 1024 tokens, so only
    longer ones are still looked at. On the CPU nothing changes. Applies to all models of the process.
    """
    from transformers import AttentionMaskInterface

    AttentionMaskInterface.register("sdpa", _sdpa_mask)


def _sdpa_mask(*args: Any, **kwargs: Any) -> Tensor | None:
    from transformers.masking_utils import sdpa_mask

    mask = kwargs.get("attention_mask")
    if mask is not None and mask.device.type != "cpu" and mask.shape[-1] <= _LONG:
        kwargs |= {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}
    found: Tensor | None = sdpa_mask(*args, **kwargs)
    return found
