"""What a classifier's settings may be."""

from collections.abc import Mapping
from typing import Any

from glue_lit.errors import UsageError

_FROM_ZERO = ("learning_rate", "weight_decay", "warmup", "max_grad_norm", "r_drop")
_SHARES = ("label_smoothing", "dropout", "average", "adam_beta1", "adam_beta2")


def check_hyperparameters(values: Mapping[str, Any]) -> None:
    """Stop at a setting of `SequenceClassifier` that nothing can be trained with.

    Raises:
        UsageError: A number is out of its range, or two settings exclude one another.
    """
    if values["peft"] is not None and values["freeze"] is not None:
        raise UsageError(
            "model.freeze and model.peft: give one of them. With adapters the encoder's own weights stay as they "
            "are; model.peft.init_args.layers_to_transform says which layers have adapters."
        )
    for flag in _FROM_ZERO:
        if not 0 <= values[flag] < float("inf"):
            raise UsageError(f"model.{flag}: got {values[flag]}, allowed: a number from 0 up.")
    if not 0 < values["adam_eps"] < float("inf"):  # 0 divides by nothing where a gradient is zero
        raise UsageError(f"model.adam_eps: got {values['adam_eps']}, allowed: a number above 0.")
    for flag in _SHARES:
        if values[flag] is not None and not 0 <= values[flag] < 1:
            raise UsageError(f"model.{flag}: got {values[flag]}, allowed: from 0 up, below 1.")
    if not 0 < values["layer_decay"] <= 1:
        raise UsageError(f"model.layer_decay: got {values['layer_decay']}, allowed: above 0, up to 1 (no decay).")
