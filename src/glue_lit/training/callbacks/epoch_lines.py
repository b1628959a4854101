"""A line of scores for each validation of a fit."""

from typing import Any

from lightning.pytorch import Callback, Trainer

from glue_lit.training.callbacks.progress import print_above_bar
from glue_lit.training.tensorboard.points import TrainingCurves


class EpochLines(Callback):
    """Print a line after each validation in a fit: its scores, and the mean training loss of the epoch so far.

    The mean is over all steps and devices, each batch with the same weight.
    """

    def __init__(self) -> None:
        self._header: list[str] | None = None

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Print the line, below a header if the columns are new."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        curves = TrainingCurves.of(trainer)
        loss = None if curves is None else curves.epoch_loss.mean(trainer.strategy)
        if not trainer.is_global_zero:
            return
        cells = {
            "epoch": f"{trainer.current_epoch + 1}/{trainer.max_epochs}",
            "step": str(trainer.global_step),
            "train/loss": "-" if loss is None else f"{loss:.4f}",
            **{name: f"{value:.4f}" for name, value in pl_module.scores.items()},
        }
        if self._header != list(cells):
            self._header = list(cells)
            print_above_bar(trainer, "  ".join(f"{name:>8}" for name in cells))
        print_above_bar(trainer, "  ".join(cell.rjust(max(len(name), 8)) for name, cell in cells.items()))
