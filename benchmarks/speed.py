"""Both sides of every comparison, in turn, each in a process of its own: the figures behind the README's table."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

Figures = dict[str, list[float]]


@dataclass(frozen=True)
class Setting:
    """Where the data and the model are, and how often to measure."""

    glue_dir: Path
    model: str
    repeats: int
    folder: Path

    def hf(self, what: str, task: str, **options: Any) -> dict[str, Any]:
        """One measurement of the Hugging Face side."""
        return self._python("benchmarks.hf_speed", what, task, options)

    def ours(self, what: str, task: str, **options: Any) -> dict[str, Any]:
        """One measurement of ours."""
        return self._python("benchmarks.our_speed", what, task, options)

    def _python(self, module: str, what: str, task: str, options: dict[str, Any]) -> dict[str, Any]:
        flags = {"glue_dir": self.glue_dir, "task": task, "model": self.model, "cache": self.folder / module, **options}
        result = run([sys.executable, "-m", module, what, *(f"--{k}={v}" for k, v in flags.items() if v is not None)])
        found: dict[str, Any] = json.loads(result.splitlines()[-1])
        return found

    def fit(self, task: str, batch_size: int, rows: int | None, seed: int, timed: bool = True) -> dict[str, Any]:
        """Two epochs through ``glue-lit fit``, of which the second is timed; without validation."""
        clock = self.folder / "clock.json"
        run(
            [
                *(sys.executable, "-m", "glue_lit", "fit", f"--data.task={task}", f"--data.source={self.glue_dir}"),
                *(f"--model.name_or_path={self.model}", f"--data.batch_size={batch_size}", "--trainer.max_epochs=2"),
                *(f"--data.train_limit={rows or 'null'}", "--trainer.limit_val_batches=0", f"--seed_everything={seed}"),
                *(f"--data.cache_dir={self.folder / 'tokens'}", f"--trainer.default_root_dir={self.folder}"),
                f"--trainer.callbacks+=benchmarks.clock.{'StepClock' if timed else 'FirstStep'}",
            ],
            BENCHMARK_CLOCK=str(clock),
        )
        found: dict[str, Any] = json.loads(clock.read_text())
        return found


def run(command: list[str], **environment: str) -> str:
    """Output of a command; its errors are shown if it fails."""
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    if result.returncode:
        raise SystemExit(f"{' '.join(command)}\n{result.stderr[-3000:]}")
    return result.stdout


def alternate(repeats: int, sides: dict[str, Callable[[int], dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Measure every side once in each round, so that what slows the machine down slows all of them."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for number in range(repeats):
        for name, measure in sides.items():
            found[name].append(measure(number))
            print(f"  round {number + 1}, {name}: {json.dumps(brief(found[name][-1]))}", file=sys.stderr, flush=True)
    return found


def brief(values: dict[str, Any]) -> dict[str, Any]:
    return {k: round(v, 3) for k, v in values.items() if isinstance(v, int | float)}


def training(setting: Setting, task: str, batch_size: int, rows: int, best: bool = False) -> dict[str, Any]:
    """Samples a second in training; the share of the bf16 matrix product; the parts of a step; peak memory."""
    options = {"batch_size": batch_size, "rows": rows}

    def fit(seed: int) -> dict[str, Any]:
        record = setting.fit(task, batch_size, rows, seed)
        ends, half = record["ends"], len(record["ends"]) // 2
        seconds = ends[-1] - record["begins"][1]
        parts = {
            part: sum(step.get(part, 0.0) for step in record["parts"][half:]) / seconds
            for part in ("forward", "backward", "optimizer")
        }
        return {
            "samples_per_second": rows / seconds,
            "step_ms": 1000 * seconds / (len(ends) - half),
            "padding": 1 - sum(record["real"][half:]) / sum(record["tokens"][half:]),
            "outside": 1 - sum(parts.values()),
            "peak_rss": record["peak_rss"],
            **parts,
        }

    sides: dict[str, Callable[[int], dict[str, Any]]] = {
        "hf": lambda seed: setting.hf("train", task, flags="notebook", seed=seed, **options),
        "ours": fit,
        "peak": lambda _: setting.ours("peak", task),
    }
    if best:
        sides["hf best flags"] = lambda seed: setting.hf("train", task, flags="best", seed=seed, **options)
    return {"rounds": alternate(setting.repeats, sides), **setting.ours("flops", task, rows=rows)}


def evaluation(setting: Setting, task: str, rows: int | None) -> dict[str, Any]:
    """Samples a second in evaluation."""
    sides: dict[str, Callable[[int], dict[str, Any]]] = {
        "hf": lambda _: setting.hf("evaluate", task, batch_size=16, rows=rows),
        "ours": lambda _: setting.ours("evaluate", task, rows=rows),
    }
    return {"rounds": alternate(setting.repeats, sides)}


def start(setting: Setting, task: str) -> dict[str, Any]:
    """Seconds from the command to the first training step, everything cached."""

    def hf(_: int) -> dict[str, Any]:
        began = time.time()
        return {"seconds": setting.hf("train", task, rows=16)["first_step_at"] - began}

    def ours(_: int) -> dict[str, Any]:
        began = time.time()
        return {"seconds": setting.fit(task, 16, 16, 0, timed=False)["first_step_at"] - began}

    hf(0), ours(0)  # fill the caches
    return {"rounds": alternate(setting.repeats, {"hf": hf, "ours": ours})}


def tokenising(setting: Setting, task: str) -> dict[str, Any]:
    """Seconds to tokenise the training rows, the first time and from the cache."""
    sides: dict[str, Callable[[int], dict[str, Any]]] = {
        "hf": lambda _: setting.hf("tokenise", task),
        "ours": lambda _: setting.ours("tokenise", task),
    }
    return {"rounds": alternate(setting.repeats, sides)}


PARTS: dict[str, Callable[[Setting], dict[str, Any]]] = {
    "cola": lambda setting: training(setting, "cola", 16, 1600, best=True),
    "sst2": lambda setting: training(setting, "sst2", 32, 1600),
    "mrpc": lambda setting: training(setting, "mrpc", 16, 480),
    "qnli-evaluation": lambda setting: evaluation(setting, "qnli", 2000),
    "start": lambda setting: start(setting, "cola"),
    "tokenising": lambda setting: tokenising(setting, "sst2"),
}


def measure(glue_dir: Path, model: str, repeats: int, parts: list[str]) -> dict[str, Any]:
    """All that ``parts`` name, by their names."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(glue_dir.resolve(), model, repeats, Path(folder))
        for part in parts:
            print(part, file=sys.stderr, flush=True)
            found[part] = PARTS[part](setting)
    return found


def of(rounds: list[dict[str, Any]], key: str) -> list[float]:
    return [values[key] for values in rounds]


def rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each target: both figures with their spread, and the ratio of the medians."""
    table: list[dict[str, Any]] = []

    def add(what: str, theirs: list[float], ours: list[float], least: float, lower_is_better: bool = False) -> None:
        ratio = median(theirs) / median(ours) if lower_is_better else median(ours) / median(theirs)
        table.append({"what": what, "theirs": theirs, "ours": ours, "ratio": ratio, "least": least})

    names = {"cola": "CoLA, batch 16", "sst2": "SST-2, batch 32", "mrpc": "MRPC, batch 16"}
    least = {"cola": 2.5, "sst2": 2.3, "mrpc": 1.8}
    for part, name in names.items():
        if part not in found:
            continue
        rounds = found[part]["rounds"]
        ours = of(rounds["ours"], "samples_per_second")
        add(f"{name}: training, samples/s", of(rounds["hf"], "samples_per_second"), ours, least[part])
        if "hf best flags" in rounds:
            theirs = of(rounds["hf best flags"], "samples_per_second")
            add(f"{name}: against HF's best flags", theirs, ours, 1.3)
        share = [
            speed * found[part]["flops_per_sample"] / peak
            for speed, peak in zip(ours, of(rounds["peak"], "flops_per_second"), strict=True)
        ]
        table.append({"what": f"{name}: share of the bf16 product", "theirs": None, "ours": share,
                      "ratio": median(share), "least": 0.35})  # fmt: skip
        outside = of(rounds["ours"], "outside")
        table.append({"what": f"{name}: outside forward, backward, optimizer", "theirs": None, "ours": outside,
                      "ratio": median(outside), "least": 0.05})  # fmt: skip
        memory = [[value / 2**20 for value in of(rounds[side], "peak_rss")] for side in ("hf", "ours")]
        add(f"{name}: peak memory, MiB", memory[0], memory[1], 1.0, lower_is_better=True)
    if "qnli-evaluation" in found:
        rounds = found["qnli-evaluation"]["rounds"]
        sides = [of(rounds[side], "samples_per_second") for side in ("hf", "ours")]
        add("QNLI dev: evaluation, samples/s", *sides, 3.0)
    if "start" in found:
        rounds = found["start"]["rounds"]
        sides = [of(rounds[side], "seconds") for side in ("hf", "ours")]
        add("command to first step, s", *sides, 1.0, lower_is_better=True)
    if "tokenising" in found:
        rounds = found["tokenising"]["rounds"]
        for key, what, need in (("first", "first time", 1.0), ("cached", "from the cache", 5.0)):
            sides = [of(rounds[side], key) for side in ("hf", "ours")]
            add(f"SST-2 train: tokenising, {what}, s", *sides, need, lower_is_better=True)
    return table
