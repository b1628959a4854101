"""Real `glue-lit fit` processes, killed at all kinds of moments and continued: nothing is lost, nothing differs."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import warm
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

from glue_lit.runs.checkpoints import read_checkpoint

SCRIPT = Path(__file__).with_name("faulty.py")
RUN = Path("lightning_logs/stsb/version_0")
TIMES = {"train_samples_per_second", "train_tokens_per_second", "wall_seconds", "processor_seconds"}
CLOCKED = {"work/samples_per_second", "work/tokens_per_second"}

# where, how often before, what happens, on which rank
QUICK = ["writing:4:SIGKILL:0", "validation:5:SIGTERM:0"]
KILLS = [
    *(f"training:{n}:SIGKILL:0" for n in (2, 9, 14, 21, 30)),
    *(f"backward:{n}:SIGKILL:0" for n in (12, 25)),
    *(f"updating:{n}:SIGKILL:0" for n in (3, 7, 13)),
    *(f"writing:{n}:SIGKILL:0" for n in (1, 2, 3, 5, 6)),
    *(f"renaming:{n}:SIGKILL:0" for n in (1, 4, 7)),
    *(f"validation:{n}:SIGKILL:0" for n in (1, 5, 9)),
    *(f"validated:{n}:SIGKILL:0" for n in (1, 2)),
    *(f"epoch:{n}:SIGKILL:0" for n in (1, 3)),
    "final:1:SIGKILL:0",
]
STOPS = [
    *(f"training:{n}:{s}:0" for n in (9, 20) for s in ("SIGTERM", "SIGINT")),
    *(f"validation:{n}:{s}:0" for n in (5, 9) for s in ("SIGTERM", "SIGINT")),
    *(f"training:{n}:raise:0" for n in (5, 12, 29)),
    "validation:6:raise:0",
    "updating:8:raise:0",
]
TWO = [
    *(f"training:{n}:SIGKILL:{r}" for n, r in ((4, 0), (9, 1), (13, 0))),
    *(f"validation:{n}:SIGKILL:{r}" for n, r in ((4, 0), (3, 1))),
    "writing:3:SIGKILL:0",
    *(f"training:{n}:{s}:{r}" for n, s, r in ((7, "SIGTERM", 0), (10, "SIGTERM", 1), (9, "SIGINT", 0))),
    "validation:3:SIGTERM:0",
    "training:8:raise:1",
    "training:11:raise:0",
]
STATUS = {"SIGKILL": -signal.SIGKILL, "SIGTERM": 75, "SIGINT": 130, "raise": 1}


def glue_lit(folder: Path, *arguments: str, fault: str = "") -> subprocess.CompletedProcess[str]:
    return warm.run(SCRIPT, *arguments, folder=folder, FAULT=fault, OMP_NUM_THREADS="1")


def fit(tiny_model: Path, devices: int) -> list[str]:
    """Three epochs of 12 steps (6 on two devices), two batches each; a checkpoint every 5; 4 batches a validation."""
    settings = {
        "data.task": "stsb", "data.source": "demo", "data.train_limit": 93, "data.batch_size": 4,
        "data.validation_limit": 15, "data.eval_batch_size": 4, "model.name_or_path": tiny_model, "model.learning_rate": 1e-3,
        "trainer.accelerator": "cpu", "trainer.max_epochs": 3, "trainer.log_every_n_steps": 1,
        "trainer.accumulate_grad_batches": 2, "checkpoint_every": 5,
    }  # fmt: skip
    if devices > 1:
        settings |= {"trainer.devices": devices, "trainer.strategy": "ddp"}
    return ["fit", *(f"--{name}={value}" for name, value in settings.items())]


def points(run: Path) -> list[tuple[str, int, float]]:
    """Every scalar in the event files but those that a clock decides, as often as it is there."""
    found = []
    for path in sorted(run.glob("events*")):
        for event in LegacyEventFileLoader(str(path)).Load():
            values = [value for value in event.summary.value if value.tag not in CLOCKED]
            found += [(value.tag, event.step, value.simple_value) for value in values]
    return sorted(found)


def outcome(run: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], Any, list[tuple[str, int, float]]]:
    last, best = (read_checkpoint(run / "checkpoints" / f"{name}.ckpt")["state_dict"] for name in ("last", "best"))
    figures = {k: v for k, v in json.loads((run / "metrics.json").read_text()).items() if k not in TIMES}
    return last, best, figures, points(run)


def assert_same(ours: Path, theirs: Path) -> None:
    for got, expected in zip(outcome(ours)[:2], outcome(theirs)[:2], strict=True):
        assert all(torch.equal(got[name], expected[name]) for name in expected)
    assert outcome(ours)[2:] == outcome(theirs)[2:]


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Any:
    """The same fit never interrupted, for a number of devices."""
    done: dict[int, Path] = {}

    def run(devices: int) -> Path:
        if devices not in done:
            folder = tmp_path_factory.mktemp(f"whole-{devices}")
            result = glue_lit(folder, *fit(tiny_model, devices))
            assert result.returncode == 0, result.stderr
            assert len(points(folder / RUN)) > 50
            done[devices] = folder / RUN
        return done[devices]

    return run


def go_on(folder: Path, tiny_model: Path, devices: int) -> subprocess.CompletedProcess[str]:
    """Continue the run, or begin it anew where nothing of it had been saved."""
    if (folder / RUN / "checkpoints" / "last.ckpt").is_file():
        return glue_lit(folder, "fit", "--ckpt_path", "last")
    for path in (folder / RUN).rglob("*"):
        if path.is_file():
            path.unlink()
    (folder / RUN).rename(folder / "away")
    return glue_lit(folder, *fit(tiny_model, devices))


def check(folder: Path, tiny_model: Path, whole: Path, devices: int, fault: str) -> None:
    first = glue_lit(folder, *fit(tiny_model, devices), fault=fault)
    _, _, what, rank = fault.split(":")
    if rank == "0":
        assert first.returncode == STATUS[what], first.stderr
    else:
        assert first.returncode == (75 if what == "SIGTERM" else 1), first.stderr
    if rank == "1" and what == "SIGKILL":
        assert re.search(r"error: rank 1 \(pid \d+\) was killed by SIGKILL", first.stderr)
    assert "Traceback" not in first.stderr
    assert not processes_of(folder)
    second = go_on(folder, tiny_model, devices)
    assert second.returncode == 0, second.stderr
    assert "Traceback" not in second.stderr
    assert not list((folder / RUN / "checkpoints").glob(".*"))
    assert_same(folder / RUN, whole)


def processes_of(folder: Path, seconds: float = 5.0) -> list[str]:
    """Processes that still run in a folder, after a moment to end."""
    until = time.monotonic() + seconds
    while True:
        left = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if Path(os.readlink(process / "cwd")) == folder.resolve():
                    left.append(process.name)
            except OSError:
                continue
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.2)


@pytest.mark.parametrize("fault", QUICK)
def test_a_killed_or_stopped_fit_is_resumed_exactly(tmp_path: Path, tiny_model: Path, whole: Any, fault: str) -> None:
    check(tmp_path, tiny_model, whole(1), 1, fault)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [*KILLS, *STOPS])
def test_a_fault_of_one_process_is_resumed_exactly(tmp_path: Path, tiny_model: Path, whole: Any, fault: str) -> None:
    check(tmp_path, tiny_model, whole(1), 1, fault)


@pytest.mark.slow
@pytest.mark.parametrize("fault", TWO)
def test_two_processes(tmp_path: Path, tiny_model: Path, whole: Any, fault: str) -> None:
    check(tmp_path, tiny_model, whole(2), 2, fault)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_fit_killed_at_random_moments_is_resumed_exactly(
    tmp_path: Path, tiny_model: Path, whole: Any, seed: int
) -> None:
    # by the clock, wherever that is: some fall into start-up, some after the end
    rng = random.Random(seed)
    command = fit(tiny_model, 1)
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), *command], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env={**os.environ, "FAULT": "", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        time.sleep(rng.uniform(3, 9))
        process.kill()
        process.communicate()
        if (tmp_path / RUN / "checkpoints" / "last.ckpt").is_file():
            command = ["fit", "--ckpt_path", "last"]
        elif (tmp_path / RUN).exists():
            (tmp_path / RUN).rename(tmp_path / f"away-{rng.random()}")
    result = glue_lit(tmp_path, *command)
    assert result.returncode == 0, result.stderr
    assert_same(tmp_path / RUN, whole(1))


def test_a_process_that_dies_ends_the_other_by_name(tmp_path: Path, tiny_model: Path) -> None:
    result = glue_lit(tmp_path, *fit(tiny_model, 2), fault="training:9:SIGKILL:1")
    assert result.returncode == 1
    assert re.search(r"error: rank 1 \(pid \d+\) was killed by SIGKILL", result.stderr)
    assert "To resume: glue-lit fit --run lightning_logs/stsb/version_0 --ckpt_path last" in result.stderr
    assert not processes_of(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_process_that_hangs_ends_the_other_within_a_minute(tmp_path: Path, tiny_model: Path, rank: str) -> None:
    # a stopped process keeps its connections: nothing but the missing sign of life gives it away
    errors = tmp_path / "errors"
    with errors.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), *fit(tiny_model, 2)],
            cwd=tmp_path,
            env={**os.environ, "FAULT": f"training:9:SIGSTOP:{rank}", "OMP_NUM_THREADS": "1"},
            stderr=file,
            stdout=subprocess.DEVNULL,
        )
    try:
        until = time.monotonic() + 100  # start-up included
        while f"error: rank {rank} " not in errors.read_text() and time.monotonic() < until:
            time.sleep(0.5)
        assert re.search(rf"error: rank {rank} .*has died", errors.read_text())
        assert len(processes_of(tmp_path)) == (rank == "0")  # a stopped parent is nobody's to end
    finally:
        process.kill()
        process.wait()
