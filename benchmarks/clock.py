"""A Lightning callback that takes the time of every training step, and of the parts of one.

Used by ``python -m benchmarks``; writes what it measured to the file that $BENCHMARK_CLOCK names.
"""

import functools
import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer


class StepClock(Callback):
    """Times of steps, and seconds in forward, backward and optimizer (clipping and zeroing included) of each."""

    def __init__(self) -> None:
        self.begins: list[float] = []  # of each epoch's first step
        self.ends: list[float] = []
        self.tokens: list[int] = []
        self.real: list[int] = []
        self.parts: list[dict[str, float]] = []
        self._now: dict[str, float] = {}
        self._clipped = 0.0

    def _timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            result = function(*args, **kwargs)
            end = time.perf_counter()
            self._now[part] = self._now.get(part, 0.0) + end - start
            self._clipped = end
            return result

        return timed

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the clocks around the parts of a step."""
        model: Any = pl_module
        model.model.forward = self._timed("forward", model.model.forward)
        model.loss = self._timed("forward", model.loss)
        trainer.strategy.backward = self._timed("backward", trainer.strategy.backward)  # type: ignore[method-assign]
        model.configure_gradient_clipping = self._timed("optimizer", model.configure_gradient_clipping)
        Optimizer.zero_grad = self._timed("optimizer", Optimizer.zero_grad)  # type: ignore[method-assign]

        def stepped(*_: Any) -> None:
            self._now["optimizer"] += time.perf_counter() - self._clipped

        trainer.optimizers[0].register_step_post_hook(stepped)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note where an epoch's steps begin: what comes before is a checkpoint, which the other side does not write."""
        if batch_idx == 0:
            self.begins.append(time.perf_counter())

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the step."""
        self.ends.append(time.perf_counter())
        self.tokens.append(batch["input_ids"].numel())
        self.real.append(int(batch["attention_mask"].sum()))
        self.parts.append(self._now)
        self._now = {}

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write it all down."""
        record = {
            "begins": self.begins,
            "ends": self.ends,
            "tokens": self.tokens,
            "real": self.real,
            "parts": self.parts,
            "peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        Path(os.environ["BENCHMARK_CLOCK"]).write_text(json.dumps(record))


class FirstStep(Callback):
    """The time at which the first training step begins."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Write it down, once."""
        if trainer.global_step == 0:
            Path(os.environ["BENCHMARK_CLOCK"]).write_text(json.dumps({"first_step_at": time.time()}))
