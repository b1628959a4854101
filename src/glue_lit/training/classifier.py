"""`SequenceClassifier`: a Hugging Face encoder with a classification head, trained on one task."""

import random
from functools import partial
from typing import Annotated, Any, Self, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_value_
from torch.optim import Optimizer

from glue_lit.data.batches import Batch
from glue_lit.encoder.adapters import PeftMethod, plain_settings
from glue_lit.evaluation.task_metrics import SplitMetrics
from glue_lit.runs.settings import FACTOR, NOT_SHOWN, SHARE, Setting, above, at_least, described, one_of
from glue_lit.system.environment import global_seed
from glue_lit.tasks.custom import custom_of, task_of
from glue_lit.training.divergence import DivergenceGuard, NonFinite, training_places
from glue_lit.training.fit_loop import score_every_end
from glue_lit.training.hyperparameters import check_hyperparameters
from glue_lit.training.losses import ClassWeights, twice, weighted_loss
from glue_lit.training.losses import r_drop as r_drop_penalty
from glue_lit.training.optimized_model import OptimizedModel
from glue_lit.training.optimizer import clip_with_norm, gradient_norm
from glue_lit.training.position import Position
from glue_lit.training.resume import batch_seed
from glue_lit.training.schedule import Options, Schedule
from glue_lit.training.tensorboard import points


class SequenceClassifier(OptimizedModel):
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
        custom = None if custom is None else custom_of(custom).settings()
        self.save_hyperparameters(ignore=["architecture", "peft"])
        # A checkpoint has them as plain values.
        self.save_hyperparameters({"peft": peft if peft is None or isinstance(peft, dict) else plain_settings(peft)})
        check_hyperparameters(type(self), self.hparams)
        self.task = task_of(task, custom_of(custom))
        self._architecture = architecture
        self.metrics = SplitMetrics(self.task)
        self.class_weights = ClassWeights(self.task.class_weights) if self.task.class_weights else None
        self.last_loss: Tensor | None = None  # of the last training batch, a scalar
        self.guard = DivergenceGuard(non_finite)
        self.epoch_loss = points.EpochLoss()
        self._point = points.TrainingPoint()
        self.position = Position()
        self._seed = 0

    # ---------------------------------------------------------------- checkpoints

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Self:
        """As Lightning's, but whether code may be run is the caller's word (``trust_remote_code``), not the file's."""
        return super().load_from_checkpoint(checkpoint_path, *args, **{"trust_remote_code": False} | kwargs)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep where training stands, as well as the model: the next fit goes on from there."""
        super().on_save_checkpoint(checkpoint)
        own = checkpoint["glue_lit"]
        own["skipped_steps"] = self.guard.skipped
        if self._is_fitting:
            own["scored_step"], own["scores"] = self.position.scored_step, self.scores
            means = {"point": self._point.state_dict(), "epoch_loss": self.epoch_loss.state_dict()}
            own["means"] = points.of_every_process(means, alone=self.trainer.interrupted)
            self.position.write(self.trainer, checkpoint["loops"]["fit_loop"])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting, where training goes on."""
        super().on_load_checkpoint(checkpoint)
        self.commit = checkpoint.get("glue_lit", {}).get("model_commit", self.commit)
        if self._is_fitting:
            own = checkpoint.get("glue_lit", {})
            self.guard.skipped = own.get("skipped_steps", 0)
            self.position.load(checkpoint)
            self.scores = own.get("scores", {})
            means = points.of_this_process(own, self.global_rank)
            self._point.load_state_dict(means.get("point", {}), self.device)
            self.epoch_loss.load_state_dict(means.get("epoch_loss", {}))

    # ---------------------------------------------------------------- training

    def training_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss that is minimised: `loss`, with class weights and smoothed labels where there are any."""
        smoothing = self.hparams["label_smoothing"]
        weights = self.class_weights
        if self.task.is_regression or (weights is None and not smoothing):
            return self.loss(logits, labels)
        return weighted_loss(logits, labels, None if weights is None else weights.values, smoothing)

    def on_fit_start(self) -> None:
        """See to it that the weights that the fit ends with are scored."""
        super().on_fit_start()
        score_every_end(self.trainer)

    def on_train_start(self) -> None:
        """Go on exactly where the checkpoint stands, if the fit continues from one."""
        super().on_train_start()
        self.position.begin(self.trainer)
        # What follows a validation may be left to do: the choice of the best checkpoint, an early end.
        self.trainer._logger_connector._callback_metrics |= {n: torch.tensor(score) for n, score in self.scores.items()}
        self._seed = torch.initial_seed() if (seed := global_seed()) is None else seed

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Draw the batch's dropout masks from its place in the training, so that a resumed fit draws the same."""
        self.position.begin_batch(self.trainer)
        seed = batch_seed(self._seed, self.trainer.current_epoch, batch_idx, self.global_rank)
        random.seed(seed)  # BigBird and code that comes with a model draw from these
        np.random.seed(seed % 2**32)
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

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by the trainer's own value if it has one, else by `max_grad_norm`; stop at what is not finite."""
        parameters = [p for p in self.parameters() if p.grad is not None]
        norm = gradient_norm(parameters)
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None  # which skips such steps itself
        rate, places = optimizer.param_groups[0]["lr"], partial(training_places, self.trainer)
        if not self.guard.passes(None if scaled else norm, self.global_step, rate, places):
            optimizer.zero_grad()  # without gradients, the step changes nothing
            self._point.leave_out()
            return
        losses = self._point.take(norm, may_overflow=scaled)
        self.epoch_loss.add(self.trainer.current_epoch, losses)
        self._log_point(optimizer)
        limit = self.hparams["max_grad_norm"] if gradient_clip_val is None else gradient_clip_val
        if limit and gradient_clip_algorithm == "value":
            clip_grad_value_(parameters, limit)  # Lightning's refuses a fused optimizer with bfloat16
        elif limit:
            clip_with_norm(optimizer, parameters, norm, limit)
        self.position.is_updating = True

    def _log_point(self, optimizer: Optimizer) -> None:
        """Log what the curves show of training, where a point is due: elsewhere it would cost more than it is worth."""
        if not points.is_point(self.trainer):
            return
        for name, value in self._point.means().items():
            # all devices have the same gradient, and each its own loss
            is_loss = name == "train/loss"
            self.log(name, value, prog_bar=is_loss, sync_dist=is_loss, batch_size=1)
        self.log_dict(points.learning_rates(optimizer.param_groups), batch_size=1)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Take the step, and free the gradients: Lightning would keep them until the next forward pass is through."""
        super().optimizer_step(epoch, batch_idx, optimizer, *args, **kwargs)
        optimizer.zero_grad()
        self.position.is_updating = False

    @property
    def is_between_steps(self) -> bool:
        """Whether the weights are whole: no optimizer step is in progress, and none broke off."""
        return not self.position.is_updating

    # ---------------------------------------------------------------- evaluation

    def on_validation_epoch_start(self) -> None:
        """Begin anew, also if an earlier evaluation broke off."""
        super().on_validation_epoch_start()
        self.position.is_validated = False

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of every validation split."""
        super().on_validation_epoch_end()
        self.position.is_validated = True
        if self._is_fitting and not self.trainer.sanity_checking:
            self.position.scored_step = self.trainer.global_step
