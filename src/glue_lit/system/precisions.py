"""The trainer's precisions: names, checks against the device, and labels that are never rounded."""

from typing import Any, Literal

import torch
from torch import Tensor

from glue_lit.errors import UsageError

Matmul = Literal["highest", "high", "medium"]
NAMES = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true")
SHORT_NAMES = {"64": "64-true", "32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}  # Lightning's older names
LEAST_EPS_IN_FLOAT16 = 1e-5


def precision_name(asked: Any) -> str:
    """The full name of a precision: ``bf16`` is bf16-mixed."""
    return SHORT_NAMES.get(str(asked), str(asked))


def check_precision(asked: Any, accelerator: Any, is_fit: bool) -> None:
    """Refuse a precision that the device cannot compute in.

    Args:
        asked: ``trainer.precision``, as the user writes it.
        accelerator: ``trainer.accelerator``, as the user writes it.
        is_fit: Whether it is for training; an evaluation on a CPU uses bfloat16 instead of float16.

    Raises:
        UsageError: The device cannot compute in it.
    """
    precision = precision_name(asked)
    if precision.startswith("transformer-engine"):
        raise UsageError(
            f"trainer.precision: got {precision}, which replaces a model's layers with those of NVIDIA's Transformer "
            f"Engine; the checkpoint would fit no other model. Allowed: {', '.join(NAMES)}."
        )
    device = torch.accelerator.current_accelerator(check_available=True) if accelerator != "cpu" else None
    if is_fit and precision == "16-mixed" and device is None:
        raise UsageError(
            "trainer.precision: got 16-mixed, which needs a GPU to train, and there is none. "
            "On a CPU use bf16-mixed or 32-true."
        )
    if precision == "64-true" and device is not None and device.type == "mps":
        raise UsageError("trainer.precision: got 64-true, which MPS does not have. Use 32-true, or accelerator cpu.")


def check_eps(precision: str, eps: float) -> None:
    """Refuse an epsilon of AdamW that is too small for float16 weights.

    AdamW keeps the mean of squared gradients in the precision of the weights. In float16, for a gradient below 0.008,
    the mean is 0 after the first step, and the update would be thousands of times the learning rate.

    Raises:
        UsageError: The weights are in float16, and ``eps`` is too small.
    """
    if precision == "16-true" and eps < LEAST_EPS_IN_FLOAT16:
        raise UsageError(
            f"model.adam_eps: got {eps:g}, allowed with trainer.precision 16-true: {LEAST_EPS_IN_FLOAT16:g} or more, "
            "since float16 rounds the squares of small gradients to 0. Pass `--model.adam_eps 1e-4`, or use "
            "bf16-true or 16-mixed."
        )


def keep_labels_exact(trainer: Any) -> None:
    """Keep the trainer from converting labels to another precision: in bfloat16 a score of 3.8 is 3.797."""
    plugin = trainer.precision_plugin
    convert = plugin.convert_input
    if getattr(convert, "keeps_labels", False):
        return

    def convert_all_but_labels(batch: Any) -> Any:
        converted = convert(batch)
        if isinstance(batch, dict) and isinstance(batch.get("labels"), Tensor):
            converted = {**converted, "labels": batch["labels"]}
        return converted

    convert_all_but_labels.keeps_labels = True  # type: ignore[attr-defined]
    plugin.convert_input = convert_all_but_labels


def at_least_float32(values: Tensor) -> Tensor:
    """Convert values to float32; leave float64 unchanged."""
    return values if values.dtype == torch.float64 else values.float()


def widest_float(device: torch.device) -> torch.dtype:
    """The floating-point type with the most digits that a device has: float64, or float32 on MPS."""
    return torch.float32 if device.type == "mps" else torch.float64


def set_matmul_precision(wanted: Matmul | None) -> None:
    """Let torch round float32 matrix products of this process; ``None`` changes nothing."""
    if wanted is not None:
        torch.set_float32_matmul_precision(wanted)
