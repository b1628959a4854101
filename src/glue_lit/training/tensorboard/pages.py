"""TensorBoard's pages beside the curves: pictures, hard rows, precision and recall, hyperparameters."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from glue_lit.data.batches import Batch
from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.data.row_texts import PickedTexts, RowTexts
from glue_lit.evaluation.predictions import Predictions
from glue_lit.evaluation.report.texts import Texts
from glue_lit.tasks.glue import TaskSpec, log_prefix, monitor_mode
from glue_lit.training.lightning_internals import begun_steps
from glue_lit.training.tensorboard.evaluated import RowCollector, labelled_predictions
from glue_lit.training.tensorboard.hparams import HPARAMS_FILE, hyperparameters, write_hparams
from glue_lit.training.tensorboard.layout import best_tags, layout
from glue_lit.training.tensorboard.pictures import draw_outcome, hard_rows

_MOST_CURVES = 12  # precision-recall curves of a split


class TensorBoardPages(Callback):
    """Show each validation of a fit in TensorBoard; other loggers get only scalars.

    Attributes:
        predicted: Labelled rows of the last validation by split, on the first device; also kept outside a fit.
    """

    def __init__(self) -> None:
        self.predicted: dict[str, Predictions] = {}
        self._rows = RowCollector()
        self._texts: dict[str, RowTexts | None] = {}
        self._best: tuple[float, dict[str, float]] | None = None
        self._is_continued = False

    def state_dict(self) -> dict[str, Any]:
        """The best scores so far."""
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best scores of the fit that is resumed."""
        self._best = state_dict["best"]

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Find out whether the run has curves already, before anything is written."""
        if trainer.is_global_zero:
            folders = [Path(logger.log_dir) for logger in tensorboard_loggers(trainer)]
            found = [path.name for folder in folders for path in folder.glob("events.out.tfevents.*")]
            self._is_continued = any(name != HPARAMS_FILE for name in found)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Write the layout of the charts once, and the hyperparameters in every fit."""
        if not trainer.is_global_zero or trainer.fast_dev_run:
            return
        settings = hyperparameters(trainer, pl_module, trainer.datamodule)
        for logger in tensorboard_loggers(trainer):
            if not self._is_continued:
                logger.experiment.add_custom_scalars(layout(pl_module.task))
            if "://" not in logger.log_dir:  # cloud storage gets only the curves
                write_hparams(Path(logger.log_dir), settings, best_tags(pl_module.task).values())

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Drop the rows of an interrupted validation."""
        self._rows.clear()
        self.predicted = {}

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keep the logits of a batch if they will be used."""
        in_fit = trainer.state.fn == "fit"
        if not in_fit or (tensorboard_loggers(trainer) and not trainer.sanity_checking and not trainer.fast_dev_run):
            self._rows.add(pl_module.task.validation_splits[dataloader_idx], outputs, batch)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Show the predictions."""
        task: TaskSpec = pl_module.task
        for split, rows in self._rows.gather(trainer):
            if trainer.is_global_zero and (found := labelled_predictions(task, rows, pl_module.thresholds)) is not None:
                self.predicted[split] = found
        if trainer.state.fn != "fit":
            return
        step = begun_steps(trainer) + 1
        for split, predicted in self.predicted.items():
            if np.isfinite(predicted.values if predicted.probabilities is None else predicted.probabilities).all():
                self._show(trainer, task, split, predicted, step)
        if self.predicted:
            self._show_best(trainer, pl_module, step)

    def _show(self, trainer: Any, task: TaskSpec, split: str, predicted: Predictions, step: int) -> None:
        prefix = log_prefix(split)
        name = "confusion_matrix" if task.levels or task.labels else "predicted_against_gold"
        picture = draw_outcome(task, predicted, f"{task.name}, {split}, step {step:,}")
        table = hard_rows(task, *self._with_rows(trainer, split, predicted))
        for logger in tensorboard_loggers(trainer):
            writer, at = logger.experiment, _logged_step(logger, step)
            if picture is not None:
                writer.add_image(f"{prefix}/{name}", picture, at, dataformats="HWC")
            writer.add_text(f"{prefix}/hard_rows", table, at)
            if predicted.probabilities is not None:
                for label in _labels_with_curve(predicted):
                    of, gold = predicted.probabilities[:, label], predicted.gold
                    has_label = gold[:, label] > 0 if task.is_multi_label else gold == label
                    writer.add_pr_curve(f"{prefix}/{task.labels[label]}", has_label, of, at)

    def _with_rows(self, trainer: Any, split: str, predicted: Predictions) -> tuple[Predictions, Texts]:
        """Add the places of the rows, and get their texts, read once; neither if the source is gone."""
        data = trainer.datamodule
        if split not in self._texts:
            self._texts[split] = data.splits.row_texts(split) if isinstance(data, GLUEDataModule) else None
        rows = self._texts[split]
        if rows is None:
            return predicted, Texts()
        places = data.splits.places(split, predicted.idx, rows=rows)
        return replace(predicted, places=places), Texts(PickedTexts(rows, predicted.idx))

    def _show_best(self, trainer: Any, pl_module: Any, step: int) -> None:
        """Show the scores of the best checkpoint so far, by which the page HParams compares runs."""
        monitored = [each for each in trainer.checkpoint_callbacks if getattr(each, "monitor", None)]
        monitor, is_highest = str(pl_module.monitor), monitor_mode(pl_module.monitor, pl_module.task) == "max"
        if monitored and isinstance(monitored[0], ModelCheckpoint):
            monitor, is_highest = str(monitored[0].monitor), monitored[0].mode == "max"
        value = float(trainer.callback_metrics.get(monitor, math.nan))
        value = -math.inf if math.isnan(value) else value if is_highest else -value
        if self._best is None or value > self._best[0]:
            self._best = value, dict(pl_module.scores)
        for name, tag in best_tags(pl_module.task).items():
            for logger in tensorboard_loggers(trainer) if name in self._best[1] else ():
                logger.experiment.add_scalar(tag, self._best[1][name], _logged_step(logger, step))


def _labels_with_curve(predicted: Predictions) -> list[int]:
    """Labels that get a precision-recall curve: all, or of many the most frequent."""
    assert predicted.probabilities is not None
    labels = predicted.probabilities.shape[1]
    often = np.bincount(
        np.nonzero(predicted.gold)[1] if predicted.gold.ndim == 2 else predicted.gold.astype(np.int64), minlength=labels
    )
    return sorted(np.argsort(-often, kind="stable")[:_MOST_CURVES].tolist())


def _logged_step(logger: Any, step: int) -> int:
    """A step, counted from 1, as the logger counts it: Lightning's own loggers count from 0."""
    return step if getattr(logger, "counts_made_steps", False) else step - 1


def tensorboard_loggers(trainer: Any) -> list[TensorBoardLogger]:
    """The loggers that write curves for TensorBoard; the same on every device."""
    return [each for each in trainer.loggers if isinstance(each, TensorBoardLogger) and getattr(each, "curves", True)]
