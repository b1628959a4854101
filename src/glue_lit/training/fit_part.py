"""The base class of the callbacks that belong to a `SequenceClassifier`."""

from typing import Any, Self

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn


def is_fit(trainer: Trainer) -> bool:
    """Whether the trainer trains, rather than evaluates."""
    return trainer.state.fn == TrainerFn.FITTING


class FitPart(Callback):
    """A callback that the classifier adds to each of its fits, with state in their checkpoints.

    All parts share the mapping ``checkpoint["glue_lit"]``, which later versions must still read.
    """

    @classmethod
    def of(cls, trainer: Any) -> Self | None:
        """The trainer's part of this class; ``None`` if it trains another kind of module."""
        return next((part for part in trainer.callbacks if isinstance(part, cls)), None)

    def save_state(self, trainer: Trainer, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """The state, by its keys in ``checkpoint["glue_lit"]``."""
        return {}

    def load_state(self, trainer: Trainer, checkpoint: dict[str, Any], state: dict[str, Any]) -> None:
        """Restore the state; an older version may have written fewer keys."""

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the state to the checkpoint of a fit."""
        if is_fit(trainer):
            checkpoint.setdefault("glue_lit", {}).update(self.save_state(trainer, checkpoint))

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Restore the state of the fit that is resumed."""
        if is_fit(trainer):
            self.load_state(trainer, checkpoint, checkpoint.get("glue_lit") or {})
