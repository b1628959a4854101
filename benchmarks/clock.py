"""Lightning callbacks that measure training steps; each writes to the file that $BENCHMARK_CLOCK names."""

import json
import os
import resource
import time
from collections import Counter
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils._python_dispatch import TorchDispatchMode


def write(record: dict[str, Any]) -> None:
    Path(os.environ["BENCHMARK_CLOCK"]).write_text(json.dumps(record))


class FirstStep(Callback):
    """The time at which the first training step begins."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == 0:
            write({"first_step_at": time.time()})


class StepClock(Callback):
    """When steps end, and each one's seconds in forward, backward and optimizer (clipping and zeroing included)."""

    def __init__(self) -> None:
        self.record: dict[str, list[Any]] = {name: [] for name in ("begins", "ends", "tokens", "real", "parts")}
        self.parts: Counter[str] = Counter()
        self.last = 0.0

    def begin(self, *_: Any) -> None:
        self.last = time.perf_counter()

    def end(self, part: str) -> None:
        now = time.perf_counter()
        self.parts[part] += now - self.last
        self.last = now

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        model: Any = pl_module
        for part in (model.model, model.loss):
            part.register_forward_pre_hook(self.begin)
            part.register_forward_hook(lambda *_: self.end("forward"))
        trainer.optimizers[0].register_step_post_hook(lambda *_: self.end("optimizer"))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:  # what comes before is a checkpoint, which the other side does not write
            self.record["begins"].append(time.perf_counter())

    def on_before_zero_grad(self, *_: Any) -> None:
        self.begin()

    def on_before_backward(self, *_: Any) -> None:
        self.end("optimizer")

    def on_after_backward(self, *_: Any) -> None:
        self.end("backward")

    def on_before_optimizer_step(self, *_: Any) -> None:
        self.begin()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.record["ends"].append(time.perf_counter())
        self.record["tokens"].append(batch["input_ids"].numel())
        self.record["real"].append(int(batch["attention_mask"].sum()))
        self.record["parts"].append(dict(self.parts))
        self.parts.clear()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        write({**self.record, "peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024})


class OperatorClock(Callback, TorchDispatchMode):
    """Milliseconds a step by operator, and how many it calls, after a warm-up; ``step_ms`` is without this clock.

    torch's own profiler would do, but what it allocates makes every step fault its pages anew.
    """

    WARM, PLAIN, CLOCKED = 20, 40, 40  # steps

    def __init__(self) -> None:
        super().__init__()
        self.seconds: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.times = [0.0]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        start = time.perf_counter()
        result = func(*args, **(kwargs or {}))
        self.seconds[str(func)] += time.perf_counter() - start
        self.calls[str(func)] += 1
        return result

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.times.append(time.perf_counter())
        if batch_idx >= self.WARM + self.PLAIN:
            self.__enter__()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx >= self.WARM + self.PLAIN:
            self.__exit__(None, None, None)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        begun = self.times[1:]
        slowest = self.seconds.most_common(20)
        write({
            "step_ms": 1000 * (begun[self.WARM + self.PLAIN] - begun[self.WARM]) / self.PLAIN,
            "operators": sum(self.calls.values()) / self.CLOCKED,
            "self_ms": {name: round(1000 * spent / self.CLOCKED, 2) for name, spent in slowest},
        })  # fmt: skip
