"""`SequenceClassifier`: a Hugging Face encoder with a classification head, trained on one task."""

import inspect
import os
from functools import cached_property
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from glue_lit import __version__
from glue_lit.adapters import PeftMethod, add_adapters, plain_settings, same_method
from glue_lit.averaging import WeightAverage, weights_to_train_on
from glue_lit.building import Built, build_from_architecture, build_from_run, build_pretrained, score_in_float32
from glue_lit.checkpoints import CHECKPOINT_FORMAT, read_checkpoint
from glue_lit.custom import custom_of, task_of
from glue_lit.data.batches import Batch
from glue_lit.divergence import DivergenceGuard, NonFinite
from glue_lit.dropout import cheapen_dropout, set_dropout
from glue_lit.hyperparameters import check_hyperparameters
from glue_lit.layers import freeze_layers, layered_groups
from glue_lit.losses import r_drop as r_drop_penalty
from glue_lit.losses import task_loss, twice, weighted_loss
from glue_lit.optim import (
    Schedule,
    build_adamw,
    clip_with_norm,
    parameter_groups,
    schedule_factor,
    set_anew,
    supports_fused,
    warmup_steps,
)
from glue_lit.resume import Position, batch_seed
from glue_lit.rows import decay_with, fit_moments, rows_of, train_rows, trained_rows
from glue_lit.runs import best_of
from glue_lit.scoring import SplitMetrics
from glue_lit.tracking.points import TrainingPoint, is_point, learning_rates


class SequenceClassifier(LightningModule):
    """Any encoder that `AutoModelForSequenceClassification` knows, with the recipe that fine-tunes it.

    The model itself is built when training or evaluation starts (or by `configure_model`), from the
    pretrained weights, or from a checkpoint alone if there is one.

    Args:
        task: Task to train on; `glue-lit tasks` lists them.
        name_or_path: Model name on the Hub, a folder, or pkg:PACKAGE/FOLDER inside an installed package.
        init_from: Run directory or checkpoint whose encoder (and head, if its labels are the same) training starts
            from, in place of the pretrained weights: mnli before rte, mrpc or stsb.
        learning_rate: Highest learning rate.
        weight_decay: Decay of matrices and embeddings (AdamW); biases and norms never decay.
        schedule: How the learning rate falls after warm-up: linear or cosine to 0, or constant.
        warmup: Length of the warm-up: below 1 a fraction of all steps, from 1 on a number of steps.
        max_grad_norm: Gradients with a larger L2 norm are scaled down to it; 0 turns that off.
            trainer.gradient_clip_val, if given, takes its place.
        non_finite: What to do at a step whose loss or gradient is not finite: stop, or skip it.
        adam_beta1: Decay of AdamW's mean of gradients.
        adam_beta2: Decay of AdamW's mean of squared gradients.
        adam_eps: AdamW's epsilon.
        label_smoothing: Share of the probability that training spreads over all labels; 0 for none.
        r_drop: Weight of the difference between two passes with other dropout masks (R-Drop); 0 for one pass.
        dropout: Rate of dropout on hidden states, attention and head; null for the model's own.
        average: Validate and keep a moving average of the weights, of which each step leaves this share: 0.99 averages
            over about the last 100 steps; 0 for the weights themselves.
        freeze: Leave the embeddings (0) and so many of the first layers as they are; null trains everything.
        layer_decay: Learning rate of each layer as a fraction of that of the layer above it; the head and what
            follows the layers have learning_rate itself, the embeddings the lowest.
        peft: Train adapters and the head in place of the encoder: peft.LoraConfig (its settings as
            --model.peft.init_args.r 16), peft.IA3Config and others of the package peft.
        attention: Attention implementation (sdpa, eager, flash_attention_2 ...); null for transformers' choice.
        revision: Branch, tag or commit on the Hub.
        trust_remote_code: Run code that comes with the model. Only for authors you trust.
        custom: What a task of your own is, as the data module has found it (``data.custom.settings()``).
        architecture: The model's configuration as JSON, if its weights come from a checkpoint (set by
            `load_from_checkpoint`).
    """

    model: Any  # a PreTrainedModel, once configure_model has built it

    def __init__(
        self,
        task: str = "cola",
        name_or_path: str = "distilbert-base-uncased",
        learning_rate: float = 2e-5,
        weight_decay: float = 0.01,
        schedule: Schedule = "linear",
        warmup: float = 0.0,
        max_grad_norm: float = 1.0,
        non_finite: NonFinite = "stop",
        adam_beta1: float = 0.9,
        adam_beta2: float = 0.999,
        adam_eps: float = 1e-8,
        label_smoothing: float = 0.0,
        r_drop: float = 0.0,
        dropout: float | None = None,
        average: float = 0.0,
        freeze: int | None = None,
        layer_decay: float = 1.0,
        attention: str | None = None,
        revision: str = "main",
        trust_remote_code: bool = False,
        init_from: str | None = None,
        peft: PeftMethod | None = None,
        custom: dict[str, Any] | None = None,
        architecture: str | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["architecture", "peft"])
        # A checkpoint has them as plain values.
        self.save_hyperparameters({"peft": peft if peft is None or isinstance(peft, dict) else plain_settings(peft)})
        check_hyperparameters(self.hparams)
        self.task = task_of(task, custom_of(custom))
        self._architecture = architecture
        self.must_be_trained = False  # whether to stop where the pretrained model's head is not one of this task
        self.has_trained_head = False  # whether it was one, once the model is built from pretrained weights
        self.metrics = SplitMetrics(self.task)
        self.scores: dict[str, float] = {}  # of the last evaluation, in float64
        self.predicted: dict[str, dict[str, int]] = {}  # by split: how many examples were given each label
        self._class_weights = torch.tensor(self.task.class_weights) if self.task.class_weights else None
        self.last_loss: Tensor | None = None  # of the last training batch, a scalar
        self.guard = DivergenceGuard(non_finite)
        self._point = TrainingPoint()
        self._position = Position()
        self._seed = 0
        self._tokens_before: Tensor | None = None

    # ---------------------------------------------------------------- the model

    def configure_model(self) -> None:
        """Build the model: from a checkpoint's configuration if there is one, else with pretrained weights.

        Raises:
            ModelError: It cannot be loaded, or a checkpoint's labels are not the task's.
        """
        self._build()
        if self._trainer is not None and self._trainer.state.fn == "fit":
            self._train_rows_in_use(self._trainer)

    def _build(self) -> None:
        if "model" in self._modules:
            return
        if self._architecture is not None:
            built = Built(build_from_architecture(self.task, self.hparams, self._architecture), False)
        elif self.hparams["init_from"] is not None:
            saved = read_checkpoint(best_of(self.hparams["init_from"]))
            built = build_from_run(self.task, self.hparams, saved)
        else:
            built = build_pretrained(self.task, self.hparams, self.must_be_trained)
        self.model, self.has_trained_head = built.model, built.has_trained_head
        if self.hparams["freeze"] is not None:
            freeze_layers(self.model, self.hparams["freeze"])
        score_in_float32(self.model)
        if self.hparams["dropout"] is not None:
            set_dropout(self.model, self.hparams["dropout"])
        cheapen_dropout(self.model)
        if self.hparams["peft"] is not None:
            self.hparams["peft"] = add_adapters(self.model, self.hparams["peft"], built.new)
        # from_pretrained returns the model in eval mode and Lightning keeps it so: no dropout in training.
        self.model.train()

    def _train_rows_in_use(self, trainer: Any) -> None:
        """Leave out what no training batch can touch, where data and optimizer are ours."""
        if self._optimizer_is_ours and hasattr(trainer.datamodule, "training_tokens"):
            tokens = trainer.datamodule.training_tokens()
            # Rows in use before the checkpoint go on moving by their moments.
            train_rows(self.model, tokens if self._tokens_before is None else torch.cat([tokens, self._tokens_before]))

    def use_architecture_of(self, checkpoint: dict[str, Any]) -> None:
        """Build the model as a checkpoint says, because its weights will be loaded: no Hub, no pretrained weights."""
        self._architecture = checkpoint["hyper_parameters"]["architecture"]
        self.hparams["peft"] = same_method(self.hparams["peft"], checkpoint["hyper_parameters"].get("peft"))
        self._tokens_before = rows_of(checkpoint)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the configuration with the weights, so that loading needs no Hub and no pretrained weights."""
        hyper_parameters = dict(checkpoint.get("hyper_parameters", {}))
        hyper_parameters["architecture"] = self.model.config.to_json_string(use_diff=False)
        checkpoint["hyper_parameters"] = hyper_parameters
        checkpoint["glue_lit"] = {
            "format": CHECKPOINT_FORMAT,
            "version": __version__,
            "precision": str(self.trainer.precision),
            "skipped_steps": self.guard.skipped,
        }
        if (table := trained_rows(self)) is not None:
            checkpoint["glue_lit"]["rows"] = table.tokens.cpu()
        if self.trainer.state.fn == "fit":
            checkpoint["glue_lit"]["point"] = self._point.state_dict()
            self._position.write(self.trainer, checkpoint["loops"]["fit_loop"])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting, where training goes on."""
        if self._trainer is not None and self._trainer.state.fn == "fit":
            own = checkpoint.get("glue_lit", {})
            self.guard.skipped = own.get("skipped_steps", 0)
            self._point.load_state_dict(own.get("point", {}), self.device)
            if not self.hparams["average"]:
                weights_to_train_on(checkpoint)
            if self._optimizer_is_ours:
                parameters = [p for group in self._parameter_groups() for p in group["params"]]
                fit_moments(self, parameters, checkpoint)

    @property
    def monitor(self) -> str:
        """Logged name of the metric that picks the checkpoint: higher is better."""
        return self.task.monitor

    @cached_property
    def _accepted(self) -> frozenset[str]:
        """Batch keys that the model's forward takes; it would swallow others without a word."""
        names = inspect.signature(self.model.forward).parameters
        return frozenset(names) & {"input_ids", "attention_mask", "token_type_ids"}

    def forward(self, batch: Batch) -> Tensor:
        """Logits ``(batch, labels)`` in float32, or scores ``(batch, 1)`` for regression."""
        self._build()
        output = self.model(**{key: value for key, value in batch.items() if key in self._accepted})
        logits: Tensor = output.logits
        return logits.float()

    # ---------------------------------------------------------------- training

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy, or mean squared error for regression; ``labels`` is ``(batch,)``, all known."""
        return task_loss(logits, labels, self.task.is_regression)

    def training_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss that is minimised: `loss`, with class weights and smoothed labels where there are any."""
        smoothing = self.hparams["label_smoothing"]
        if self.task.is_regression or (self._class_weights is None and not smoothing):
            return self.loss(logits, labels)
        return weighted_loss(logits, labels, self._class_weights, smoothing)

    def configure_callbacks(self) -> list[Callback]:
        """What the recipe adds to the trainer's callbacks."""
        is_fit = self.trainer.state.fn == "fit"
        return [WeightAverage(self.hparams["average"])] if is_fit and self.hparams["average"] else []

    def on_train_start(self) -> None:
        """Go on exactly where the checkpoint stands, if the fit continues from one."""
        self._position.begin(self.trainer)
        self._seed = int(os.environ.get("PL_GLOBAL_SEED", torch.initial_seed()))
        for config in self.trainer.lr_scheduler_configs if self._optimizer_is_ours else ():
            if isinstance(config.scheduler, LambdaLR):  # a new learning rate is meant, not the checkpoint's
                set_anew(config.scheduler.optimizer, config.scheduler, **self._adamw)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Draw the batch's dropout masks from its place in the training, so that a resumed fit draws the same."""
        self._position.begin_batch(self.trainer)
        seed = batch_seed(self._seed, self.trainer.current_epoch, batch_idx, self.global_rank)
        if self.device.type == "cpu":
            torch.default_generator.manual_seed(seed)  # the same as torch.manual_seed, without a tour of all devices
        else:
            torch.manual_seed(seed)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        if alpha := self.hparams["r_drop"]:
            logits, again = self(twice(batch)).chunk(2)
            loss = (self.training_loss(logits, batch["labels"]) + self.training_loss(again, batch["labels"])) / 2
            loss = loss + alpha * r_drop_penalty(logits, again, self.task.is_regression)
        else:
            loss = self.training_loss(self(batch), batch["labels"])
        self.guard.add(batch["idx"], loss)
        self._point.add(loss)
        self.last_loss = loss.detach()
        return loss

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW and a schedule that moves every step."""
        hp, adamw = self.hparams, self._adamw
        total = int(self.trainer.estimated_stepping_batches)
        optimizer = build_adamw(
            self._parameter_groups(),
            adamw["lr"],
            adamw["betas"],
            adamw["eps"],
            fused=supports_fused(self.device, str(self.trainer.precision)),
        )
        if (table := trained_rows(self.model)) is not None:
            decay_with(optimizer, table)
        scheduler = LambdaLR(optimizer, schedule_factor(hp["schedule"], warmup_steps(hp["warmup"], total), total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _parameter_groups(self) -> list[dict[str, Any]]:
        groups = parameter_groups(self.model, self.hparams["weight_decay"])
        return layered_groups(groups, self.model, self.hparams["learning_rate"], self.hparams["layer_decay"])

    @property
    def _optimizer_is_ours(self) -> bool:
        return type(self).configure_optimizers is SequenceClassifier.configure_optimizers

    @property
    def _adamw(self) -> dict[str, Any]:
        hp = self.hparams
        return {
            "lr": hp["learning_rate"],
            "betas": (hp["adam_beta1"], hp["adam_beta2"]),
            "eps": hp["adam_eps"],
            "weight_decay": hp["weight_decay"],
        }

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by the trainer's own value if it has one, else by `max_grad_norm`; stop at what is not finite."""
        parameters = [p for p in self.parameters() if p.grad is not None]
        norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None  # which skips such steps itself
        if not self.guard.passes(None if scaled else norm, self.global_step, optimizer.param_groups[0]["lr"]):
            optimizer.zero_grad()  # without gradients, the step changes nothing
            self._point.leave_out()
            return
        self._point.take(norm, may_overflow=scaled)
        self._log_point(optimizer)
        limit = self.hparams["max_grad_norm"] if gradient_clip_val is None else gradient_clip_val
        if limit and gradient_clip_algorithm == "value":
            self.clip_gradients(optimizer, limit, gradient_clip_algorithm)
        elif limit:
            clip_with_norm(optimizer, parameters, norm, limit)
        self._position.is_updating = True

    def _log_point(self, optimizer: Optimizer) -> None:
        """Log what the curves show of training, where a point is due: elsewhere it would cost more than it is worth."""
        if not is_point(self.trainer):
            return
        for name, value in self._point.means().items():
            # all devices have the same gradient, and each its own loss
            is_loss = name == "train/loss"
            self.log(name, value, prog_bar=is_loss, sync_dist=is_loss, batch_size=1)
        self.log_dict(learning_rates(optimizer.param_groups), batch_size=1)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Take the step, and free the gradients: Lightning would keep them until the next forward pass is through."""
        super().optimizer_step(epoch, batch_idx, optimizer, *args, **kwargs)
        optimizer.zero_grad()
        self._position.is_updating = False

    @property
    def is_between_steps(self) -> bool:
        """Whether the weights are whole: no optimizer step is in progress, and none broke off."""
        return not self._position.is_updating

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
        self.metrics.add(split, logits, batch["labels"], self.loss)
        return logits

    def on_validation_epoch_start(self) -> None:
        """Begin with empty metrics, also if an earlier evaluation broke off."""
        self._position.is_validated = False
        self.metrics.reset()

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of every validation split."""
        self._log_scores(self.task.validation_splits)
        self._position.is_validated = True

    def on_test_epoch_end(self) -> None:
        """Log the metrics of every test split that has labels."""
        self._log_scores(self.task.test_splits)

    def _log_scores(self, splits: tuple[str, ...]) -> None:
        self.scores, self.predicted = self.metrics.compute(splits)
        for name, value in self.scores.items():  # already the same on every device
            self.log(name, value, prog_bar=name == self.monitor)
