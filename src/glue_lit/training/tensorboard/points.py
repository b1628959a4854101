"""Means over training steps: for the curves over the steps since their last point, and the loss of an epoch."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.optim import Optimizer

from glue_lit.training.fit_part import FitPart
from glue_lit.training.gathering import gather_values
from glue_lit.training.lightning_internals import completes_step, is_log_step, scales_loss


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

    def take(self, norm: Tensor, may_overflow: bool = False) -> list[Tensor]:
        """Add the step in progress, and return the losses of its batches, each ``()``.

        Args:
            norm: L2 norm of its gradient before clipping, ``()``.
            may_overflow: Whether the norm may be infinite, in which case float16's scaler skips the step.
        """
        losses, self._batches = self._batches, []
        for loss in losses:
            self._add("train/loss", loss, 1)
        finite = norm.isfinite() if may_overflow else 1
        self._add("weights/gradient_norm", norm.where(norm.isfinite(), 0) if may_overflow else norm, finite)
        return losses

    def skip(self) -> None:
        """Drop the batches of a step that is not taken."""
        self._batches = []

    def _add(self, name: str, value: Tensor, count: Tensor | int) -> None:
        self._sums[name] = self._sums[name] + value if name in self._sums else value.detach().float()
        self._counts[name] = self._counts.get(name, 0) + count

    def means(self) -> dict[str, Tensor]:
        """``train/loss`` and ``weights/gradient_norm``, empty if no step was taken; resets the sums."""
        found = {name: total / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        return found

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """The sums."""
        counts = {name: torch.as_tensor(count).cpu() for name, count in self._counts.items()}
        return {"sums": {name: total.cpu() for name, total in self._sums.items()}, "counts": counts}

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
        self._batches = 0

    def add(self, epoch: int, losses: Sequence[Tensor]) -> None:
        """Add the losses ``()`` of a step's batches; a new epoch (from 0) starts from zero."""
        if epoch != self._epoch:
            self._epoch, self._sum, self._batches = epoch, torch.zeros((), dtype=torch.float64), 0
        for loss in losses:
            # float32 sums of MNLI's 24,000 batches are off in the fourth digit; MPS has no float64.
            kind = torch.float32 if loss.device.type == "mps" else torch.float64
            self._sum = self._sum.to(kind).to(loss.device) + loss
        self._batches += len(losses)

    def mean(self, strategy: Any) -> float | None:
        """The mean so far over all devices; ``None`` before the first step. Collective under DDP.

        Args:
            strategy: The strategy of the trainer.
        """
        found = torch.stack([self._sum.float(), self._sum.new_tensor(self._batches).float()]).to(strategy.root_device)
        total, batches = strategy.reduce(found, reduce_op="sum").tolist()
        return total / batches if batches else None

    def state_dict(self) -> dict[str, Any]:
        """The sums."""
        return {"epoch": self._epoch, "sum": self._sum.cpu(), "batches": self._batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the sums."""
        if state:
            self._epoch, self._sum, self._batches = state["epoch"], state["sum"], state["batches"]


class TrainingCurves(FitPart):
    """Log mean loss, mean gradient norm and learning rates where the curves get a point.

    Attributes:
        epoch_loss: The epoch's mean loss so far.
        last_loss: Loss of the last batch, ``()``; ``None`` before the first.
    """

    def __init__(self) -> None:
        self.epoch_loss = EpochLoss()
        self.last_loss: Tensor | None = None
        self._point = TrainingPoint()

    def note_batch(self, loss: Tensor) -> None:
        """Note a batch's loss, ``()``."""
        self.last_loss = loss.detach()
        self._point.add(self.last_loss)

    def take_step(self, module: LightningModule, optimizer: Optimizer, norm: Tensor) -> None:
        """Count the step that is about to be taken, and log a point if one is due.

        Args:
            module: The module that is trained; logs the values.
            optimizer: Gives the learning rates.
            norm: L2 norm of the step's gradient before clipping, ``()``.
        """
        losses = self._point.take(norm, scales_loss(module.trainer))
        self.epoch_loss.add(module.trainer.current_epoch, losses)
        if not is_point(module.trainer):  # Lightning would drop it, at some cost
            return
        for name, value in self._point.means().items():
            # Each device has its own loss, and all have the same gradient.
            is_loss = name == "train/loss"
            module.log(name, value, prog_bar=is_loss, sync_dist=is_loss, batch_size=1)
        module.log_dict(learning_rates(optimizer.param_groups), batch_size=1)

    def skip_step(self) -> None:
        """Drop the batches of a step that is not taken."""
        self._point.skip()

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
