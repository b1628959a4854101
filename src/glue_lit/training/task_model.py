"""A Hugging Face model for one task: how it is built, scored, and kept in checkpoints; nothing of training."""

import inspect
from functools import cached_property
from typing import Any

from lightning.pytorch import LightningModule
from torch import Tensor

from glue_lit.data.batches import Batch
from glue_lit.encoder.adapters import add_adapters, method_asked_for, same_method
from glue_lit.encoder.build import Built, build_from_architecture, build_from_run, build_pretrained, score_in_float32
from glue_lit.encoder.cheap_dropout import cheapen_dropout, set_dropout
from glue_lit.encoder.layers import freeze_layers
from glue_lit.encoder.limits import check_precision_of, check_runs_here, filled_for_training, own_failure
from glue_lit.encoder.merging import check_can_be_merged
from glue_lit.encoder.reformer import draw_repeatably
from glue_lit.encoder.sparse_attention import choose_attention_by_length
from glue_lit.evaluation.task_metrics import SplitMetrics
from glue_lit.runs.checkpoints import CHECKPOINT_FORMAT, read_checkpoint
from glue_lit.runs.run import best_checkpoint
from glue_lit.system.precisions import at_least_float32, keep_labels_exact
from glue_lit.system.version import __version__
from glue_lit.tasks.glue import TaskSpec
from glue_lit.training.losses import task_loss


class TaskModel(LightningModule):
    """The model of a task with its metrics; the settings (``hparams``) are those of `SequenceClassifier`.

    Attributes:
        model: A PreTrainedModel, once `configure_model` has built it.
        task: What it is for; set by the class that has the settings, as are the metrics.
        metrics: Of the task's splits.
        must_be_trained: Whether to stop where the pretrained model's head is not one of this task.
        padding: The padding id that its configuration is given where the trainer's data module says none; ``None`` for
            its own.
        has_trained_head: Whether it was one, once the model is built from pretrained weights.
        scores: Of the last evaluation, in float64.
        predicted: By split how many examples were given each label.
        commit: The commit on the Hub that the pretrained weights were of, once the model is built; ``None`` where they
            came from a folder.
    """

    model: Any
    task: TaskSpec
    metrics: SplitMetrics

    def __init__(self) -> None:
        super().__init__()
        self.must_be_trained = False
        self.padding: int | None = None
        self.has_trained_head = False
        self.scores: dict[str, float] = {}
        self.predicted: dict[str, dict[str, int]] = {}
        self.commit: str | None = None
        self._architecture: str | None = None
        self._fixed: list[str] | None = None  # parameters that the pretrained model leaves as they are
        self._method: dict[str, Any] | None = None  # of adapters, as the user asked for it

    # ---------------------------------------------------------------- the model

    def setup(self, stage: str) -> None:
        """Score against the labels as they are, in every precision."""
        keep_labels_exact(self.trainer)

    def configure_model(self) -> None:
        """Build the model: from a checkpoint's configuration if there is one, else with pretrained weights.

        Raises:
            ModelError: It cannot be loaded, a checkpoint's labels are not the task's, or it does not run in the
                trainer's precision.
        """
        self._build()
        if self._trainer is not None:
            check_precision_of(self.model, str(self._trainer.precision))

    def _build(self) -> None:
        if "model" in self._modules:
            return
        padding = self._padding_id
        if self._architecture is not None:
            built = Built(build_from_architecture(self.task, self.hparams, self._architecture, padding), False)
        elif self.hparams["init_from"] is not None:
            saved = read_checkpoint(best_checkpoint(self.hparams["init_from"]))
            built = build_from_run(self.task, self.hparams, saved, padding)
        else:
            built = build_pretrained(self.task, self.hparams, self.must_be_trained, padding)
        check_runs_here(built.model)
        draw_repeatably(built.model)
        self.model, self.has_trained_head = built.model, built.has_trained_head
        self.commit = built.commit or self.commit
        self._fix_parameters()
        choose_attention_by_length(self.model)
        if self.hparams["freeze"] is not None:
            freeze_layers(self.model, self.hparams["freeze"])
        score_in_float32(self.model)
        if self.hparams["dropout"] is not None:
            set_dropout(self.model, self.hparams["dropout"])
        cheapen_dropout(self.model)
        if self.hparams["peft"] is not None:
            self._method = self._method or dict(self.hparams["peft"])
            self.hparams["peft"] = add_adapters(self.model, self.hparams["peft"], built.new)
            if self._architecture is None:  # nobody is to train what cannot be exported
                check_can_be_merged(self.model)
        # from_pretrained returns the model in eval mode and Lightning keeps it so: no dropout in training.
        self.model.train()

    @property
    def _padding_id(self) -> int | None:
        data: Any = getattr(self._trainer, "datamodule", None)
        found: int | None = getattr(data, "padding", None)
        return self.padding if found is None else found

    def _fix_parameters(self) -> None:
        """Let a checkpoint's model train what the pretrained one did: made anew, RoFormer fixes its positions."""
        if self._architecture is None:
            self._fixed = [name for name, parameter in self.model.named_parameters() if not parameter.requires_grad]
        for name, parameter in self.model.named_parameters():
            if parameter.is_floating_point():
                parameter.requires_grad_(name not in (self._fixed or ()))

    def use_architecture_of(self, checkpoint: dict[str, Any]) -> None:
        """Build the model as a checkpoint says, because its weights will be loaded: no Hub, no pretrained weights."""
        self._architecture = checkpoint["hyper_parameters"]["architecture"]
        self.commit = checkpoint.get("glue_lit", {}).get("model_commit")
        own = checkpoint.get("glue_lit") or {}
        self._fixed = own["fixed"] if isinstance(own.get("fixed"), list) else None
        self._method = method_asked_for(checkpoint)
        self.hparams["peft"] = same_method(
            self.hparams["peft"], checkpoint["hyper_parameters"].get("peft"), self._method
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the configuration with the weights, so that loading needs no Hub and no pretrained weights."""
        hyper_parameters = dict(checkpoint.get("hyper_parameters", {}))
        hyper_parameters["architecture"] = self.model.config.to_json_string(use_diff=False)
        checkpoint["hyper_parameters"] = hyper_parameters
        checkpoint["glue_lit"] = {
            "format": CHECKPOINT_FORMAT,
            "version": __version__,
            "precision": str(self.trainer.precision),
            "model_commit": self.commit,
            "fixed": self._fixed,
            "peft": self._method,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the weights up in the trainer's precision: Lightning converts the model after it has loaded them."""
        super().on_load_checkpoint(checkpoint)
        if self._trainer is not None:
            self._trainer.precision_plugin.convert_module(self)

    @property
    def _is_fitting(self) -> bool:
        return self._trainer is not None and self._trainer.state.fn == "fit"

    @property
    def monitor(self) -> str:
        """Logged name of the metric that picks the checkpoint: higher is better."""
        return self.task.monitor

    @cached_property
    def accepted(self) -> frozenset[str]:
        """Batch keys that the model's forward takes; it would swallow others without a word."""
        names = inspect.signature(self.model.forward).parameters
        return frozenset(names) & {"input_ids", "attention_mask", "token_type_ids"}

    def forward(self, batch: Batch) -> Tensor:
        """Logits ``(batch, labels)`` in float32 (float64 for 64-true), or scores ``(batch, 1)`` for regression.

        Raises:
            ModelError: The model's own code stops at the batch.
        """
        self._build()
        inputs = {key: value for key, value in batch.items() if key in self.accepted}
        if self.model.config.model_type == "gemma3":  # its types mark images; transformers 5.0 trains with them alone
            inputs["token_type_ids"] = batch["input_ids"].new_zeros(batch["input_ids"].shape)
        try:
            output = self.model(**filled_for_training(self.model, inputs))
        except Exception as error:
            if (explained := own_failure(self.model, error)) is None:
                raise
            raise explained from error
        return at_least_float32(output.logits)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy, or mean squared error for regression; ``labels`` is ``(batch,)``, all known."""
        return task_loss(logits, labels, self.task.is_regression)

    # ---------------------------------------------------------------- evaluation

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Add a batch to the metrics of its split; returns the logits."""
        return self._score(self.task.validation_splits[dataloader_idx], batch)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Add a batch to the metrics of its split, as far as it is labelled; returns the logits."""
        return self._score(self.task.test_splits[dataloader_idx], batch)

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Logits ``(batch, labels)``."""
        logits: Tensor = self(batch)
        return logits

    def _score(self, split: str, batch: Batch) -> Tensor:
        logits: Tensor = self(batch)
        self.metrics.of(split).add(logits, batch["labels"], self.loss)
        return logits

    def on_validation_epoch_start(self) -> None:
        """Begin with empty metrics, also if an earlier evaluation broke off."""
        self.metrics.reset()

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of every validation split."""
        self._log_scores(self.task.validation_splits)

    def on_test_epoch_end(self) -> None:
        """Log the metrics of every test split that has labels."""
        self._log_scores(self.task.test_splits)

    def _log_scores(self, splits: tuple[str, ...]) -> None:
        self.scores, self.predicted = self.metrics.compute(splits)
        for name, value in self.scores.items():  # already the same on every device
            self.log(name, value, prog_bar=name == self.monitor)
