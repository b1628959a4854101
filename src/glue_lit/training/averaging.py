"""A moving average of the weights, validated and saved in their place."""

import warnings
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from glue_lit.training.lightning_internals import OpenWeightAveraging

EVERY = 10  # steps between updates: an update is a pass over all weights, and 10 steps change them little


class WeightAverage(OpenWeightAveraging):
    """Validate and save a moving average of the weights, while training changes the weights themselves.

    Exponentially weighted averaging of iterates (after Polyak & Juditsky 1992, "Acceleration of stochastic
    approximation by averaging"). It differs from Lightning's callback in three ways. Buffers, such as position ids, are
    copied and not averaged. A checkpoint written during a validation does not swap weights and average. The average is
    on the trainer's device, in float32 or float64: in bfloat16 its updates would round to nothing.

    Args:
        decay: Share of the average that a step keeps: 0.99 averages over about the last 100 steps.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(use_buffers=False)
        self._move = get_ema_multi_avg_fn(decay**EVERY)  # type: ignore[no-untyped-call] # an update of tensors
        self._has_begun = False  # whether the average holds the weights of a step
        self._is_swapped = False  # whether the model holds the average, as in a validation
        self._is_rounded = False  # whether the model's precision has fewer digits than the average
        self._exact: dict[str, Tensor] | None = None  # the average, while the model holds a rounded copy

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Whether to update: after each of the first steps, so that no validation scores the initial weights."""
        return step_idx is not None and (step_idx < EVERY or (step_idx + 1) % EVERY == 0)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Create the average on the trainer's device."""
        self.place_on(trainer.strategy.root_device)
        self._is_rounded = str(trainer.precision) in ("bf16-true", "16-true")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*WeightAveraging callback with a model that overrides")
            super().setup(trainer, pl_module, stage)
        if str(trainer.precision) == "64-true" and self.average_model is not None:
            self.average_model.double()

    @torch.no_grad()
    def update(self, average: AveragedModel, module: LightningModule) -> None:
        """Update the average; torch's own update reads its count of updates from the device, twice."""
        for mine, other in zip(average.module.buffers(), module.buffers(), strict=True):
            mine.copy_(other)
        by_type: dict[torch.dtype, list[tuple[Tensor, Tensor]]] = {}
        for mine, other in zip(average.module.parameters(), module.parameters(), strict=True):
            if self._has_begun and mine.is_floating_point():
                by_type.setdefault(mine.dtype, []).append((mine, other.to(mine.device, mine.dtype)))
            else:
                mine.copy_(other)
        for pairs in by_type.values():
            self._move([mine for mine, _ in pairs], [other for _, other in pairs], 0)
        average.n_averaged += 1
        self._has_begun = True

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Restore the average, and whether it holds the weights of a step."""
        super().on_load_checkpoint(trainer, pl_module, checkpoint)
        self._has_begun = self.average_model is not None and bool(self.average_model.n_averaged)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Swap the average into the model."""
        if self.average_model is not None and self._is_rounded:
            self._exact = {name: value.clone() for name, value in self.average_model.state_dict().items()}
        super().on_validation_epoch_start(trainer, pl_module)
        self._is_swapped = True

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Swap the weights back."""
        super().on_validation_epoch_end(trainer, pl_module)
        self._is_swapped = False
        if self.average_model is not None and self._exact is not None:
            self.average_model.load_state_dict(self._exact)
        self._exact = None

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the average in the model, even if a resumed fit had nothing left to train."""
        self.on_train_end(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save the average as the model's state, and the weights beside it."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if self._is_swapped:
            average, weights = checkpoint["current_model_state"], checkpoint["state_dict"]
            if self._exact is not None:
                average = {name: self._exact[f"module.{name}"] for name in average}
            checkpoint["state_dict"], checkpoint["current_model_state"] = average, weights


def restore_trained_weights(checkpoint: dict[str, Any]) -> None:
    """Replace the average in a checkpoint by the trained weights, for a fit that is resumed without an average."""
    checkpoint["state_dict"] = checkpoint.get("current_model_state", checkpoint["state_dict"])
