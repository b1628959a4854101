"""`SequenceClassifier`: a Hugging Face encoder with a classification head, trained on one task."""

import inspect
import json
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from glue_lit import pretrained
from glue_lit.data.batches import Batch
from glue_lit.errors import ModelError, UsageError
from glue_lit.metrics import TaskMetrics
from glue_lit.optim import Schedule, build_adamw, parameter_groups, schedule_factor, supports_fused, warmup_steps
from glue_lit.tasks import get_task, log_prefix


class SequenceClassifier(LightningModule):
    """Any encoder that `AutoModelForSequenceClassification` knows, with the recipe that fine-tunes it.

    The model itself is built when training or evaluation starts (or by `configure_model`), from the
    pretrained weights, or from a checkpoint alone if there is one.

    Args:
        task: Task to train on; `glue-lit tasks` lists them.
        name_or_path: Model name on the Hub, a folder, or pkg:PACKAGE/FOLDER inside an installed package.
        learning_rate: Highest learning rate.
        weight_decay: Decay of matrices and embeddings (AdamW); biases and norms never decay.
        schedule: How the learning rate falls after warm-up: linear or cosine to 0, or constant.
        warmup: Length of the warm-up: below 1 a fraction of all steps, from 1 on a number of steps.
        max_grad_norm: Gradients with a larger L2 norm are scaled down to it; 0 turns that off.
            trainer.gradient_clip_val, if given, takes its place.
        adam_beta1: Decay of AdamW's mean of gradients.
        adam_beta2: Decay of AdamW's mean of squared gradients.
        adam_eps: AdamW's epsilon.
        attention: Attention implementation (sdpa, eager, flash_attention_2 ...); null for transformers' choice.
        revision: Branch, tag or commit on the Hub.
        trust_remote_code: Run code that comes with the model. Only for authors you trust.
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
        adam_beta1: float = 0.9,
        adam_beta2: float = 0.999,
        adam_eps: float = 1e-8,
        attention: str | None = None,
        revision: str = "main",
        trust_remote_code: bool = False,
        architecture: str | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["architecture"])
        self.task = get_task(task)
        for flag in ("learning_rate", "weight_decay", "warmup", "max_grad_norm"):
            if not 0 <= self.hparams[flag] < float("inf"):
                raise UsageError(f"model.{flag}: got {self.hparams[flag]}, allowed: a number from 0 up.")
        self._architecture = architecture
        splits = (*self.task.validation_splits, *self.task.test_splits)
        self.metrics = nn.ModuleDict({split: TaskMetrics(self.task) for split in splits})
        self.scores: dict[str, float] = {}  # of the last evaluation, in float64

    # ---------------------------------------------------------------- the model

    def configure_model(self) -> None:
        """Build the model: from a checkpoint's configuration if there is one, else with pretrained weights.

        Raises:
            ModelError: It cannot be loaded, or a checkpoint's labels are not the task's.
        """
        if "model" in self._modules:
            return
        self.model = self._pretrained() if self._architecture is None else self._from_architecture(self._architecture)
        # from_pretrained returns the model in eval mode and Lightning keeps it so: no dropout in training.
        self.model.train()

    def use_architecture_of(self, checkpoint: dict[str, Any]) -> None:
        """Build the model as a checkpoint says, because its weights will be loaded: no Hub, no pretrained weights."""
        self._architecture = checkpoint["hyper_parameters"]["architecture"]

    def _pretrained(self) -> Any:
        from transformers import AutoModelForSequenceClassification

        names = self.task.labels or ("score",)
        return pretrained.load(
            "model",
            AutoModelForSequenceClassification.from_pretrained,
            self.hparams["name_or_path"],
            id2label=dict(enumerate(names)),
            label2id={name: number for number, name in enumerate(names)},
            problem_type="regression" if self.task.is_regression else "single_label_classification",
            dtype=torch.float32,  # else a checkpoint stored in half precision is trained in it
            ignore_mismatched_sizes=True,  # the head of another task
            revision=self.hparams["revision"],
            trust_remote_code=self.hparams["trust_remote_code"],
            **({"attn_implementation": self.hparams["attention"]} if self.hparams["attention"] else {}),
        )

    def _from_architecture(self, architecture: str) -> Any:
        from transformers import AutoConfig, AutoModelForSequenceClassification

        values = json.loads(architecture)
        labels = tuple(name for _, name in sorted(values["id2label"].items(), key=lambda item: int(item[0])))
        if labels != (self.task.labels or ("score",)):
            raise ModelError(
                f"The checkpoint's labels are {', '.join(labels)}; task {self.task.name} has "
                f"{', '.join(self.task.labels) or 'a score'}. Take a run of this task, or another data.task."
            )
        config = AutoConfig.for_model(values.pop("model_type"), **values)
        attention = {"attn_implementation": self.hparams["attention"]} if self.hparams["attention"] else {}
        with pretrained.quiet():
            return AutoModelForSequenceClassification.from_config(
                config, dtype=torch.float32, trust_remote_code=self.hparams["trust_remote_code"], **attention
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the configuration with the weights, so that loading needs no Hub and no pretrained weights."""
        hyper_parameters = dict(checkpoint.get("hyper_parameters", {}))
        hyper_parameters["architecture"] = self.model.config.to_json_string(use_diff=False)
        checkpoint["hyper_parameters"] = hyper_parameters

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
        self.configure_model()
        output = self.model(**{key: value for key, value in batch.items() if key in self._accepted})
        logits: Tensor = output.logits
        return logits.float()

    # ---------------------------------------------------------------- training

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy, or mean squared error for regression; ``labels`` is ``(batch,)``, all known."""
        if self.task.is_regression:
            return F.mse_loss(logits[:, 0], labels)
        return F.cross_entropy(logits, labels)

    def on_train_start(self) -> None:
        """Give each device its own dropout: all start from one seed, and would draw the same masks."""
        if self.global_rank > 0:
            torch.manual_seed(torch.initial_seed() + self.global_rank)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        loss = self.loss(self(batch), batch["labels"])
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(batch["labels"]))
        self.log("train/learning_rate", self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]
        return loss

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW and a schedule that moves every step."""
        hp = self.hparams
        total = int(self.trainer.estimated_stepping_batches)
        optimizer = build_adamw(
            parameter_groups(self.model, hp["weight_decay"]),
            hp["learning_rate"],
            (hp["adam_beta1"], hp["adam_beta2"]),
            hp["adam_eps"],
            fused=supports_fused(self.device, str(self.trainer.precision)),
        )
        scheduler = LambdaLR(optimizer, schedule_factor(hp["schedule"], warmup_steps(hp["warmup"], total), total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by the trainer's own value if it has one, else by `max_grad_norm`."""
        limit = self.hparams["max_grad_norm"] if gradient_clip_val is None else gradient_clip_val
        if limit:
            self.clip_gradients(optimizer, limit, gradient_clip_algorithm or "norm")

    # ---------------------------------------------------------------- evaluation

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Add a batch to the metrics of its split."""
        self._score(self.task.validation_splits[dataloader_idx], batch)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Add a batch to the metrics of its split, as far as it is labelled; returns the logits."""
        return self._score(self.task.test_splits[dataloader_idx], batch)

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Logits ``(batch, labels)``."""
        logits: Tensor = self(batch)
        return logits

    def _score(self, split: str, batch: Batch) -> Tensor:
        logits: Tensor = self(batch)
        labels = batch["labels"]
        known = ~labels.isnan() if self.task.is_regression else labels >= 0
        seen, gold = logits[known], labels[known]
        preds = seen[:, 0] if self.task.is_regression else seen.argmax(dim=1)
        self._metrics(split).update(preds, gold, self.loss(seen, gold))
        return logits

    def _metrics(self, split: str) -> TaskMetrics:
        metrics = self.metrics[split]
        assert isinstance(metrics, TaskMetrics)
        return metrics

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of every validation split."""
        self._log_scores(self.task.validation_splits)

    def on_test_epoch_end(self) -> None:
        """Log the metrics of every test split that has labels."""
        self._log_scores(self.task.test_splits)

    def _log_scores(self, splits: tuple[str, ...]) -> None:
        self.scores = {}
        for split in splits:
            values = self._metrics(split).compute()
            self.scores |= {f"{log_prefix(split)}/{name}": value for name, value in values.items()}
        for split in self.metrics:
            self._metrics(split).reset()
        for name, value in self.scores.items():  # already the same on every device
            self.log(name, value, prog_bar=name == self.monitor)
