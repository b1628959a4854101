"""The evaluation of a task's splits: a base class of `SequenceClassifier`."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from glue_lit.data.batches import Batch
from glue_lit.encoder.heads import recorded_thresholds
from glue_lit.errors import RunError
from glue_lit.evaluation.task_metrics import SplitMetrics
from glue_lit.tasks.spec import TaskSpec, known_cut_points
from glue_lit.training.documents import Documents, check_has_pooling
from glue_lit.training.fit_part import is_fit
from glue_lit.training.fit_parts import FitParts
from glue_lit.training.losses import TaskLoss


class EvaluatedModule(LightningModule):
    """A module whose logits are scored by the metrics of a task.

    Attributes:
        task: Names the splits and their metrics.
        monitor: Name of the metric that picks the checkpoint.
        scores: Scores of the last evaluation, by the names that are logged.
        predicted: For each split of it, the number of examples predicted as each label.
        loss: The training loss; ``loss.plain``, without label smoothing, is that of evaluations.
        parts: The callbacks of a fit.
    """

    loss: TaskLoss
    parts: FitParts

    def score_on(self, task: TaskSpec) -> None:
        """Create the metrics of a task's splits, for the loss."""
        chosen = self.loss.chosen
        self.metrics = SplitMetrics(task, None if chosen is None else chosen.mean)
        self.task, self.monitor, self.documents = task, task.monitor, Documents()
        self.scores: dict[str, float] = {}
        self.predicted: dict[str, dict[str, int]] = {}

    @property
    def thresholds(self) -> list[float]:
        """Probability from which on each label of a multi-label task is predicted; empty for other tasks."""
        return self.metrics.thresholds

    def keep_thresholds(self, thresholds: Sequence[float]) -> None:
        """Predict the labels with the thresholds that were kept with the model, unless the task says a number.

        Raises:
            RunError: They are not one number between 0 and 1 for each label.
        """
        is_whole = len(thresholds) == len(self.thresholds) or not thresholds
        if not (is_whole and all(isinstance(value, float) and 0 < value < 1 for value in thresholds)):
            raise RunError(
                "The checkpoint is damaged: its thresholds are not one number above 0 and below 1 for each label. "
                "Take another one."
            )
        is_given = isinstance((self.hparams.get("custom") or {}).get("thresholds"), float)
        if thresholds and not is_given:
            self.metrics.use_thresholds(thresholds)

    def use_thresholds_of(self, config: Any) -> None:
        """Predict the labels as an exported model does: with its cut points, or with its thresholds.

        Args:
            config: The configuration of the Hugging Face model; thresholds that the task says win.
        """
        if self.task.is_multi_label:
            self.keep_thresholds(recorded_thresholds(config, self.task.labels))
        if self.task.levels and isinstance(record := getattr(config, "glue_lit", None), dict):
            self.use_cut_points(known_cut_points(record, self.task))

    def use_cut_points(self, cut_points: Sequence[float]) -> None:
        """Tell the label of a score by these cut points from now on, where labels are in order."""
        self.task = replace(self.task, cut_points=tuple(cut_points))
        self.metrics.use_cut_points(self.task)

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Add a batch to the metrics of its split; returns the logits."""
        return self._add_to_metrics(self.task.validation_splits[dataloader_idx], batch)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Add the labelled rows of a batch to the metrics of its split; returns the logits."""
        return self._add_to_metrics(self.task.test_splits[dataloader_idx], batch)

    def _add_to_metrics(self, split: str, batch: Batch) -> Tensor:
        logits: Tensor = self(batch)
        if "window" in batch:
            check_has_pooling(self.hparams["windows"])
            self.documents.add(split, logits, batch)
        else:
            self.metrics.of(split).add(logits, batch["labels"], self.loss.plain)
        return logits

    def on_validation_epoch_start(self) -> None:
        """Drop the rows of an interrupted evaluation."""
        self.metrics.reset()
        self.documents.clear()

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of every validation split."""
        self._log_scores(self.task.validation_splits)
        self.parts.position.note_scores(self.trainer)

    def on_test_epoch_end(self) -> None:
        """Log the metrics of every test split that has labels."""
        self._log_scores(self.task.test_splits)

    def _log_scores(self, splits: tuple[str, ...]) -> None:
        self.documents.score(self.trainer, self.metrics, self.loss.plain)
        if is_fit(self.trainer) and not self.trainer.sanity_checking:
            self.metrics.tune_thresholds()
            if (found := self.metrics.fit_cut_points()) is not None:
                self.use_cut_points(found)
        self.scores, self.predicted = self.metrics.compute(splits)
        for name, value in self.scores.items():  # already the same on every device
            on_host = torch.tensor(value, device="cpu")  # a number would be copied to the device and back
            self.log(name, on_host, prog_bar=name == self.monitor)
