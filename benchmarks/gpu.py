"""Speed on a GPU against the Hugging Face Trainer, within a number of minutes and without the Hub.

python -m benchmarks gpu                           # 8 minutes on one GPU: gpu.json and a table in Markdown
python -m benchmarks gpu --device cpu --quick true # tries the program on a processor, with a tiny model
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from benchmarks.gpu_inputs import SHAPES, TINY, make_models, make_rows
from benchmarks.gpu_page import markdown
from benchmarks.measuring import REPOSITORY, machine, run

HERE = Path(__file__).parent
CASES = [
    *({"what": "train", "task": task, "batch_size": size} for task, size in
      (("cola", 16), ("cola", 32), ("mnli", 32), ("mnli", 128))),
    *({"what": "evaluate", "task": task, "batch_size": size} for task, size in (("cola", 32), ("mnli", 128))),
]  # fmt: skip
COMPILED = [{"what": "train", "task": "mnli", "batch_size": 32}]
PACKED = [{"what": "train", "task": task, "batch_size": 32} for task in ("cola", "mnli")]
SENT = [{"what": "train", "task": task, "batch_size": size} for task, size in (("cola", 16), ("mnli", 128))]
COMPILES = ("compiled", "graphs")  # ends of sides
_LEAST = 20.0  # seconds, without which no process is begun
_COMPILING = 80.0  # seconds for one that compiles, which may take minutes
_WARM = 60  # steps of one that compiles: each of the eight lengths runs plainly, is recorded, and only then replayed


def gpu(
    minutes: float = 8.0, device: Literal["auto", "cpu"] = "auto", quick: bool = False, seconds: float = 2.0,
    output: Path = HERE / "gpu.json",
) -> None:  # fmt: skip
    """Measure training and evaluation on a GPU against the Hugging Face Trainer: a JSON file and a table.

    Args:
        minutes: Time for everything; what does not fit in is named and left out.
        device: auto for the GPU, which there must be; cpu to try the program without one.
        quick: Whether to take a tiny model and a fraction of a second for each measurement.
        seconds: Time of each training that is measured, after a warm-up.
        output: The JSON file.
    """
    import torch

    if device == "auto" and not torch.cuda.is_available():
        raise SystemExit("There is no GPU. `python -m benchmarks gpu --device cpu --quick true` tries the program.")
    # One GPU, where both sides would take all that they see.
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    os.environ["CUDA_VISIBLE_DEVICES"] = "" if device == "cpu" else seen
    deadline = time.time() + 60 * minutes
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_rows(folder / "glue", *((300, 40) if quick else (40_000, 4_000)))
        models = make_models(folder, TINY if quick else SHAPES)
        timing = {"seconds": 0.2, "warm": 2} if quick else {"seconds": seconds, "warm": 10}
        common = {"glue": str(folder / "glue"), "folder": name, "output": str(folder / "found.jsonl"), **timing}
        try:
            start = start_up(folder, next(iter(models.values())), deadline)
        except SystemExit as error:
            print(f"The start-up was not measured: {error}", file=sys.stderr)
            start = None
        for plan in plans(models, quick):
            measure({**common, **plan}, deadline)
        lines = (folder / "found.jsonl").read_text().splitlines()
    measured = [json.loads(line) for line in lines]
    record = {"machine": machine(), "minutes": minutes, "start": start, "measured": measured}
    output.write_text(json.dumps(record, indent=1) + "\n")
    print(markdown(record))


def plans(models: dict[str, str], quick: bool = False) -> Iterator[dict[str, Any]]:
    """What each process measures, the most wanted first; CUDA graphs only where there is a GPU to record them."""
    import torch

    for number, (name, folder) in enumerate(models.items()):
        of_model = {"name": name, "model": folder}
        yield {**of_model, "side": "ours", "cases": CASES if number or quick else [{"what": "peak"}, *CASES]}
        yield {**of_model, "side": "hf", "cases": CASES}
        yield {**of_model, "side": "hf best", "cases": CASES}
        if number == 0 and not quick:
            yield {**of_model, "side": "ours compiled", "cases": COMPILED}
            yield {**of_model, "side": "hf compiled", "cases": COMPILED}
            if torch.cuda.is_available():
                yield {**of_model, "side": "ours graphs", "cases": COMPILED}
        if number == 0:
            yield {**of_model, "side": "ours padding-free", "cases": PACKED}
    if not quick:  # what it gains that the GPU cuts its batches, most of all with the model that takes the least time
        name = min(models, key=lambda name: name != "distilbert")
        yield {"name": name, "model": models[name], "side": "ours sending batches", "cases": SENT}


def measure(plan: dict[str, Any], deadline: float) -> None:
    """Let a process measure a plan, and note the cases of which nothing came."""
    until = deadline
    if plan["side"].endswith(COMPILES):
        until = min(deadline, time.time() + _COMPILING)
        plan = {**plan, "warm": max(plan["warm"], _WARM)}
    reason = "no time was left"
    if until - time.time() >= _LEAST:
        print(f"{plan['name']}, {plan['side']}", file=sys.stderr, flush=True)
        reason = run_child({**plan, "until": until - _LEAST / 2}, until - time.time())
    file = Path(plan["output"])
    done = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    mine = [line for line in done if (line["model"], line["side"]) == (plan["name"], plan["side"])]
    with file.open("a") as lines:
        for case in plan["cases"][len(mine) :]:
            lines.write(json.dumps({"model": plan["name"], "side": plan["side"], **case, "failed": reason}) + "\n")


def run_child(plan: dict[str, Any], seconds: float) -> str:
    """Measure in a process of its own; returns why it ended early, if it did."""
    command = [sys.executable, "-m", "benchmarks.gpu_child", json.dumps(plan)]
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return f"it took longer than {seconds:.0f} s"
    said = [line for line in done.stderr.splitlines() if line.strip()]
    return f"its process ended with {done.returncode}: {said[-1][:200] if said else ''}"


def start_up(folder: Path, model: str, deadline: float) -> dict[str, float]:
    """Seconds from the command to the first step of both sides; raises `SystemExit` if one fails or time is over."""

    def stop_late(process: int) -> None:
        if time.time() > deadline:
            os.kill(process, signal.SIGKILL)

    clock, began = folder / "clock.json", time.time()
    run(
        "glue_lit", "fit", "--data.task=cola", f"--data.source={folder / 'glue'}", f"--model.name_or_path={model}",
        "--data.train_limit=16", "--trainer.max_steps=1", "--trainer.limit_val_batches=0",
        f"--trainer.default_root_dir={folder}", "--trainer.callbacks+=benchmarks.clock.FirstStep",
        f"--data.cache_dir={folder / 'ours' / 'tokens'}", watch=stop_late, BENCHMARK_CLOCK=str(clock),
    )  # fmt: skip
    ours = json.loads(clock.read_text())["first_step_at"] - began
    began = time.time()
    side = {"glue_dir": str(folder / "glue"), "task": "cola", "model": model, "rows": 16, "cache": str(folder / "hf")}
    found = run("benchmarks.hugging_face", "train", json.dumps(side), "{}", watch=stop_late)
    return {"hf": json.loads(found.output.splitlines()[-1])["first_step_at"] - began, "ours": ours}
