"""How a task's model is optimized: AdamW, its schedule, an average, and only the embedding rows that are in use."""

from typing import Any

import torch
from lightning.pytorch import Callback
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from glue_lit.data.accumulation import batches_of_step, check_accumulation, planned_steps, short_step_factor
from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.encoder.layers import check_same_groups, layered_groups
from glue_lit.encoder.trained_embedding import decay_with, fit_moments, rows_of, train_rows, trained_rows
from glue_lit.system.precisions import check_eps
from glue_lit.training.averaging import WeightAverage, weights_to_train_on
from glue_lit.training.callbacks.model_summary import plain_summary
from glue_lit.training.monitors import check_monitors
from glue_lit.training.optimizer import (
    build_adamw,
    parameter_groups,
    set_anew,
    supports_fused,
)
from glue_lit.training.processes import check_processes
from glue_lit.training.refused_callbacks import check_callbacks, is_refused
from glue_lit.training.schedule import build_schedule, warmup_steps
from glue_lit.training.task_model import TaskModel
from glue_lit.training.unused_parameters import find_unused


class OptimizedModel(TaskModel):
    """A `TaskModel` with the recipe's optimizer.

    A class that brings an optimizer of its own (`configure_optimizers`) has all rows trained, and its states as they
    are in the checkpoint.
    """

    def __init__(self) -> None:
        super().__init__()
        self._tokens_before: Tensor | None = None

    @property
    def _optimizer_is_ours(self) -> bool:
        return type(self).configure_optimizers is OptimizedModel.configure_optimizers

    def configure_model(self) -> None:
        """Build the model; a fit leaves out what no training batch can touch, where data and optimizer are ours."""
        super().configure_model()
        trainer: Any = self._trainer
        if self._is_fitting and self._optimizer_is_ours and isinstance(trainer.datamodule, GLUEDataModule):
            tokens = trainer.datamodule.splits.training_tokens()
            # Rows in use before the checkpoint go on moving by their moments.
            train_rows(self.model, tokens if self._tokens_before is None else torch.cat([tokens, self._tokens_before]))
        if self._is_fitting:
            find_unused(self, trainer)

    def use_architecture_of(self, checkpoint: dict[str, Any]) -> None:
        """Build the model as a checkpoint says, and go on training the rows that it was training."""
        super().use_architecture_of(checkpoint)
        self._tokens_before = rows_of(checkpoint)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep which rows are trained: the optimizer has moments of these alone."""
        super().on_save_checkpoint(checkpoint)
        if (table := trained_rows(self)) is not None:
            checkpoint["glue_lit"]["rows"] = table.tokens.cpu()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Give the rows in use their moments, where training goes on; and the weights themselves, if unaveraged.

        Raises:
            RunError: The optimizer would train other parameters than the checkpoint's, or in other groups.
        """
        super().on_load_checkpoint(checkpoint)
        if self._is_fitting and not self.hparams["average"]:
            weights_to_train_on(checkpoint)
        if self._is_fitting and self._optimizer_is_ours:
            groups = self._parameter_groups()
            check_same_groups(groups, checkpoint, self.model.config.model_type)
            parameters = [p for group in groups for p in group["params"]]
            fit_moments(self, parameters, checkpoint)

    def on_train_start(self) -> None:
        """Take up this fit's settings, where a checkpoint has brought its own: a new learning rate is meant."""
        super().on_train_start()
        # Lightning's scheduler sets it where an epoch begins, which a fit that goes on within one does not meet.
        self.trainer.accumulate_grad_batches = batches_of_step(self.trainer, self.trainer.current_epoch)
        for config in self.trainer.lr_scheduler_configs if self._optimizer_is_ours else ():
            if isinstance(config.scheduler, LambdaLR):
                groups = config.scheduler.optimizer.param_groups
                for group, own in zip(groups, self._parameter_groups(), strict=True):
                    if "lr_scale" in own:
                        group["lr_scale"] = own["lr_scale"]
                set_anew(config.scheduler.optimizer, config.scheduler, **self._adamw)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Add a batch's gradient to that of its step, which is the mean over the batches that the step has."""
        factor = short_step_factor(self.trainer) if self.automatic_optimization else 1.0
        super().backward(loss if factor == 1 else loss * factor, *args, **kwargs)

    def configure_callbacks(self) -> list[Callback]:
        """A fit's average of the weights, if there is to be one.

        Raises:
            UsageError: Processes would train without each other, or each a part of the model; or a callback would
                change the training without a word, or waits for a value that is not logged. (No hook comes before.)
        """
        check_processes(self.trainer)
        if self._is_fitting:
            given = self.trainer.callbacks  # type: ignore[attr-defined]
            # A refused one has no say in how this ends: OnExceptionCheckpoint would save what is not built yet.
            self.trainer.callbacks = [plain_summary(each) for each in given if not is_refused(each)]  # type: ignore[attr-defined]
            check_callbacks(given)
            if type(self).__module__.startswith("glue_lit."):  # a class built on this one may log more
                check_monitors(given, self.task)
            check_accumulation(self.trainer)
        decay = self.hparams["average"]
        return [WeightAverage(decay)] if decay and self._is_fitting else []

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW and a schedule that moves every step."""
        hp, adamw = self.hparams, self._adamw
        check_eps(str(self.trainer.precision), adamw["eps"])
        total = int(planned_steps(self.trainer))
        optimizer = build_adamw(
            self._parameter_groups(),
            adamw["lr"],
            adamw["betas"],
            adamw["eps"],
            fused=supports_fused(self.device, str(self.trainer.precision)),
        )
        if (table := trained_rows(self.model)) is not None:
            decay_with(optimizer, table)
        warmup = warmup_steps(hp["warmup"], total)
        scheduler = build_schedule(optimizer, hp["schedule"], warmup, total, hp["schedule_options"])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _parameter_groups(self) -> list[dict[str, Any]]:
        groups = parameter_groups(self.model, self.hparams["weight_decay"])
        return layered_groups(groups, self.model, self.hparams["learning_rate"], self.hparams["layer_decay"])

    @property
    def _adamw(self) -> dict[str, Any]:
        hp = self.hparams
        return {
            "lr": hp["learning_rate"],
            "betas": (hp["adam_beta1"], hp["adam_beta2"]),
            "eps": hp["adam_eps"],
            "weight_decay": hp["weight_decay"],
        }
