"""Adapt a model that was just built to the trainer: precision, trained rows, frozen layers, DDP, sharding."""

from typing import Any

from glue_lit.encoder.frozen_weights import check_frozen_dtype, store_frozen_layers
from glue_lit.encoder.limits import check_precision_of
from glue_lit.encoder.quantization import check_quantized_precision
from glue_lit.encoder.sharding import shard_model
from glue_lit.system.precisions import keep_labels_exact
from glue_lit.training.fit_part import is_fit
from glue_lit.training.lightning_internals.sharding import sharing_devices
from glue_lit.training.unused_parameters import adapt_ddp


def prepare_model(module: Any, trainer: Any) -> None:
    """Prepare the model of a `SequenceClassifier` for its trainer.

    Args:
        module: With a built model; a fit with our data and optimizer trains only the embedding rows in use.
        trainer: Gives precision, data, strategy and devices.

    Raises:
        ModelError: The model does not run in the trainer's precision.
        UsageError: Frozen weights cannot be kept as asked in that precision.
    """
    check_precision_of(module.model, precision := str(trainer.precision))
    keep_labels_exact(trainer)
    if is_fit(trainer):
        check_frozen_dtype(dtype := module.hparams["dtype"], precision)
        check_quantized_precision(module.hparams["quantization"], precision)
        module.parts.optimizer.choose_rows(module, trainer)
        adapt_ddp(module, trainer)
        store_frozen_layers(module.model, dtype, precision)
    if (devices := sharing_devices(trainer)) is not None:
        shard_model(module.model, devices)
