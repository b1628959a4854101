"""Means over training steps: for the curves over the steps since their last point, and the loss of an epoch."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from glue_lit.system.precisions import widest_float
from glue_lit.training.divergence import DivergenceGuard
from glue_lit.training.fit_part import FitPart
from glue_lit.training.gathering import gather_values
from glue_lit.training.lightning_internals import completes_step, is_log_step, restore_logged, scales_loss


def is_point(trainer: Any) -> bool:
    """Whether the curves get a point with this batch; Lightning drops what is logged with any other."""
    # With accumulation, several batches have the number of such a step.
    return is_log_step(trainer) and completes_step(trainer)


class TrainingPoint:
    """Mean loss and mean norm of the gradient since the last point of the curves, without skipped steps.

    Both are added up on the device, so that nothing waits.
    """

    def __init__(self) -> None:
        self._batches: list[Tensor] = []  # losses of the step in progress
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, Tensor | int] = {}

    def add(self, loss: Tensor) -> None:
        """Note a batch's loss, ``()``; it counts once its step is taken."""
        self._batches.append(loss.detach())

    def take(self, norm: Tensor, may_overflow: bool = False, is_taken: Tensor | None = None) -> list[Tensor]:
        """Add the step in progress, and return the losses of its batches, each ``()``.

        Args:
            norm: L2 norm of its gradient before clipping, ``()``.
            may_overflow: Whether the norm may be infinite, in which case float16's scaler skips the step.
            is_taken: Whether the step counts, ``()`` bool on the device; ``None`` if it does.
        """
        losses, self._batches = self._batches, []
        for loss in losses:
            self._add("train/loss", loss, is_taken)
        self._add("weights/gradient_norm", norm, norm.isfinite() if may_overflow else is_taken)
        return losses

    def skip(self) -> None:
        """Drop the batches of a step that is not taken."""
        self._batches = []

    def _add(self, name: str, value: Tensor, counts: Tensor | None) -> None:
        if counts is not None:
            value = value.where(counts, 0)
        self._sums[name] = self._sums[name] + value if name in self._sums else value.detach().float()
        self._counts[name] = self._counts.get(name, 0) + (1 if counts is None else counts.long())

    def means(self) -> dict[str, Tensor]:
        """``train/loss`` and ``weights/gradient_norm``, empty if no step was taken; resets the sums."""
        found = {name: total / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        return found

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """The sums, on their device."""
        counts = {name: torch.as_tensor(count) for name, count in self._counts.items()}
        return {"sums": dict(self._sums), "counts": counts}

    def load_state_dict(self, state: dict[str, dict[str, Tensor]], device: torch.device) -> None:
        """Restore the sums."""
        self._batches = []
        self._sums = {name: total.to(device) for name, total in state.get("sums", {}).items()}
        self._counts = {name: count.to(device) for name, count in state.get("counts", {}).items()}


class EpochLoss:
    """Mean training loss of an epoch, each batch with the same weight, without skipped steps.

    The sums stay on the device, so that only `mean` waits for it.
    """

    def __init__(self) -> None:
        self._epoch = -1  # from 0
        self._sum = torch.zeros((), dtype=torch.float64)
        self._batches: Tensor | int = 0

    def add(self, epoch: int, losses: Sequence[Tensor], is_taken: Tensor | None = None) -> None:
        """Add the losses ``()`` of a step's batches, if it is taken; a new epoch (from 0) starts from zero."""
        for loss in losses:
            kind = widest_float(loss.device)  # float32 sums of MNLI's 24,000 batches are off in the fourth digit
            if epoch != self._epoch:
                self._epoch, self._sum, self._batches = epoch, torch.zeros((), dtype=kind, device=loss.device), 0
            loss = loss if is_taken is None else loss.where(is_taken, 0)
            self._sum = self._sum.to(loss.device, kind) + loss
            self._batches = self._batches + (1 if is_taken is None else is_taken.long())

    def mean(self, strategy: Any) -> float | None:
        """The mean so far over all devices; ``None`` before the first step. Collective under DDP.

        Args:
            strategy: The strategy of the trainer.
        """
        device = strategy.root_device
        found = torch.stack([self._sum.float().to(device), torch.as_tensor(self._batches, device=device).float()])
        total, batches = strategy.reduce(found, reduce_op="sum").tolist()
        return total / batches if batches else None

    def state_dict(self) -> dict[str, Any]:
        """The sums, on their device."""
        return {"epoch": self._epoch, "sum": self._sum, "batches": self._batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the sums."""
        if state:
            self._epoch, self._sum, self._batches = state["epoch"], state["sum"], state["batches"]


class TrainingCurves(FitPart):
    """Log mean loss, mean gradient norm and learning rates where the curves get a point.

    All values of a point are read from the device at once, with the results of the checks of its steps.

    Args:
        guard: Checks the steps.

    Attributes:
        epoch_loss: The epoch's mean loss so far.
        last_loss: Loss of the last batch, ``()``; ``None`` before the first.
    """

    def __init__(self, guard: DivergenceGuard) -> None:
        self.epoch_loss = EpochLoss()
        self.last_loss: Tensor | None = None
        self._guard = guard
        self._point = TrainingPoint()
        self._rates: dict[str, float] = {}
        self._more: dict[str, Tensor | float] = {}

    def note_batch(self, loss: Tensor) -> None:
        """Note a batch's loss, ``()``."""
        self.last_loss = loss.detach()
        self._point.add(self.last_loss)

    def take_step(self, module: LightningModule, optimizer: Optimizer, norm: Tensor, is_taken: Tensor | bool) -> None:
        """Count the step that is about to be taken.

        Args:
            module: The module that is trained.
            optimizer: Gives the learning rates.
            norm: L2 norm of the step's gradient before clipping, ``()``.
            is_taken: Whether the optimizer will take it, on the device if the host does not know.
        """
        counts = is_taken if isinstance(is_taken, Tensor) else None
        losses = self._point.take(norm, scales_loss(module.trainer), counts)
        self.epoch_loss.add(module.trainer.current_epoch, losses, counts)
        if is_point(module.trainer):
            self._rates = learning_rates(optimizer.param_groups)

    def add_to_point(self, values: Mapping[str, Tensor | float]) -> None:
        """Add values to the point that is due with this batch: numbers, or tensors ``()`` on the device."""
        self._more |= values

    def on_train_batch_end(self, trainer: Any, pl_module: LightningModule, *_: Any) -> None:
        """Log a point if one is due; Lightning would drop any other, at some cost.

        Raises:
            DivergenceError: A step since the last point was not finite, and the policy is to stop.
        """
        if not is_point(trainer):
            return
        values: dict[str, Tensor | float] = dict(self._point.means()) if self._rates else {}
        if "train/loss" in values:  # each device has its own loss, and all have the same gradient
            values["train/loss"] = trainer.strategy.reduce(values["train/loss"], reduce_op="mean")
        values |= self._rates | self._more
        self._rates, self._more = {}, {}
        on_device = [name for name, value in values.items() if isinstance(value, Tensor)]
        read = [*(torch.as_tensor(values[name]) for name in on_device), *self._guard.flags]
        numbers = torch.stack([value.float() for value in read]).tolist() if read else []
        self._guard.read(trainer, numbers[len(on_device) :])
        for name, value in (values | dict(zip(on_device, numbers, strict=False))).items():
            if not math.isnan(value):  # the mean over steps of which all were skipped
                on_host = torch.tensor(value, device="cpu")  # a number would be copied to the device and back
                is_loss = name == "train/loss"
                pl_module.log(name, on_host, prog_bar=is_loss, on_step=True, on_epoch=False, batch_size=1)

    def skip_step(self) -> None:
        """Drop the batches of a step that is not taken."""
        self._point.skip()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let callbacks monitor the training, however many steps a point of the curves covers."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._set_monitored(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do the same where nothing is validated."""
        self._set_monitored(trainer)

    def _set_monitored(self, trainer: Trainer) -> None:
        """Give monitors the epoch's mean loss so far, which a resumed fit has too, and the current learning rates."""
        loss = self.epoch_loss.mean(trainer.strategy)
        rates = learning_rates(trainer.optimizers[0].param_groups)
        restore_logged(trainer, rates if loss is None else {"train/loss": loss, **rates})

    def save_state(self, trainer: Any, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """The sums of every process."""
        means = {"point": self._point.state_dict(), "epoch_loss": self.epoch_loss.state_dict()}
        # After an exception the other processes may be gone.
        return {"means": [means] if trainer.interrupted else gather_values(means)}

    def load_state(self, trainer: Any, checkpoint: dict[str, Any], state: dict[str, Any]) -> None:
        """Restore the sums."""
        means = state_of_process(state, trainer.global_rank)
        self._point.load_state_dict(means.get("point", {}), trainer.lightning_module.device)
        self.epoch_loss.load_state_dict(means.get("epoch_loss", {}))


def state_of_process(kept: dict[str, Any], rank: int) -> dict[str, Any]:
    """The sums of one process; those of the first if the checkpoint is from fewer processes.

    Args:
        kept: With the ``means`` of every process, or only the sums of the first, as older versions wrote them.
        rank: Rank of the process.
    """
    states = kept.get("means") or [kept]
    found: dict[str, Any] = states[rank if rank < len(states) else 0]
    return found


def learning_rates(groups: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Learning rates by their logged names: that of the first group, and those of all groups if they differ."""
    found = {"weights/learning_rate": float(groups[0]["lr"])}
    if len({group.get("initial_lr", group["lr"]) for group in groups}) > 1:
        for number, group in enumerate(groups):
            found.setdefault(f"weights/learning_rate_{group.get('name', number)}", float(group["lr"]))
    return found
