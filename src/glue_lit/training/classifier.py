"""`SequenceClassifier`: a Hugging Face encoder with a classification head, trained on one task."""

from functools import cached_property, partial
from typing import Annotated, Any, Self, get_args

from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import Optimizer

from glue_lit.data.accumulation import short_step_factor
from glue_lit.data.batches import Batch
from glue_lit.encoder.adapters import PeftMethod, plain_settings
from glue_lit.encoder.limits import accepted_inputs, check_precision_of, compute_logits
from glue_lit.evaluation.task_metrics import SplitMetrics
from glue_lit.runs.settings import FACTOR, NOT_SHOWN, SHARE, Setting, above, at_least, described, one_of
from glue_lit.system.precisions import keep_labels_exact
from glue_lit.tasks.custom import parse_custom_task, resolve_task
from glue_lit.training.averaging import WeightAverage, restore_trained_weights
from glue_lit.training.batch_seeds import BatchSeeds
from glue_lit.training.callbacks.model_summary import plain_summaries
from glue_lit.training.divergence import DivergenceGuard, NonFinite, find_training_places
from glue_lit.training.fit_checks import check_fit
from glue_lit.training.fit_part import is_fit
from glue_lit.training.hyperparameters import check_hyperparameters
from glue_lit.training.lightning_internals import trainer_of
from glue_lit.training.lightning_internals.loops import FinalValidation
from glue_lit.training.losses import ClassWeights, r_drop_loss, task_loss, weighted_loss
from glue_lit.training.model_builder import ModelBuilder
from glue_lit.training.optimizer import RecipeOptimizer, clip_gradient, gradient_norm
from glue_lit.training.position import Position
from glue_lit.training.processes import check_processes
from glue_lit.training.schedule import Options, Schedule
from glue_lit.training.tensorboard.points import TrainingCurves
from glue_lit.training.unused_parameters import find_unused


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
        schedule: How the learning rate goes on after the warm-up: linear or cosine to 0; constant; polynomial;
            cosine_with_restarts; or warmup_stable_decay, which holds it and falls at the end.
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
        freeze: Leave the embeddings (0) and so many of the first layers as they are; null trains everything. A
            decoder's layers follow its encoder's.
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
        schedule_options: What a schedule takes besides, as transformers has it. Of polynomial: power, lr_end; of
            cosine_with_restarts: num_cycles; of warmup_stable_decay: num_decay_steps (needed; below 1 a fraction of
            all steps), decay_type, warmup_type, min_lr_ratio.
    """

    @described
    def __init__(
        self,
        task: Annotated[str, Setting(card="never", hparams="always")] = "cola",
        name_or_path: Annotated[
            str, Setting(label="Model", card="always", hparams="always")
        ] = "distilbert-base-uncased",
        learning_rate: Annotated[float, Setting(at_least(0), card="always", hparams="always")] = 2e-5,
        weight_decay: Annotated[float, Setting(at_least(0), card="always")] = 0.01,
        schedule: Annotated[Schedule, Setting(one_of(*get_args(Schedule)), card="always")] = "linear",
        warmup: Annotated[float, Setting(at_least(0), "Warm-up", card="always")] = 0.0,
        max_grad_norm: Annotated[float, Setting(at_least(0), "Largest gradient norm", card="always")] = 1.0,
        non_finite: Annotated[NonFinite, Setting(one_of(*get_args(NonFinite)), "Steps that are not finite")] = "stop",
        adam_beta1: Annotated[float, Setting(SHARE, "Adam beta 1", card="always")] = 0.9,
        adam_beta2: Annotated[float, Setting(SHARE, "Adam beta 2", card="always")] = 0.999,
        # An epsilon of 0 divides by nothing where a gradient is zero.
        adam_eps: Annotated[float, Setting(above(0), "Adam epsilon", card="always")] = 1e-8,
        label_smoothing: Annotated[float, Setting(SHARE)] = 0.0,
        r_drop: Annotated[float, Setting(at_least(0), "R-Drop")] = 0.0,
        dropout: Annotated[float | None, Setting(SHARE)] = None,
        average: Annotated[float, Setting(SHARE, "Moving average of weights")] = 0.0,
        freeze: Annotated[int | None, Setting(label="Frozen layers")] = None,
        layer_decay: Annotated[float, Setting(FACTOR)] = 1.0,
        attention: str | None = None,
        revision: Annotated[str, Setting(label="Model revision")] = "main",
        trust_remote_code: Annotated[bool, Setting(label="Runs the model's own code")] = False,
        init_from: Annotated[str | None, Setting(label="Started from")] = None,
        peft: Annotated[PeftMethod | None, Setting(label="Adapter")] = None,
        custom: Annotated[dict[str, Any] | None, NOT_SHOWN] = None,
        architecture: Annotated[str | None, NOT_SHOWN] = None,
        schedule_options: Options | None = None,
    ) -> None:
        super().__init__()
        custom = None if custom is None else parse_custom_task(custom).settings()
        self.save_hyperparameters(ignore=["architecture", "peft"])
        # A checkpoint has them as plain values.
        self.save_hyperparameters({"peft": peft if peft is None or isinstance(peft, dict) else plain_settings(peft)})
        check_hyperparameters(type(self), self.hparams)
        self.task = resolve_task(task, parse_custom_task(custom))
        self.metrics = SplitMetrics(self.task)
        self.scores: dict[str, float] = {}
        self.predicted: dict[str, dict[str, int]] = {}
        self.class_weights = ClassWeights(self.task.class_weights) if self.task.class_weights else None
        self.builder = ModelBuilder(self.task, self.hparams, architecture)
        self.recipe_optimizer = RecipeOptimizer(self.hparams)
        self.position = Position()
        self.guard = DivergenceGuard(non_finite)
        self.curves = TrainingCurves()
        self._parts: list[Callback] = [BatchSeeds(), FinalValidation()]
        self._parts += [self.recipe_optimizer, self.position, self.guard, self.curves]

    @property
    def monitor(self) -> str:
        """Logged name of the metric that picks the checkpoint: higher is better."""
        return self.task.monitor

    # ---------------------------------------------------------------- the model

    def setup(self, stage: str) -> None:
        """Score against the labels as they are, in every precision."""
        keep_labels_exact(self.trainer)

    def build_model(self, must_have_trained_head: bool = False, padding: int | None = None) -> None:
        """Build the model, unless there is one: from a checkpoint's configuration, else with pretrained weights.

        Args:
            must_have_trained_head: Stop where the pretrained weights have no head of this task.
            padding: The padding id that the model's configuration is given; ``None`` for that of the trainer's data
                module, if there is one, else for the configuration's own.

        Raises:
            ModelError: It cannot be loaded, or a checkpoint's labels are not the task's.
        """
        if "model" not in self._modules:
            data = getattr(trainer_of(self), "datamodule", None)
            of_data = getattr(data, "padding", None)
            self.model = self.builder.build(must_have_trained_head, padding if of_data is None else of_data)

    def configure_model(self) -> None:
        """Build the model; a fit leaves out what no training batch can touch, where data and optimizer are ours.

        Raises:
            ModelError: As `build_model`, or the model does not run in the trainer's precision.
        """
        self.build_model()
        if (trainer := trainer_of(self)) is None:
            return
        check_precision_of(self.model, str(trainer.precision))
        if is_fit(trainer):
            if self.has_recipe_optimizer:
                self.recipe_optimizer.choose_rows(self.model, trainer)
            find_unused(self, trainer)

    @cached_property
    def accepted(self) -> frozenset[str]:
        """Batch keys that the model's forward takes; it would swallow others without a word."""
        return accepted_inputs(self.model)

    def forward(self, batch: Batch) -> Tensor:
        """Logits ``(batch, labels)`` in float32 (float64 for 64-true), or scores ``(batch, 1)`` for regression.

        Raises:
            ModelError: The model's own code stops at the batch.
        """
        self.build_model()
        return compute_logits(self.model, {key: value for key, value in batch.items() if key in self.accepted})

    # ---------------------------------------------------------------- training

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy, or mean squared error for regression; ``labels`` is ``(batch,)``, all known."""
        return task_loss(logits, labels, self.task.is_regression)

    def training_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss that is minimised: `loss`, with class weights and smoothed labels where there are any."""
        smoothing, weights = self.hparams["label_smoothing"], self.class_weights
        if self.task.is_regression or (weights is None and not smoothing):
            return self.loss(logits, labels)
        return weighted_loss(logits, labels, None if weights is None else weights.values, smoothing)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        if weight := self.hparams["r_drop"]:
            loss = r_drop_loss(self, batch, weight)
        else:
            loss = self.training_loss(self(batch), batch["labels"])
        self.guard.note_batch(batch["idx"], loss)
        self.curves.note_batch(loss)
        return loss

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Add a batch's gradient to that of its step, which is the mean over the batches that the step has."""
        factor = short_step_factor(self.trainer) if self.automatic_optimization else 1.0
        super().backward(loss if factor == 1 else loss * factor, *args, **kwargs)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW and a schedule that moves every step."""
        return self.recipe_optimizer.build(self)

    @property
    def has_recipe_optimizer(self) -> bool:
        """Whether the optimizer is the recipe's; with another, all embedding rows are trained, and kept as they are."""
        return type(self).configure_optimizers is SequenceClassifier.configure_optimizers

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by the trainer's own value if it has one, else by `max_grad_norm`; stop at what is not finite."""
        parameters = [p for p in self.parameters() if p.grad is not None]
        norm = gradient_norm(parameters)
        # float16's loss scaling leaves out steps with an infinite gradient by itself
        is_scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        rate, find_places = optimizer.param_groups[0]["lr"], partial(find_training_places, self.trainer)
        if not self.guard.allows_step(None if is_scaled else norm, self.global_step, rate, find_places):
            optimizer.zero_grad()  # without gradients, the step changes nothing
            self.curves.leave_step_out()
            return
        self.curves.take_step(self, optimizer, norm, may_overflow=is_scaled)
        limit = self.hparams["max_grad_norm"] if gradient_clip_val is None else gradient_clip_val
        clip_gradient(optimizer, parameters, norm, limit, gradient_clip_algorithm)
        self.position.is_updating = True

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Take the step, and free the gradients: Lightning would keep them until the next forward pass is through."""
        super().optimizer_step(epoch, batch_idx, optimizer, *args, **kwargs)
        optimizer.zero_grad()
        self.position.is_updating = False

    def configure_callbacks(self) -> list[Callback]:
        """What goes along with every fit: position and seeds, guard, curves, final validation, moving average.

        Raises:
            UsageError: Processes would train without each other, or each a part of the model; or a callback would
                change the training without a word, or waits for a value that is not logged. (No hook comes before.)
        """
        trainer: Any = self.trainer
        check_processes(trainer)
        if not is_fit(trainer):
            return []
        check_fit(trainer, self.task, type(self))
        decay = self.hparams["average"]
        parts = [part for part in self._parts if part not in trainer.callbacks]  # as after a fit
        return [*parts, *([WeightAverage(decay)] if decay else []), *plain_summaries(trainer.callbacks)]

    # ---------------------------------------------------------------- evaluation

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Add a batch to the metrics of its split; returns the logits."""
        return self._add_to_metrics(self.task.validation_splits[dataloader_idx], batch)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Add the labelled rows of a batch to the metrics of its split; returns the logits."""
        return self._add_to_metrics(self.task.test_splits[dataloader_idx], batch)

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Logits ``(batch, labels)``."""
        logits: Tensor = self(batch)
        return logits

    def _add_to_metrics(self, split: str, batch: Batch) -> Tensor:
        logits: Tensor = self(batch)
        self.metrics.of(split).add(logits, batch["labels"], self.loss)
        return logits

    def on_validation_epoch_start(self) -> None:
        """Forget the rows of an earlier evaluation, which may have broken off."""
        self.metrics.reset()

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of every validation split."""
        self._log_scores(self.task.validation_splits)
        self.position.note_scores(self.trainer)

    def on_test_epoch_end(self) -> None:
        """Log the metrics of every test split that has labels."""
        self._log_scores(self.task.test_splits)

    def _log_scores(self, splits: tuple[str, ...]) -> None:
        self.scores, self.predicted = self.metrics.compute(splits)
        for name, value in self.scores.items():  # already the same on every device
            self.log(name, value, prog_bar=name == self.monitor)

    # ---------------------------------------------------------------- checkpoints

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Self:
        """As Lightning's, but whether code may be run is the caller's word (``trust_remote_code``), not the file's."""
        return super().load_from_checkpoint(checkpoint_path, *args, **{"trust_remote_code": False} | kwargs)

    def use_architecture_of(self, checkpoint: dict[str, Any]) -> None:
        """Build the model from a checkpoint's configuration, since its weights will be loaded: no Hub is needed."""
        self.builder.use_checkpoint(checkpoint)
        self.recipe_optimizer.use_checkpoint(checkpoint)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the configuration with the weights, so that loading needs no Hub and no pretrained weights."""
        self.builder.describe(self.model, checkpoint)
        own = {"precision": str(self.trainer.precision)} | self.recipe_optimizer.rows_in_use(self.model)
        checkpoint["glue_lit"] |= own | ({"scores": self.scores} if is_fit(self.trainer) else {})

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the weights in the trainer's precision: Lightning converts the model after it has loaded them.

        Raises:
            RunError: The optimizer would train other parameters than the checkpoint's, or in other groups.
        """
        own = checkpoint.get("glue_lit", {})
        self.builder.commit = own.get("model_commit", self.builder.commit)
        if (trainer := trainer_of(self)) is None:
            return
        trainer.precision_plugin.convert_module(self)
        if is_fit(trainer):
            self.scores = own.get("scores", {})
            if not self.hparams["average"]:
                restore_trained_weights(checkpoint)
            if self.has_recipe_optimizer:
                self.recipe_optimizer.restore(self, checkpoint)
