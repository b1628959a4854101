"""What a large load costs: many rows, runs, classes, characters and processes; see RESULTS.md for what was found.

    python -m benchmarks.load predict --model DIR --rows 1000000 10000000
    python -m benchmarks.load train --model DIR --rows 2000000

Every measurement is of ``glue-lit`` in a process of its own, in an empty folder. Prints one JSON object a line.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

WORDS = ("room", "host", "bed", "view", "coffee", "street", "noise", "lift", "garden", "price", "staff", "key", "pool")


def texts(rows: int, seed: int = 0) -> Iterator[str]:
    """Made-up sentences of 4 to 12 words, no two alike."""
    draw = random.Random(seed)
    for row in range(rows):
        yield f"{' '.join(draw.choices(WORDS, k=draw.randint(3, 11)))} {row}"


def write_csv(path: Path, rows: int, classes: int = 2) -> None:
    """A file with a text and a label in each row; every class occurs."""
    with path.open("w", encoding="utf-8") as file:
        file.write("text,label\n")
        file.writelines(f"{text},label {row % classes}\n" for row, text in enumerate(texts(rows)))


def glue_lit(folder: Path, *arguments: object, watched: Path | None = None, **environment: str) -> dict[str, Any]:
    """Run a command and measure it: seconds, seconds of processor, highest resident size in MiB.

    Args:
        folder: Where.
        arguments: Of the command.
        watched: A folder whose growth is noted with the resident size, some twenty times.
        environment: Added to that of this process.
    """
    start = time.perf_counter()
    with (folder / "output.log").open("a") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "glue_lit", *map(str, arguments)], cwd=folder, env={**os.environ, **environment},
            stdout=output, stderr=output,
        )  # fmt: skip
        curve: list[tuple[float, float, float]] = []
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if watched is not None and (status := Path(f"/proc/{process.pid}/status")).is_file():
                size = sum(path.stat().st_size for path in watched.glob(".*"))  # it takes its name at its end
                resident = [int(line.split()[1]) for line in status.read_text().splitlines() if "VmRSS" in line]
                curve.append((time.perf_counter() - start, size / 1e6, sum(resident) / 1024))
            time.sleep(0.2)
        _, status_code, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status_code)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, arguments))}: {(folder / 'output.log').read_text()[-800:]}")
    found = {
        "seconds": round(time.perf_counter() - start, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mib": round(usage.ru_maxrss / 1024),
    }
    if curve:
        found["curve: seconds, MB written, MiB resident"] = [
            tuple(round(value) for value in point) for point in curve[:: max(1, len(curve) // 20)]
        ]
    return found


def fit(folder: Path, model: str, source: Path, *more: object, **environment: str) -> dict[str, Any]:
    """A fit on a file of texts and labels."""
    return glue_lit(
        folder, "fit", "--data.task", "load", "--data.source", source, "--data.custom.text", "text",
        "--data.custom.label", "label", "--model.name_or_path", model, "--trainer.accelerator", "cpu", *more,
        GLUE_LIT_CACHE=environment.pop("GLUE_LIT_CACHE", str(folder / "cache")), **environment,
    )  # fmt: skip


def small_run(folder: Path, model: str) -> Path:
    """A run of two classes that has seen eight rows."""
    write_csv(folder / "small.csv", 40)
    fit(folder, model, folder / "small.csv", "--trainer.max_epochs", 1)
    return folder / "lightning_logs/load/version_0"


def predict(folder: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Rows of a file through `predict`: memory and time against their number."""
    run = small_run(folder, options.model)
    for rows in options.rows:
        write_csv(folder / "rows.csv", rows)
        yield {"rows": rows} | glue_lit(
            folder, "predict", "--file", "rows.csv", "--columns", "text", watched=run / "predictions"
        )
        shutil.rmtree(run / "predictions")


def train(folder: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A training file of many rows: one step and no more, with a cold cache and with a warm one."""
    for rows in options.rows:
        write_csv(folder / "train.csv", rows)
        clock = {"BENCHMARK_CLOCK": str(folder / "clock.json"), "PYTHONPATH": os.pathsep.join(sys.path)}
        for cache in ("cold", "warm"):
            begun = time.time()
            found = fit(
                folder, options.model, folder / "train.csv", "--trainer.max_steps", 1, "--data.validation_limit", 100,
                "--trainer.callbacks+=benchmarks.clock.FirstStep", **clock,
            )  # fmt: skip
            first = json.loads((folder / "clock.json").read_text())["first_step_at"] - begun
            yield {"rows": rows, "cache": cache, "first_step": round(first, 1)} | found


def runs(folder: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Many runs in lightning_logs: what it takes to list them, and to find the newest."""
    run = small_run(folder, options.model)
    alone = glue_lit(folder, "validate", "--ckpt_path", "best")
    for number in range(1, options.count):
        other = run.with_name(f"version_{number}")
        (other / "checkpoints").mkdir(parents=True)
        for name in ("config.yaml", "metrics.json"):
            shutil.copyfile(run / name, other / name)
        for name in ("best.ckpt", "last.ckpt"):
            os.link(run / "checkpoints" / name, other / "checkpoints" / name)
    yield {"runs": options.count, "command": "runs"} | glue_lit(folder, "runs")
    yield {"runs": 1, "command": "validate --ckpt_path best"} | alone
    yield {"runs": options.count, "command": "validate --ckpt_path best"} | glue_lit(
        folder, "validate", "--ckpt_path", "best"
    )


def long(folder: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Rows of so many characters: a fit on twenty of them, and their prediction."""
    with (folder / "long.csv").open("w") as file:
        file.write("text,label\n")
        for row, text in enumerate(texts(20)):
            file.write(f"{(text + ' ') * (options.characters // len(text))},{row % 2}\n")
    size = {"characters": options.characters, "rows": 20}
    yield size | {"command": "fit"} | fit(folder, options.model, folder / "long.csv", "--trainer.max_epochs", 1)
    yield size | {"command": "predict"} | glue_lit(folder, "predict", "--file", "long.csv", "--columns", "text")


def classes(folder: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Very many classes: a fit with a row of each held out, and predictions that name the probability of every one."""
    write_csv(folder / "many.csv", 4 * options.classes, options.classes)
    many = ("--data.custom.kind", "classification", "--trainer.max_epochs", 1, "--data.batch_size", 64)
    size = {"classes": options.classes}
    yield size | {"command": "fit"} | fit(folder, options.model, folder / "many.csv", *many)
    yield size | {"command": "validate"} | glue_lit(folder, "validate", "--ckpt_path", "best")
    write_csv(folder / "few.csv", 1000)
    yield (
        size
        | {"command": "predict, 1,000 rows"}
        | glue_lit(folder, "predict", "--file", "few.csv", "--columns", "text")
    )


def cold(folder: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Processes that begin the same fit at once, with no cache: each gets a run of its own, and all the same score."""
    write_csv(folder / "train.csv", 2000)

    def one(_: int) -> dict[str, Any]:
        return fit(folder, options.model, folder / "train.csv", "--trainer.max_epochs", 1)

    with ThreadPoolExecutor(options.processes) as pool:
        found = list(pool.map(one, range(options.processes)))
    records = [json.loads(path.read_text()) for path in folder.glob("lightning_logs/load/*/metrics.json")]
    yield {
        "processes": options.processes,
        "runs": len(records),
        "scores": len({json.dumps(record["metrics"], sort_keys=True) for record in records}),
        "files in the cache": len(list((folder / "cache").iterdir())),
        "seconds": max(each["seconds"] for each in found),
    }


def main() -> None:
    """Measure one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["predict", "train", "runs", "long", "classes", "cold"])
    parser.add_argument("--model", required=True, help="folder of a model; a tiny one shows our own cost best")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--characters", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for found in globals()[options.part](Path(folder), options):
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
