"""Checks of a classifier's settings."""

from collections.abc import Mapping
from typing import Any

from glue_lit.errors import UsageError
from glue_lit.runs.settings import check_settings
from glue_lit.training.schedule import check_schedule


def check_hyperparameters(owner: type, values: Mapping[str, Any]) -> None:
    """Check the settings of `SequenceClassifier` or a subclass of it.

    Raises:
        UsageError: A number is out of its range, or two settings exclude one another.
    """
    if values["peft"] is not None and values["freeze"] is not None:
        raise UsageError(
            "model.freeze and model.peft: give one of them. With adapters the encoder's own weights stay as they "
            "are; model.peft.init_args.layers_to_transform says which layers have adapters."
        )
    check_settings("model", owner, values)
    check_schedule(values)
