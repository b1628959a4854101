"""One measurement of our side that no command line gives: evaluation, tokenising, the bf16 matrix product.

    python -m benchmarks.our_speed evaluate --glue_dir GLUE --task qnli --model DIR --rows 2000

Prints one JSON object. (Training is measured through ``glue-lit fit`` itself, see `benchmarks.speed`.)
"""

import argparse
import itertools
import json
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch.utils._python_dispatch import TorchDispatchMode

from glue_lit import GLUEDataModule, SequenceClassifier
from glue_lit.encoder.trained_embedding import decay_with, train_rows, trained_rows
from glue_lit.system.hardware import fast_precision, keep_freed_memory
from glue_lit.system.library_warnings import filter_warnings, quiet_lightning
from glue_lit.training.optimizer import build_adamw, clip_with_norm, parameter_groups


def evaluate(options: argparse.Namespace) -> dict[str, Any]:
    """``Trainer.validate`` with the settings that ``glue-lit validate`` has, after a warm-up on some rows."""
    keep_freed_memory()
    model = SequenceClassifier(options.task, options.model)

    def data(rows: int | None) -> GLUEDataModule:
        return GLUEDataModule(
            options.task, options.model, source=str(options.glue_dir), validation_limit=rows,
            cache_dir=str(options.cache),
        )  # fmt: skip

    trainer = Trainer(
        accelerator="auto", precision=fast_precision("auto"), logger=False, enable_progress_bar=False,  # type: ignore[arg-type]
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.validate(model, data(64), verbose=False)
    whole = data(options.rows)
    rows = len(whole.dataset("validation"))
    start = time.perf_counter()
    trainer.validate(model, whole, verbose=False)
    return {"samples_per_second": rows / (time.perf_counter() - start)}


def tokenise(options: argparse.Namespace) -> dict[str, Any]:
    """Reading, tokenising and caching the training rows: the first time, and from the cache."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            data = GLUEDataModule(options.task, options.model, source=str(options.glue_dir), cache_dir=folder)
            data.tokenizer("warm"), data.max_length
            start = time.perf_counter()
            data.dataset("train")
            seconds.append(time.perf_counter() - start)
    return {"first": seconds[0], "cached": seconds[1]}


def peak(options: argparse.Namespace) -> dict[str, Any]:
    """The best rate of a square bf16 matrix product, in FLOP/s, over some sizes."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    best = 0.0
    for size in (1024, 2048, 4096) if device == "cpu" else (4096, 8192):
        a, b = (torch.randn(size, size, device=device).bfloat16() for _ in range(2))
        repeats = max(2, int((2e11 if device == "cpu" else 2e14) / (2 * size**3)))
        for timed in (False, True):
            _wait(device)
            start = time.perf_counter()
            for _ in range(repeats):
                a @ b
            _wait(device)
            if timed:
                best = max(best, repeats * 2 * size**3 / (time.perf_counter() - start))
    return {"flops_per_second": best}


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def flops(options: argparse.Namespace) -> dict[str, Any]:
    """Floating-point operations that the matrix products of a training step take, for each real token.

    Forward 2 for each weight of a linear layer of the encoder and 4 x length x width for attention in each
    layer; backward twice that (Kaplan et al. 2020, section 2.1). Padding and everything else count nothing.
    """
    model = SequenceClassifier(options.task, options.model)
    model.configure_model()
    data = GLUEDataModule(
        options.task, options.model, source=str(options.glue_dir), train_limit=options.rows,
        cache_dir=str(options.cache),
    )  # fmt: skip
    config = model.model.config
    layers = next(m for m in model.model.modules() if isinstance(m, torch.nn.ModuleList))
    weights = sum(m.weight.numel() for m in layers.modules() if isinstance(m, torch.nn.Linear))
    lengths = data.dataset("train").lengths.double()
    dense = 6 * weights * float(lengths.mean())
    attention = 12 * config.num_hidden_layers * config.hidden_size * float((lengths**2).mean())
    return {"flops_per_sample": dense + attention, "tokens_per_sample": float(lengths.mean())}


def profile(options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds a training step by operator, and how many operators it calls, without Lightning's loop.

    ``step_ms`` is measured without the clocks.
    """
    keep_freed_memory()
    model = SequenceClassifier(options.task, options.model)
    model.configure_model()
    data = GLUEDataModule(options.task, options.model, source=str(options.glue_dir), cache_dir=str(options.cache))
    train_rows(model.model, data.splits.training_tokens())
    optimizer = build_adamw(parameter_groups(model.model, 0.01), 2e-5, (0.9, 0.999), 1e-8, fused=True)
    if (table := trained_rows(model)) is not None:
        decay_with(optimizer, table)
    batches = list(itertools.islice(data.train_dataloader(), 60))
    parameters = [p for p in model.parameters() if p.requires_grad]

    def step(batch: Any) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(batch)
        model.loss(logits, batch["labels"]).backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        clip_with_norm(optimizer, parameters, norm, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    for batch in batches[:20]:
        step(batch)
    start = time.perf_counter()
    for batch in batches[20:]:
        step(batch)
    seconds = time.perf_counter() - start
    with _Clock() as found:
        for batch in batches[20:]:
            step(batch)
    slowest = sorted(found.seconds.items(), key=lambda item: -item[1])[:20]
    return {
        "step_ms": 1000 * seconds / 40,
        "operators": sum(found.calls.values()) / 40,
        "self_ms": {name: round(1000 * spent / 40, 2) for name, spent in slowest},
    }


class _Clock(TorchDispatchMode):
    """Time by operator. torch's own profiler would do, but what it allocates makes every step fault its pages anew."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        start = time.perf_counter()
        result = func(*args, **(kwargs or {}))
        self.seconds[str(func)] += time.perf_counter() - start
        self.calls[str(func)] += 1
        return result


def main() -> None:
    filter_warnings()
    quiet_lightning()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["evaluate", "tokenise", "peak", "flops", "profile"])
    parser.add_argument("--glue_dir", type=Path, required=True)
    parser.add_argument("--task", default="cola")
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--cache", type=Path, required=True)
    options = parser.parse_args()
    parts = {"evaluate": evaluate, "tokenise": tokenise, "peak": peak, "flops": flops, "profile": profile}
    print(json.dumps(parts[options.what](options)))


if __name__ == "__main__":
    main()
