"""What a large load costs: many rows, runs, classes, characters and processes; see RESULTS.md for what was found.

    python -m benchmarks load --model DIR predict --rows [1000000,10000000]
    python -m benchmarks load --model DIR train --rows [2000000]

Every measurement is of ``glue-lit`` in a process of its own, in an empty folder. Prints one JSON object a line.
"""

import contextlib
import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.measuring import run

WORDS = ("room", "host", "bed", "view", "coffee", "street", "noise", "lift", "garden", "price", "staff", "key", "pool")
Measured = dict[str, Any]


def texts(rows: int) -> Iterator[str]:
    """Made-up sentences of 4 to 12 words, no two alike."""
    draw = random.Random(0)
    for row in range(rows):
        yield f"{' '.join(draw.choices(WORDS, k=draw.randint(3, 11)))} {row}"


def write_csv(path: Path, rows: int, classes: int = 2) -> Path:
    """A file with a text and a label in each row; every class occurs."""
    with path.open("w", encoding="utf-8") as file:
        file.write("text,label\n")
        file.writelines(f"{text},label {row % classes}\n" for row, text in enumerate(texts(rows)))
    return path


class Growth:
    """The size of a folder's unfinished files, and of the process that writes them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.begun, self.points = folder, time.perf_counter(), list[tuple[int, int, int]]()

    def __call__(self, process: int) -> None:
        written = sum(path.stat().st_size for path in self.folder.glob(".*"))  # a file takes its name at its end
        status = Path(f"/proc/{process}/status").read_text()
        resident = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")]
        self.points.append((round(time.perf_counter() - self.begun), written // 10**6, sum(resident) // 1024))


class Anonymous:
    """The highest anonymous memory of a process, in MiB: what is not pages of files, which the system can drop."""

    def __init__(self) -> None:
        self.peak = 0

    def __call__(self, process: int) -> None:
        with contextlib.suppress(OSError):  # it has just ended
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Anonymous:"):
                    self.peak = max(self.peak, int(line.split()[1]) // 1024)


class Load:
    """What a large load costs, each part in an empty folder.

    Args:
        model: Folder of a model; a tiny one shows our own cost best.
        disk: Folder for the files, which are deleted at the end; by default that of the system.
    """

    def __init__(self, model: str, disk: Path | None = None) -> None:
        self.model = model
        self._temporary = tempfile.TemporaryDirectory(dir=disk)
        self._folder = Path(self._temporary.name)

    def _glue_lit(self, *arguments: object, watch: Growth | Anonymous | None = None, **environment: str) -> Measured:
        """Run a command: its seconds, the processor's, and its highest resident size."""
        done = run("glue_lit", *arguments, folder=self._folder, watch=watch, **environment)
        found: Measured = {
            "seconds": round(done.seconds, 1),
            "processor_seconds": round(done.processor_seconds, 1),
            "peak_mib": round(done.peak_mib),
        }
        if isinstance(watch, Anonymous):
            found["peak_anonymous_mib"] = watch.peak
        if isinstance(watch, Growth):
            found["curve: seconds, MB written, MiB resident"] = watch.points[:: max(1, len(watch.points) // 20)]
        return found

    def _fit(self, source: Path, *more: object, watch: Anonymous | None = None, **environment: str) -> Measured:
        """A fit on a file of texts and labels."""
        return self._glue_lit(
            "fit", "--data.task", "load", "--data.source", source, "--data.custom.text", "text",
            "--data.custom.label", "label", "--model.name_or_path", self.model, "--trainer.accelerator", "cpu", *more,
            watch=watch, GLUE_LIT_CACHE=str(self._folder / "cache"), **environment,
        )  # fmt: skip

    def _small_run(self) -> Path:
        """A run of two classes that has seen forty rows."""
        self._fit(write_csv(self._folder / "small.csv", 40), "--trainer.max_epochs", 1)
        return self._folder / "lightning_logs/load/version_0"

    def predict(self, rows: tuple[int, ...] = (1_000_000,)) -> Iterator[Measured]:
        """Rows of a file through `predict`: memory and time against their number."""
        predictions = self._small_run() / "predictions"
        for count in rows:
            source = write_csv(self._folder / "rows.csv", count)
            command = ("predict", "--file", source, "--columns", "text")
            yield {"rows": count} | self._glue_lit(*command, watch=Growth(predictions))
            shutil.rmtree(predictions)

    def train(self, rows: tuple[int, ...] = (1_000_000,)) -> Iterator[Measured]:
        """A training file of many rows: one step and no more, with a cold cache and with a warm one."""
        for count in rows:
            source = write_csv(self._folder / "train.csv", count)
            for cache in ("cold", "warm"):
                yield {"rows": count, "cache": cache} | self._first_step(source)

    def _first_step(self, source: Path) -> Measured:
        clock, begun = self._folder / "clock.json", time.time()
        found = self._fit(
            source, "--trainer.max_steps", 1, "--data.validation_limit", 100,
            "--trainer.callbacks+=benchmarks.clock.FirstStep", watch=Anonymous(), BENCHMARK_CLOCK=str(clock),
        )  # fmt: skip
        return {"first_step": round(json.loads(clock.read_text())["first_step_at"] - begun, 1)} | found

    def runs(self, count: int = 500) -> Iterator[Measured]:
        """Many runs in lightning_logs: what it takes to list them, and to find the newest."""
        first = self._small_run()
        validate = ("validate", "--ckpt_path", "best")
        yield {"runs": 1, "command": " ".join(validate)} | self._glue_lit(*validate)
        for number in range(1, count):
            other, but = first.with_name(f"version_{number}"), shutil.ignore_patterns("events*")
            shutil.copytree(first, other, copy_function=os.link, ignore=but)
        for command in (("runs",), validate):
            yield {"runs": count, "command": " ".join(command)} | self._glue_lit(*command)

    def long(self, characters: int = 1_000_000) -> Iterator[Measured]:
        """Rows of so many characters: a fit on twenty of them, and their prediction."""
        source = self._folder / "long.csv"
        lines = (f"{(text + ' ') * (characters // len(text))},{row % 2}\n" for row, text in enumerate(texts(20)))
        source.write_text("text,label\n" + "".join(lines))
        size = {"characters": characters, "rows": 20}
        yield size | {"command": "fit"} | self._fit(source, "--trainer.max_epochs", 1)
        yield size | {"command": "predict"} | self._glue_lit("predict", "--file", source, "--columns", "text")

    def classes(self, classes: int = 10_000) -> Iterator[Measured]:
        """Very many classes: a fit with a row of each held out, and predictions that name every one's probability."""
        source = write_csv(self._folder / "many.csv", 4 * classes, classes)
        few = write_csv(self._folder / "few.csv", 1000)
        many = ("--data.custom.kind", "classification", "--trainer.max_epochs", 1, "--data.batch_size", 64)
        yield {"classes": classes, "command": "fit"} | self._fit(source, *many)
        for command in (("validate", "--ckpt_path", "best"), ("predict", "--file", few, "--columns", "text")):
            yield {"classes": classes, "command": command[0]} | self._glue_lit(*command)

    def cold(self, processes: int = 8) -> Measured:
        """Processes that begin the same fit at once, with no cache: each gets its own run, and all the same score."""
        source = write_csv(self._folder / "train.csv", 2000)
        with ThreadPoolExecutor(processes) as pool:
            found = list(pool.map(lambda _: self._fit(source, "--trainer.max_epochs", 1), range(processes)))
        records = [json.loads(path.read_text()) for path in self._folder.glob("lightning_logs/load/*/metrics.json")]
        return {
            "processes": processes,
            "runs": len(records),
            "scores": len({json.dumps(record["metrics"], sort_keys=True) for record in records}),
            "files in the cache": len(list((self._folder / "cache").iterdir())),
            "seconds": max(each["seconds"] for each in found),
        }
