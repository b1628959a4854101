"""What a `SequenceClassifier` adds to a checkpoint and takes from one: a base class of it."""

from typing import Any, Self

from glue_lit.tasks.spec import known_cut_points
from glue_lit.training.averaging import restore_trained_weights
from glue_lit.training.evaluated_module import EvaluatedModule
from glue_lit.training.fit_part import is_fit
from glue_lit.training.lightning_internals import trainer_of
from glue_lit.training.model_builder import ModelBuilder


class SavedModule(EvaluatedModule):
    """A module whose checkpoints need neither the Hub nor other files, except for the base model of adapters.

    Attributes:
        builder: Builds the model, from pretrained weights or as a checkpoint describes it.
    """

    builder: ModelBuilder

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Self:
        """As Lightning's, except that only the caller, not the file, can turn on ``trust_remote_code``."""
        return super().load_from_checkpoint(checkpoint_path, *args, **{"trust_remote_code": False} | kwargs)

    def use_architecture_of(self, checkpoint: dict[str, Any]) -> None:
        """Let `build_model` use a checkpoint's configuration, without the Hub; its weights are loaded afterwards."""
        self.builder.use_checkpoint(checkpoint)
        self.parts.optimizer.use_checkpoint(checkpoint)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the model's configuration, precision, thresholds, embedding rows in use and, in a fit, the last scores.

        Lightning calls this last, when the checkpoint holds all the rest.

        Raises:
            DivergenceError: A step of the fit was not finite, and the policy is to stop.
        """
        self.builder.describe(self.model, checkpoint)
        own = {"precision": str(self.trainer.precision)} | self.parts.optimizer.rows_in_use(self.model)
        if self.thresholds:
            own["thresholds"] = self.thresholds
        if self.task.levels:
            own["cut_points"] = [*self.task.cut_points]
        checkpoint["glue_lit"] |= own
        if is_fit(self.trainer):
            checkpoint["glue_lit"]["scores"] = self.scores
            self.parts.guard.check_before_saving(self.trainer, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Prepare for the weights of a checkpoint, and restore the last scores of a fit.

        The model is converted to the trainer's precision first; Lightning does so afterwards. A checkpoint of adapters
        gets the weights of its base model. Where it holds a moving average and the fit has none, its weights are then
        the trained ones.
        """
        trainer = trainer_of(self)
        if trainer is not None:
            trainer.precision_plugin.convert_module(self)
        self.builder.restore(self.model, checkpoint)
        self.keep_thresholds(checkpoint.get("glue_lit", {}).get("thresholds") or [])
        if self.task.levels:
            self.use_cut_points(known_cut_points(checkpoint.get("glue_lit") or {}, self.task))
        if trainer is not None and is_fit(trainer):
            self.scores = checkpoint.get("glue_lit", {}).get("scores", {})
            if not self.hparams["average"]:
                restore_trained_weights(checkpoint)
