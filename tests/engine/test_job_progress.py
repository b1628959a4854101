"""A job writes its progress for the driver, and ends with it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import warm

from glue_lit.engine.job import Job


def fit(tiny_model: Path, folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "glue_lit", "fit", "--data.task=sst2", "--data.source=demo", "--data.train_limit=48",
            "--data.validation_limit=40", f"--model.name_or_path={tiny_model}", "--trainer.accelerator=cpu",
            f"--trainer.default_root_dir={folder}", "--trainer.enable_progress_bar=false", *arguments]  # fmt: skip


def environment(folder: Path) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    return {"GLUE_LIT_JOB": str(folder), "OMP_NUM_THREADS": "1"}


def test_a_training_writes_its_progress(tiny_model: Path, tmp_path: Path) -> None:
    job = Job("1", tmp_path / "job", (), "sst2")
    values = []
    for epochs, way in (
        (2, ()),
        (3, ("--run", str(tmp_path / "job/lightning_logs/sst2/version_0"), "--ckpt_path=last")),
    ):
        command = fit(tiny_model, job.folder, f"--trainer.max_epochs={epochs}")
        command = [*command[:4], *way, f"--trainer.max_epochs={epochs}"] if way else command
        done = warm.run(*command[1:], **environment(job.folder))
        assert done.returncode == 0, done.stderr
        progress = job.read_progress()
        assert (progress.step, progress.steps) == (3 * epochs, 3 * epochs)
        assert [number for number, _ in progress.values] == list(range(1, epochs + 1))
        values.append(progress.values)
        best = max(value for _, value in progress.values)
        assert job.result is not None
        assert best == pytest.approx(job.result["metrics"]["val/accuracy"])
    assert values[1][:2] == values[0]


def test_a_job_whose_driver_was_killed_writes_a_checkpoint_and_ends(tiny_model: Path, tmp_path: Path) -> None:
    script = "import subprocess, sys; subprocess.Popen(sys.argv[1:]).wait()"
    folder = tmp_path / "job"
    command = fit(tiny_model, folder, "--trainer.max_epochs=5000")
    with subprocess.Popen(
        [sys.executable, "-c", script, *command], env=os.environ | environment(folder), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as driver:  # fmt: skip
        until = time.monotonic() + 120
        while not list(folder.rglob("last.ckpt")):
            assert time.monotonic() < until
            time.sleep(0.1)
        (child,) = (
            int(path.parent.name) for path in Path("/proc").glob("[0-9]*/stat")
            if path.read_text().rpartition(")")[2].split()[1] == str(driver.pid)
        )  # fmt: skip
        driver.send_signal(signal.SIGKILL)
    (last,) = folder.rglob("last.ckpt")
    before = last.stat().st_mtime_ns
    step = json.loads((folder / "progress.json").read_text())["step"]
    while Path(f"/proc/{child}").exists():
        assert time.monotonic() < until
        time.sleep(0.1)
    assert last.stat().st_mtime_ns > before
    assert json.loads((folder / "progress.json").read_text())["step"] >= step
