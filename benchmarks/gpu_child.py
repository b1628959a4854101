"""Measurements of one side and one model, in a process of its own, so that one that fails takes no other with it.

The argument is a plan as JSON. Each measurement becomes a line of JSON in the plan's file as soon as it is there.
"""

import json
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch.autograd import DeviceType
from transformers import TrainerCallback

from benchmarks.hugging_face import HuggingFace
from benchmarks.ours import Ours
from glue_lit import SequenceClassifier
from glue_lit.system.hardware import fast_precision
from glue_lit.system.library_warnings import filter_warnings, quiet_lightning

_PROFILED = 10  # steps
# Our settings of data and model by the end of the side's name. Without padding, batches are of random lengths.
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "compiled": ({}, {"compile": True}),
    "graphs": ({"length_buckets": 8}, {"compile": "reduce-overhead"}),
    "sending batches": ({"tokens_on_device": False}, {}),
    "padding-free": ({"padding_free": True, "group_by_length": False}, {"attention": "flash_attention_2"}),
}
BEST_FLAGS = {"bf16": True, "optim": "adamw_torch_fused", "train_sampling_strategy": "group_by_length"}


class Stretch:
    """A stretch of training steps: some to warm up, timed ones, and on a GPU a few more under torch's profiler.

    Args:
        seconds: How long to time.
        warm: Steps before that.
        batch_size: Rows of a step.
    """

    def __init__(self, seconds: float, warm: int, batch_size: int) -> None:
        self.seconds, self.warm, self.batch_size = seconds, warm, batch_size
        self.on_gpu = torch.cuda.is_available()
        self.steps = 0
        self.found: dict[str, Any] = {}
        self.profile: Any = None

    def step(self) -> bool:
        """Note the end of a step; whether it was the last."""
        self.steps += 1
        if self.found:
            return self._profiled()
        if self.steps == self.warm:
            self._wait()
            if self.on_gpu:
                torch.cuda.reset_peak_memory_stats()
            self.began = time.perf_counter()
        elif self.steps > self.warm and time.perf_counter() - self.began >= self.seconds:
            self._wait()
            steps, spent = self.steps - self.warm, time.perf_counter() - self.began
            self.found = {"samples_per_second": steps * self.batch_size / spent, "step_seconds": spent / steps}
            if not self.on_gpu:
                return True
            self.found["memory"] = torch.cuda.max_memory_allocated()
            self.profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA])
            self.profile.__enter__()
            self.steps = 0
        return False

    def _profiled(self) -> bool:
        if self.steps < _PROFILED:
            return False
        self._wait()
        self.profile.__exit__(None, None, None)
        # The profiler slows the host down, but not the kernels: their time is compared with that of a step without it.
        self.found["idle"] = max(0.0, 1 - busy_seconds(self.profile.events()) / _PROFILED / self.found["step_seconds"])
        return True

    def _wait(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()


def busy_seconds(events: Any) -> float:
    """Seconds in which a GPU had anything to do, by the events of torch's profiler, in microseconds."""
    spans = sorted(
        (event.time_range.start, event.time_range.end)
        for event in events
        if event.device_type == DeviceType.CUDA and not getattr(event, "is_user_annotation", False)
    )
    busy, last = 0.0, float("-inf")
    for start, end in spans:
        busy += max(0.0, end - max(start, last))
        last = max(last, end)
    return busy / 1e6


class OfTheirs(TrainerCallback):
    """Stops the Hugging Face Trainer at the end of a stretch."""

    def __init__(self, stretch: Stretch) -> None:
        self.stretch = stretch

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_training_stop = self.stretch.step()


class OfOurs(Callback):
    """Stops Lightning's at the end of a stretch."""

    def __init__(self, stretch: Stretch) -> None:
        self.stretch = stretch

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        trainer.should_stop = self.stretch.step()


def train_theirs(side: HuggingFace, stretch: Stretch, flags: dict[str, Any], folder: Path) -> None:
    """Train with the notebook's recipe, and these flags."""
    rows = side._cached("train")
    trainer = side._trainer(rows, rows, output_dir=str(folder), max_steps=10**6, **flags)
    trainer.add_callback(OfTheirs(stretch))
    trainer.train()


def train_ours(side: Ours, stretch: Stretch, variant: str = "") -> None:
    """Train with the defaults of ``glue-lit fit``, or a variant of them; FlashAttention where it is installed."""
    of_data, of_model = VARIANTS.get(variant, ({}, {}))
    if not (torch.cuda.is_available() and find_spec("flash_attn")):
        of_model = {name: value for name, value in of_model.items() if name != "attention"}
    trainer = Trainer(
        precision=fast_precision("auto"), max_epochs=1000, limit_val_batches=0, logger=False,  # type: ignore[arg-type]
        callbacks=[OfOurs(stretch)],
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    model = SequenceClassifier(side.task, side.model, **({"compile": False} | of_model))
    trainer.fit(model, side._data(batch_size=side.batch_size, **of_data))


def measure(plan: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    """One measurement: ``peak``, ``train`` or ``evaluate``."""
    ours, place = plan["side"].startswith("ours"), Path(plan["folder"])
    side: Any = (Ours if ours else HuggingFace)(
        Path(plan["glue"]), case.get("task", "cola"), plan["model"], batch_size=case.get("batch_size", 16),
        cache=place / ("ours" if ours else "hf") / "tokens",
    )  # fmt: skip
    if case["what"] == "peak":
        return dict(side.peak())
    flags = {"hf": {}, "hf best": BEST_FLAGS, "hf compiled": BEST_FLAGS | {"torch_compile": True}}.get(plan["side"], {})
    if case["what"] == "evaluate":
        return dict(side.evaluate() if ours else side.evaluate({"bf16": True} if flags else {}))
    stretch = Stretch(plan["seconds"], plan["warm"], case["batch_size"])
    if ours:
        train_ours(side, stretch, plan["side"].removeprefix("ours").strip())
        return stretch.found | side.flops()
    train_theirs(side, stretch, flags, place / "hf")
    return stretch.found


def main(plan: dict[str, Any]) -> None:
    """Measure all cases of a plan; after its time is over, the others are left out."""
    filter_warnings()
    quiet_lightning()
    for case in plan["cases"]:
        if time.time() > plan["until"]:
            found: dict[str, Any] = {"failed": "no time was left"}
        else:
            try:
                found = measure(plan, case)
            except Exception as error:
                found = {"failed": " ".join(f"{type(error).__name__}: {error}".split())[:200]}
        with Path(plan["output"]).open("a") as file:
            file.write(json.dumps({"model": plan["name"], "side": plan["side"], **case, **found}) + "\n")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
