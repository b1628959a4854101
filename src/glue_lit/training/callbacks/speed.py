"""Training speed and share of padding: for the curves, the last lines and the run's record."""

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from glue_lit.data.batches import Batch
from glue_lit.training.lightning_internals import completes_step
from glue_lit.training.tensorboard.points import TrainingCurves, is_point


class TrainingSpeed(Callback):
    """Measure training alone, without start-up, validations and checkpoints, over all parts of a resumed fit.

    The curves get ``work/samples_per_second``, ``work/tokens_per_second`` and ``work/padding`` of the steps since the
    last point, over all devices.

    Attributes:
        seconds: Time in training steps.
        examples: Examples trained on in that time, on this device.
        tokens: Their tokens without padding, ``()`` int64, on the device that trains.
        padded: Their tokens with padding.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.examples = 0
        self.tokens = torch.zeros((), dtype=torch.int64)
        self.padded = 0
        self._before = (0.0, 0.0)  # wall and processor time of earlier parts
        self._started: tuple[float, float] | None = None
        self._since = 0.0
        self._point = self._step = self._sums()  # the sums at the last point of the curves, and at the last step
        self._is_fit = True

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Note whether this is a fit, since evaluations also restore the callbacks of their checkpoint."""
        self._is_fit = stage == "fit"

    @property
    def wall_seconds(self) -> float:
        """Seconds since training started, validations and checkpoints included, over all parts of a resumed fit."""
        return self._before[0] + (0.0 if self._started is None else time.perf_counter() - self._started[0])

    @property
    def processor_seconds(self) -> float:
        """Processor time over the same parts, which other work on the machine hardly changes.

        Only that of this process, without those of other devices and without data loader workers.
        """
        return self._before[1] + (0.0 if self._started is None else time.process_time() - self._started[1])

    def state_dict(self) -> dict[str, Any]:
        """The measurements up to the last optimizer step, since a resumed fit repeats what came after it.

        Sums of the device are in tensors, which are copied to the host together with the weights.
        """
        seconds, examples, tokens, padded = self._step
        return {
            "seconds": seconds,
            "examples": examples,
            "tokens": tokens,
            "padded": padded,
            "wall_seconds": self.wall_seconds,
            "processor_seconds": self.processor_seconds,
            "point": [*self._point],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the measurements of a fit that is resumed."""
        if not self._is_fit:
            return
        self.seconds, self.examples, self.padded = (state_dict[key] for key in ("seconds", "examples", "padded"))
        self.tokens = torch.as_tensor(state_dict["tokens"])  # a number in older checkpoints
        self._before = state_dict["wall_seconds"], state_dict.get("processor_seconds", 0.0)
        seconds, examples, tokens, padded = state_dict.get("point", self._sums())
        self._point, self._step = (seconds, examples, torch.as_tensor(tokens), padded), self._sums()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clocks; a resumed fit may begin in the middle of an epoch."""
        self._since = time.perf_counter()
        self._started = self._since, time.process_time()
        self.tokens = self.tokens.to(pl_module.device)  # added up on the device, so that nothing waits
        self._point = *self._point[:2], self._point[2].to(pl_module.device), self._point[3]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the steps."""
        self._since = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the steps again after a validation within an epoch."""
        self._since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count the batch, and add a point to the curves where one is due."""
        now = time.perf_counter()
        self.seconds += now - self._since
        self._since = now
        self.examples += len(batch["labels"])
        self.tokens = self.tokens + batch["attention_mask"].sum()
        self.padded += batch["input_ids"].numel()  # of a padding-free batch, whose mask is the padded batch's, too
        if completes_step(trainer):
            self._step = self._sums()
        if is_point(trainer):
            before, self._point = self._point, self._sums()
            seconds, examples = self.seconds - before[0], self.examples - before[1]
            tokens, padded = self.tokens - before[2], self.padded - before[3]
            rates: dict[str, Any] = {
                "work/samples_per_second": trainer.world_size * examples / seconds,
                "work/tokens_per_second": trainer.world_size * tokens / seconds,
                "work/padding": 1 - tokens / padded,
            }
            if (curves := TrainingCurves.of(trainer)) is None:
                pl_module.log_dict(rates, on_step=True, on_epoch=False, batch_size=1)
            else:
                curves.add_to_point(rates)

    def _sums(self) -> tuple[float, int, Tensor, int]:
        return self.seconds, self.examples, self.tokens, self.padded

    def record(self, trainer: Trainer) -> dict[str, float | None]:
        """Samples and tokens per second on all devices, and the share of padding; ``None`` if nothing was trained."""
        if not self.seconds or not self.padded:
            return dict.fromkeys(("train_samples_per_second", "train_tokens_per_second", "train_padding"))
        return {
            "train_samples_per_second": trainer.world_size * self.examples / self.seconds,
            "train_tokens_per_second": trainer.world_size * int(self.tokens) / self.seconds,
            "train_padding": 1 - int(self.tokens) / self.padded,
        }
