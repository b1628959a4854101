"""`SequenceClassifier`: a Hugging Face encoder with a classification head, trained on one task."""

from typing import Annotated, Any

from lightning.pytorch import Callback
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import Optimizer

from glue_lit.data.accumulation import short_step_factor
from glue_lit.data.batches import Batch
from glue_lit.data.window_settings import plain_windows
from glue_lit.encoder.adapters import PeftMethod
from glue_lit.encoder.frozen_weights import FrozenDtype
from glue_lit.encoder.limits import accepted_inputs, compute_logits
from glue_lit.encoder.quantization import Quantization
from glue_lit.runs.settings import FACTOR, INTERNAL, SHARE, Setting, above, at_least, described, one_of
from glue_lit.system.precisions import Matmul, set_matmul_precision
from glue_lit.tasks.custom import parse_custom_task, plain, resolve_task
from glue_lit.training.chosen_optimizer import OptimizerClass
from glue_lit.training.compilation import ALLOWED, Compile
from glue_lit.training.divergence import NonFinite
from glue_lit.training.fit_part import is_fit
from glue_lit.training.fit_parts import FitParts, prepare_trainer
from glue_lit.training.gathering import raised_by_all
from glue_lit.training.hyperparameters import check_hyperparameters, plain_values
from glue_lit.training.lightning_internals import trainer_of
from glue_lit.training.lightning_internals.sharding import is_sharded, receives_values
from glue_lit.training.loss_choice import LossClass, LossName, check_loss
from glue_lit.training.losses import TaskLoss, r_drop_loss
from glue_lit.training.model_builder import ModelBuilder
from glue_lit.training.model_preparation import prepare_model
from glue_lit.training.optimizer import RecipeOptimizer
from glue_lit.training.saved_module import SavedModule
from glue_lit.training.schedule import Options, Schedule


class SequenceClassifier(SavedModule):
    """Any model that `AutoModelForSequenceClassification` supports, with the recipe that fine-tunes it.

    Args:
        task: Task to train on; `glue-lit tasks` lists them.
        name_or_path: Model name on the Hub, a folder, or pkg:PACKAGE/FOLDER inside an installed package.
        init_from: Run or checkpoint to start from instead of the pretrained weights, such as an mnli run for rte, mrpc
            or stsb; its head is used too if the labels are the same.
        learning_rate: Peak learning rate.
        weight_decay: The optimizer's weight decay of matrices and embeddings; biases and norms never decay.
        schedule: Learning rate schedule after the warm-up: linear or cosine (both to 0), constant, polynomial,
            cosine_with_restarts, or warmup_stable_decay (constant, then a decay at the end).
        warmup: Length of the warm-up: a fraction of all steps if below 1, else a number of steps.
        max_grad_norm: Clip the gradient to this L2 norm; 0 for no clipping. trainer.gradient_clip_val overrides it.
        non_finite: What to do about a step whose loss or gradient is not finite: stop the training, or skip the step.
        adam_beta1: AdamW's beta1, the decay of the running mean of gradients.
        adam_beta2: AdamW's beta2, the decay of the running mean of squared gradients.
        adam_eps: AdamW's epsilon.
        label_smoothing: Share of the target probability that is spread over all labels; 0 for no smoothing.
        r_drop: Weight of the R-Drop term, the divergence of two passes with different dropout masks; 0 for one pass.
        dropout: Dropout rate of hidden states, attention and head; null for the model's own rates.
        average: Decay of a moving average of the weights, which is validated and saved in their place: 0.99 averages
            over about the last 100 steps; 0 for no average.
        freeze: Freeze the embeddings and the first N layers (0: embeddings only; a decoder's layers follow those of the
            encoder); null trains everything.
        layer_decay: Ratio of each layer's learning rate to that of the layer above; the head uses learning_rate.
        peft: Train adapters and the head instead of the encoder: peft.LoraConfig, peft.IA3Config or another class of
            the package peft, with settings such as --model.peft.init_args.r 16.
        attention: Attention implementation (sdpa, eager, flash_attention_2 ...); null for transformers' choice.
        revision: Branch, tag or commit of the model on the Hub.
        trust_remote_code: Run Python code that comes with the model; only for authors you trust.
        custom: Your own task, as the data module describes it (``data.custom.settings()``).
        architecture: Configuration of a checkpoint's model as JSON (set by `load_from_checkpoint`).
        quantization: Keep the frozen linear layers in 4 bits (QLoRA) with model.peft peft.LoraConfig: 4bit, which needs
            the package bitsandbytes; null for model.dtype.
        base: Files of the model that a checkpoint's adapters belong to (set by `load_from_checkpoint`).
        schedule_options: For polynomial: power, lr_end; for cosine_with_restarts: num_cycles; for warmup_stable_decay:
            num_decay_steps (required; a fraction of all steps if below 1), decay_type, warmup_type, min_lr_ratio.
        gradient_checkpointing: Keep fewer activations in training and compute them again: less memory, more time.
        compile: Compile the model for training (torch.compile): true, false, or auto, which does it on a GPU for fits
            that are long enough to gain more than the minute or more that it takes. With reduce-overhead, one GPU
            replays CUDA graphs of it, one for each of data.length_buckets.
        metrics: Metrics beside the task's own, as the data module has them (``data.metrics``).
        optimizer: Class of the optimizer, such as torch.optim.SGD, torch.optim.Muon or one of another package, with
            settings such as --model.optimizer.init_args.momentum 0.9; null for AdamW with the adam_* settings.
        dtype: How weights that model.peft or model.freeze freezes are kept in training: float32; bfloat16 with
            bf16-mixed or float16 with 16-mixed, which takes half the memory and rounds them; auto for that half
            precision where it rounds nothing, as in a model that is stored in it.
        split_batches: Compute a training batch in parts if it does not fit into the GPU's memory; the steps stay the
            same.
        matmul_precision: Precision of float32 matrix products: highest (exact), high (TF32 on a GPU: faster, 10 bits of
            the mantissa), medium (bfloat16); null for torch's, which is highest. On a processor, too, medium may round.
        windows: Windows of long documents, as the data module has them (``data.windows``).
        loss: Training loss: focal; a class such as torch.nn.HuberLoss, with settings such as
            --model.loss.init_args.delta 0.5; or a function PACKAGE.NAME of logits and labels. It gives the mean over
            the rows, or the loss of each. Null for cross-entropy, or the mean squared error of scores.
        focal_gamma: How much less the focal loss counts rows that the model is sure of; 0 for cross-entropy.
    """

    @described
    def __init__(
        self,
        task: Annotated[str, Setting(card="never", hparams="always", restored=False)] = "cola",
        name_or_path: Annotated[str, Setting(None, "Model", 100, "always", "always")] = "distilbert-base-uncased",
        learning_rate: Annotated[float, Setting(at_least(0), row=200, card="always", hparams="always")] = 2e-5,
        weight_decay: Annotated[float, Setting(at_least(0), row=205, card="always")] = 0.01,
        schedule: Annotated[Schedule, Setting(one_of(Schedule), row=202, card="always")] = "linear",
        warmup: Annotated[float, Setting(at_least(0), "Warm-up", 204, card="always")] = 0.0,
        max_grad_norm: Annotated[float, Setting(at_least(0), "Largest gradient norm", 209, card="always")] = 1.0,
        non_finite: Annotated[NonFinite, Setting(one_of(NonFinite), "Steps that are not finite", 305)] = "stop",
        adam_beta1: Annotated[float, Setting(SHARE, "Adam beta 1", 206, card="always")] = 0.9,
        adam_beta2: Annotated[float, Setting(SHARE, "Adam beta 2", 207, card="always")] = 0.999,
        adam_eps: Annotated[float, Setting(above(0), "Adam epsilon", 208, card="always")] = 1e-8,
        label_smoothing: Annotated[float, Setting(SHARE, row=301)] = 0.0,
        r_drop: Annotated[float, Setting(at_least(0), "R-Drop", 302)] = 0.0,
        dropout: Annotated[float | None, Setting(SHARE, row=107)] = None,
        average: Annotated[float, Setting(SHARE, "Moving average of weights", 303)] = 0.0,
        freeze: Annotated[int | None, Setting(None, "Frozen layers", 105)] = None,
        layer_decay: Annotated[float, Setting(FACTOR, row=201)] = 1.0,
        attention: Annotated[str | None, Setting(row=106)] = None,
        revision: Annotated[str, Setting(None, "Model revision", 101)] = "main",
        trust_remote_code: Annotated[bool, Setting(None, "Runs the model's own code", 102, restored=False)] = False,
        init_from: Annotated[str | None, Setting(None, "Started from", 103, restored=False)] = None,
        peft: Annotated[PeftMethod | None, Setting(None, "Adapter", 104, restored=False)] = None,
        custom: Annotated[dict[str, Any] | None, INTERNAL] = None,
        architecture: Annotated[str | None, INTERNAL] = None,
        schedule_options: Annotated[Options | None, Setting(row=203)] = None,
        gradient_checkpointing: Annotated[bool, Setting(row=705, restored=False)] = False,
        compile: Annotated[Compile, Setting(ALLOWED, row=706, restored=False)] = "auto",
        metrics: Annotated[list[str | dict[str, Any]] | None, INTERNAL] = None,
        optimizer: Annotated[OptimizerClass | None, Setting(row=199, hparams="always", restored=False)] = None,
        dtype: Annotated[FrozenDtype, Setting(one_of(FrozenDtype), "Frozen weights", 108, restored=False)] = "float32",
        split_batches: Annotated[bool, Setting(card="never", restored=False)] = False,
        matmul_precision: Annotated[Matmul | None, Setting(one_of(Matmul), row=707, restored=False)] = None,
        quantization: Annotated[Quantization | None, Setting(one_of(Quantization), row=109, restored=False)] = None,
        base: Annotated[dict[str, Any] | None, INTERNAL] = None,
        windows: Annotated[dict[str, Any] | None, INTERNAL] = None,
        loss: Annotated[LossName | LossClass | str | None, Setting(row=310, restored=False)] = None,
        focal_gamma: Annotated[float, Setting(at_least(0), row=311)] = 2.0,
    ) -> None:
        super().__init__()
        custom, peft, optimizer, metrics, loss = plain_values(custom, peft, optimizer, metrics, loss)
        windows = plain_windows(windows)
        self.save_hyperparameters(ignore=["architecture", "base"])
        self._compose(architecture, base)

    def _compose(self, architecture: str | None, base: dict[str, Any] | None) -> None:
        """Check the hyperparameters, and create what they describe."""
        settings, custom = self.hparams, parse_custom_task(self.hparams["custom"])
        check_hyperparameters(type(self), settings)
        task = resolve_task(settings["task"], custom, plain(settings["metrics"]))
        check_loss(settings, task)
        self.loss = TaskLoss(task, settings["label_smoothing"], settings["loss"], settings["focal_gamma"])
        self.score_on(task)
        self.builder = ModelBuilder(self.task, settings, architecture, base)
        self.parts = FitParts(settings, RecipeOptimizer(settings))

    @property
    def has_recipe_optimizer(self) -> bool:
        """Whether the recipe's optimizer trains; a subclass's own optimizer trains all rows of the embedding."""
        return type(self).configure_optimizers is SequenceClassifier.configure_optimizers

    def build_model(
        self,
        must_have_trained_head: bool = False,
        padding: int | None = None,
        without_values: bool = False,
        precision: str | None = None,
    ) -> None:
        """Build the model if there is none yet: from a checkpoint's configuration, or with pretrained weights.

        Args:
            must_have_trained_head: Raise if the pretrained weights have no head for this task.
            padding: Padding id if the trainer has no data module with one; ``None`` for the configuration's own.
            without_values: Build it on the device ``meta``; the first process gives each device its part of the values.
            precision: The trainer's in a fit, so that weights are read as ``dtype`` says; else all are in float32.

        Raises:
            ModelError: The model cannot be loaded, or a checkpoint's labels are not the task's.
        """
        if "model" not in self._modules:
            of_data = getattr(getattr(trainer_of(self), "datamodule", None), "padding", None)
            padding = padding if of_data is None else of_data
            self.model = self.builder.build(must_have_trained_head, padding, without_values, precision)
            self.accepted = accepted_inputs(self.model)

    def configure_model(self) -> None:
        """Build the model; a fit with our data and optimizer trains only the embedding rows in use.

        Raises:
            ModelError: As `build_model`, or the model does not run in the trainer's precision.
        """
        set_matmul_precision(self.hparams["matmul_precision"])
        if (trainer := trainer_of(self)) is None:
            self.build_model()
            return
        with raised_by_all(is_sharded(trainer), "build the model"):
            precision = str(trainer.precision) if is_fit(trainer) else None
            self.build_model(without_values=receives_values(trainer), precision=precision)
        prepare_model(self, trainer)

    def forward(self, batch: Batch) -> Tensor:
        """Logits ``(batch, labels)`` in float32 (float64 for 64-true), or scores ``(batch, 1)`` for regression."""
        self.build_model()
        return compute_logits(self.model, {key: value for key, value in batch.items() if key in self.accepted})

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        return self.parts.loss(self, self._loss, batch)

    def _loss(self, batch: Batch) -> Tensor:
        weight = self.hparams["r_drop"]
        return r_drop_loss(self, self.loss, batch, weight) if weight else self.loss(self(batch), batch["labels"])

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Compute the gradient of a batch, scaled so that a step's gradient is the mean over its batches."""
        factor = short_step_factor(self.trainer) if self.automatic_optimization else 1.0
        super().backward(loss if factor == 1 else loss * factor, *args, **kwargs)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """The optimizer, and a schedule that changes the learning rate at every step."""
        return self.parts.optimizer.build(self)

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Stop at or skip a step that is not finite; else clip by the trainer's value or by ``max_grad_norm``."""
        limit = self.hparams["max_grad_norm"] if gradient_clip_val is None else gradient_clip_val
        self.parts.prepare_step(self, optimizer, limit, gradient_clip_algorithm)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Take the step, and free the gradients, which Lightning would keep until after the next forward pass."""
        super().optimizer_step(epoch, batch_idx, optimizer, *args, **kwargs)
        optimizer.zero_grad()
        self.parts.end_step()

    def configure_callbacks(self) -> list[Callback]:
        """The parts of a fit: position, seeds, guard, curves, final validation, moving average.

        Raises:
            UsageError: The trainer's strategy, processes or callbacks, or the loss is refused; raised before anything
                is built.
        """
        trainer: Any = self.trainer
        if trainer.state.fn != TrainerFn.PREDICTING:
            self.loss.load(in_parts=self.hparams["split_batches"])
        prepare_trainer(trainer, self)
        if not is_fit(trainer) or self.parts.position in trainer.callbacks:  # this trainer has run a fit already
            return []
        self.parts = FitParts(self.hparams, self.parts.optimizer)  # without state of another trainer's fit
        return self.parts.callbacks
