"""What a `SequenceClassifier` adds to a checkpoint, and takes from one."""

from typing import Any

from glue_lit.tasks.spec import known_cut_points
from glue_lit.training.averaging import restore_trained_weights
from glue_lit.training.fit_part import is_fit
from glue_lit.training.lightning_internals import trainer_of


def add_contents(module: Any, checkpoint: dict[str, Any]) -> None:
    """Add the model's configuration, precision, thresholds, embedding rows in use and, in a fit, the last scores.

    Args:
        module: The `SequenceClassifier` that is saved.
        checkpoint: Holds its weights already.
    """
    module.builder.describe(module.model, checkpoint)
    own = {"precision": str(module.trainer.precision)} | module.parts.optimizer.rows_in_use(module.model)
    if module.thresholds:
        own["thresholds"] = module.thresholds
    if module.task.levels:
        own["cut_points"] = [*module.task.cut_points]
    checkpoint["glue_lit"] |= own | ({"scores": module.scores} if is_fit(module.trainer) else {})


def take_contents(module: Any, checkpoint: dict[str, Any]) -> None:
    """Prepare a `SequenceClassifier` for the weights of a checkpoint, and restore the last scores of a fit.

    Args:
        module: Converted to the trainer's precision.
        checkpoint: One of adapters gets the weights of its base model. If it holds a moving average and the fit has
            none, its weights are then the trained ones.
    """
    trainer = trainer_of(module)
    if trainer is not None:
        trainer.precision_plugin.convert_module(module)
    module.builder.restore(module.model, checkpoint)
    module.keep_thresholds(checkpoint.get("glue_lit", {}).get("thresholds") or [])
    if module.task.levels:
        module.use_cut_points(known_cut_points(checkpoint.get("glue_lit") or {}, module.task))
    if trainer is not None and is_fit(trainer):
        module.scores = checkpoint.get("glue_lit", {}).get("scores", {})
        if not module.hparams["average"]:
            restore_trained_weights(checkpoint)
