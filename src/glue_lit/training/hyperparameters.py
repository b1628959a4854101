"""A classifier's settings as plain values, and their checks."""

from collections.abc import Mapping
from typing import Any

from glue_lit.encoder.adapters import plain_settings
from glue_lit.encoder.frozen_weights import check_has_frozen
from glue_lit.encoder.quantization import check_quantization
from glue_lit.errors import UsageError
from glue_lit.runs.settings import check_settings
from glue_lit.tasks.custom import parse_custom_task, plain
from glue_lit.training.chosen_optimizer import plain_optimizer
from glue_lit.training.loss_choice import plain_loss
from glue_lit.training.schedule import check_schedule


def plain_values(
    custom: Any, peft: Any, optimizer: Any, metrics: Any, loss: Any
) -> tuple[dict[str, Any] | None, Any, Any, Any, Any]:
    """The settings of a custom task, adapters, an optimizer, metrics and a loss, as a checkpoint may hold them.

    Raises:
        UsageError: A value is not allowed.
    """
    task = None if custom is None else parse_custom_task(custom).settings()
    adapters = peft if peft is None or isinstance(peft, dict) else plain_settings(peft)
    return task, adapters, plain_optimizer(optimizer), plain(metrics), plain_loss(loss)


def check_hyperparameters(owner: type, values: Mapping[str, Any]) -> None:
    """Check the settings of `SequenceClassifier` or a subclass of it.

    Raises:
        UsageError: A number is out of its range, or two settings exclude each other.
        ModelError: A setting needs a package that is not installed.
    """
    if values["peft"] is not None and values["freeze"] is not None:
        raise UsageError(
            "model.freeze and model.peft: give only one of them. With adapters, the encoder's own weights are frozen "
            "anyway; model.peft.init_args.layers_to_transform chooses the layers that get adapters."
        )
    check_settings("model", owner, values)
    check_has_frozen(values)
    check_quantization(values)
    check_schedule(values)
