"""Speed against the Hugging Face Trainer, side by side: a table, a JSON file and a chart.

    python -m benchmarks speed --glue_dir GLUE                   # everything, about half an hour on two cores
    python -m benchmarks speed --glue_dir GLUE --parts [cola]    # a part

Every figure is a whole process; the sides take turns, and the table gives medians with the lowest and the highest.
Leave the machine alone meanwhile.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from benchmarks.measuring import PACKAGED, folder_of, machine, run
from benchmarks.speed_page import TRAININGS, Measured, draw, markdown, rows

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Setting:
    """Where the data and the model are, and how often to measure."""

    glue_dir: Path
    model: str
    folder: Path
    repeats: int = 1

    def hf(self, what: str, task: str, flags: dict[str, str] | None = None, **options: Any) -> Measured:
        """One measurement of the Hugging Face side."""
        return self._child("benchmarks.hugging_face", what, {"task": task, **options}, flags or {})

    def ours(self, what: str, task: str, **options: Any) -> Measured:
        """One measurement of ours."""
        return self._child("benchmarks.ours", what, {"task": task, **options}, {})

    def _child(self, module: str, what: str, options: dict[str, Any], more: dict[str, str]) -> Measured:
        known = {"glue_dir": str(self.glue_dir), "model": self.model, "cache": str(self.folder / module)}
        done = run(module, what, json.dumps(known | options), json.dumps(more))
        found: Measured = json.loads(done.output.splitlines()[-1])
        return found

    def fit(self, callback: str, task: str, batch_size: int, rows: int, seed: int = 0, epochs: int = 2) -> Measured:
        """What a callback of `clock` finds in a training through ``glue-lit fit``, without validation."""
        clock = self.folder / "clock.json"
        run(
            "glue_lit", "fit", f"--data.task={task}", f"--data.source={self.glue_dir}", f"--data.train_limit={rows}",
            f"--model.name_or_path={self.model}", f"--data.batch_size={batch_size}", f"--trainer.max_epochs={epochs}",
            "--trainer.limit_val_batches=0", f"--seed_everything={seed}", f"--data.cache_dir={self.folder / 'tokens'}",
            f"--trainer.default_root_dir={self.folder}", f"--trainer.callbacks+=benchmarks.clock.{callback}",
            BENCHMARK_CLOCK=str(clock),
        )  # fmt: skip
        found: Measured = json.loads(clock.read_text())
        return found

    def alternate(self, sides: dict[str, Callable[[int], Measured]]) -> Measured:
        """Measure every side once in each round, so that what slows the machine down slows all of them."""
        found: dict[str, list[Measured]] = {name: [] for name in sides}
        for number in range(self.repeats):
            for name, measure in sides.items():
                found[name].append(measure(number))
                brief = {k: round(v, 3) for k, v in found[name][-1].items() if isinstance(v, int | float)}
                print(f"  round {number + 1}, {name}: {json.dumps(brief)}", file=sys.stderr, flush=True)
        return {"rounds": found}


def second_epoch(record: Measured, rows: int) -> Measured:
    """Speed, padding and the share of each part, of what `clock.StepClock` has written in two epochs."""
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


Part = Literal["cola", "sst2", "mrpc", "qnli-evaluation", "start", "tokenising"]
PARTS: tuple[Part, ...] = get_args(Part)


def measure(part: str, setting: Setting) -> Measured:
    """All of one part: the sides in turn."""
    print(part, file=sys.stderr, flush=True)
    hf, ours = setting.hf, setting.ours
    if part in TRAININGS:
        return training(setting, part)
    if part == "tokenising":
        return setting.alternate({"hf": lambda _: hf("tokenise", "sst2"), "ours": lambda _: ours("tokenise", "sst2")})
    if part == "qnli-evaluation":
        of_both = {"what": "evaluate", "task": "qnli", "rows": 2000}
        return setting.alternate({"hf": lambda _: hf(**of_both), "ours": lambda _: ours(**of_both)})
    fits = {
        "hf": lambda _: until_step(lambda: hf("train", "cola", rows=16)),
        "ours": lambda _: until_step(lambda: setting.fit("FirstStep", "cola", 16, 16)),
    }
    for fit in fits.values():  # fills the caches
        fit(0)
    return setting.alternate(fits)


def until_step(fit: Callable[[], Measured]) -> Measured:
    """Seconds from the command to the first training step."""
    began = time.time()
    return {"seconds": fit()["first_step_at"] - began}


def training(setting: Setting, part: str) -> Measured:
    """Samples a second in training; the share of the bf16 matrix product; the parts of a step; peak memory."""
    _, task, batch_size, rows, _ = TRAININGS[part]

    def hf(flags: str) -> Callable[[int], Measured]:
        return lambda seed: setting.hf("train", task, {"flags": flags}, seed=seed, batch_size=batch_size, rows=rows)

    sides: dict[str, Callable[[int], Measured]] = {
        "hf": hf("notebook"),
        "ours": lambda seed: second_epoch(setting.fit("StepClock", task, batch_size, rows, seed), rows),
        "peak": lambda _: setting.ours("peak", task),
    }
    if part == "cola":
        sides["hf best flags"] = hf("best")
    return {**setting.alternate(sides), **setting.ours("flops", task, rows=rows)}


def speed(
    glue_dir: Path, model: str = PACKAGED, parts: tuple[Part, ...] = PARTS, repeats: int = 5,
    output: Path = HERE / "speed.json",
) -> None:  # fmt: skip
    """Measure speed against the Hugging Face Trainer: a table, a JSON file and a chart; half an hour on two cores.

    Args:
        glue_dir: The official GLUE files.
        model: Folder or name of the encoder.
        parts: What to measure.
        repeats: Rounds in which the sides take turns.
        output: The JSON file; the chart gets its name.
    """
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(glue_dir.resolve(), folder_of(model), Path(folder), repeats)
        found = {part: measure(part, setting) for part in parts}
    table = rows(found)
    record = {"machine": machine(), "repeats": repeats, "table": table, "measured": found}
    output.write_text(json.dumps(record, indent=1) + "\n")
    print(markdown(table))
    draw(table, output.with_suffix(".png"))


def profile(glue_dir: Path, task: str = "cola", model: str = PACKAGED) -> Measured:
    """Measure what holds a training step: milliseconds by operator, and how many it calls.

    Args:
        glue_dir: The official GLUE files.
        task: Its name.
        model: Folder or name of the encoder.
    """
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(glue_dir.resolve(), folder_of(model), Path(folder))
        return setting.fit("OperatorClock", task, 16, 1600, epochs=1)
