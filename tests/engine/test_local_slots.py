import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from glue_lit.engine import executor, local_slots
from glue_lit.engine.job import Job
from glue_lit.engine.local_slots import LocalSlots, visible_gpus
from glue_lit.engine.settings import Engine, open_executor
from glue_lit.errors import UsageError
from glue_lit.runs.locks import lock_run
from glue_lit.runs.run import Run


@dataclass(frozen=True)
class Script(Job):
    """A job that runs a few lines of Python in place of a training."""

    def command(self) -> list[str]:
        return [sys.executable, "-c", *self.arguments]


PRINT_ENVIRONMENT = "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES'), os.environ['OMP_NUM_THREADS'], os.environ['GLUE_LIT_JOB'])"


def wait_for(slots: LocalSlots, count: int) -> dict[str, int]:
    codes: dict[str, int] = {}
    until = time.monotonic() + 60
    while len(codes) < count and time.monotonic() < until:
        codes |= {job.name: code for job, code in slots.pop_ended()}
        time.sleep(0.02)
    return codes


def test_gpus_and_threads_are_divided_among_the_slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(local_slots, "usable_cores", lambda: 9)
    slots = LocalSlots(gpus_per_job=2)
    assert slots.slots == 2
    wait = f"{PRINT_ENVIRONMENT}\nimport sys, time\nsys.stdout.flush()\ntime.sleep(1)"
    jobs = [Script(name, tmp_path / name, (wait,), "cola") for name in "abc"]
    slots.start(jobs[0])
    slots.start(jobs[1])
    assert slots.free_slots == 0
    assert wait_for(slots, 2) == {"a": 0, "b": 0}
    slots.start(jobs[2])
    assert wait_for(slots, 1) == {"c": 0}
    printed = [job.output.read_text().split() for job in jobs]
    assert printed == [
        ["4,5", "4", str(tmp_path / "a")],
        ["6,7", "4", str(tmp_path / "b")],
        ["4,5", "4", str(tmp_path / "c")],
    ]
    slots.close()


@pytest.mark.parametrize(
    ("allowed", "share", "threads"),
    [(None, 4, 4), ("1", 4, 1), ("2,1", 4, 2), ("8", 4, 4), ("", 4, 4), ("0", 4, 4), ("many", 4, 4)],
)
def test_no_more_threads_than_the_user_allows(
    allowed: str | None, share: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if allowed is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", allowed)
    assert local_slots.limit_threads(share) == threads


def test_the_users_number_of_threads_reaches_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr(local_slots, "usable_cores", lambda: 9)
    slots = LocalSlots(1, gpus_per_job=0)
    job = Script("a", tmp_path / "a", (PRINT_ENVIRONMENT,), "cola")
    slots.start(job)
    assert wait_for(slots, 1) == {"a": 0}
    assert job.output.read_text().split()[1] == "3"
    slots.close()


GIB = 2**30


@pytest.mark.parametrize(
    ("cores", "available", "settings", "slots", "threads"),
    [
        (2, 20 * GIB, {"memory": 2 * GIB}, 2, 1),
        (16, 200 * GIB, {"memory": 2 * GIB}, 4, 4),
        (16, 7 * GIB, {"memory": 3 * GIB}, 2, 8),  # as many as fit
        (16, GIB, {"memory": 3 * GIB}, 1, 16),
        (16, None, {"memory": 3 * GIB}, 1, 16),
        (16, 200 * GIB, {}, 1, 16),
        (6, 200 * GIB, {"memory": GIB, "cpus_per_job": 3}, 2, 3),
        (16, 200 * GIB, {"memory": GIB, "slots": 1}, 1, 16),
        (2, GIB, {"memory": 3 * GIB, "slots": 5}, 5, 1),
    ],
)
def test_processors_without_a_gpu_run_as_many_jobs_as_have_room(
    cores: int, available: int | None, settings: dict[str, int], slots: int, threads: int,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(local_slots, "usable_cores", lambda: cores)
    monkeypatch.setattr(local_slots, "available_memory", lambda: available)
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    found = LocalSlots(**settings)
    started: list[dict[str, str]] = []
    monkeypatch.setattr(local_slots, "start_process", lambda job, environment: started.append(environment))
    found.start(Script("a", tmp_path, (), "cola"))
    assert (found.slots, started) == (slots, [{"OMP_NUM_THREADS": str(threads)}])
    monkeypatch.setattr("torch.accelerator.is_available", lambda: True)  # such as Apple's
    assert LocalSlots(**{"slots": None, **settings}).slots == settings.get("slots", 1)


def test_jobs_can_be_kept_off_the_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    slots = LocalSlots(3, gpus_per_job=0, cpus_per_job=5)
    job = Script("a", tmp_path / "a", (PRINT_ENVIRONMENT,), "cola")
    slots.start(job)
    wait_for(slots, 1)
    assert job.output.read_text().split(" ")[:2] == ["", "5"]


def test_jobs_share_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first ones have a GPU each."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    monkeypatch.setenv("PATH", "")  # no nvidia-smi
    assert LocalSlots(jobs_per_gpu=3).slots == 6
    slots = LocalSlots(3, jobs_per_gpu=3)
    jobs = [Script(name, tmp_path / name, ("import os, time; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); time.sleep(1)",), "cola")
            for name in "abc"]  # fmt: skip
    for job in jobs:
        slots.start(job)
    wait_for(slots, 3)
    assert [job.output.read_text().strip() for job in jobs] == ["4", "5", "4"]


def test_gpus_that_cannot_be_shared_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '0, GPU-8932f937, 5000'; echo '1, GPU-77aa, 900'; echo '2, GPU-5b, [N/A]'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin{os.pathsep}/usr/bin")
    for gpus, jobs, message in (
        ("", 2, r"got 2, but this machine has no GPU\. `--engine\.slots 2` runs as many"),
        ("0", 5, r"got 5, but GPU 0 has 5,000 MiB free, and each .* 1,024 MiB or more\. Allowed: up to 4\."),
        ("0,GPU-77aa", 2, r"GPU GPU-77aa has 900 MiB free, .* Allowed: none before others free it\."),
    ):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
        with pytest.raises(UsageError, match=message):
            LocalSlots(jobs_per_gpu=jobs)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")
    assert LocalSlots(jobs_per_gpu=4).slots == 8
    for settings, message in (
        ({"jobs_per_gpu": 2, "gpus_per_job": 2}, "with 2 GPUs of each"),
        ({"jobs_per_gpu": 0}, "got 0, allowed: 1"),
    ):
        with pytest.raises(UsageError, match=message):
            open_executor(Engine(**settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"slots": 0}, "--engine.slots: got 0, allowed: 1 or more"),
        ({"slots": 3}, "--engine.slots: got 3, allowed: up to 2 (2 GPUs, 1 per job)"),
        ({"gpus_per_job": 4}, "--engine.gpus_per_job: got 4, but this machine has 2 GPUs"),
    ],
)
def test_jobs_larger_than_the_machine_are_refused(
    settings: dict[str, int], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(UsageError) as error:
        LocalSlots(**settings)
    assert message in str(error.value)


def test_visible_gpus_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for value, expected in (("", []), ("-1", []), ("0, 2", ["0", "2"]), ("GPU-8932f937", ["GPU-8932f937"])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        assert visible_gpus() == expected
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA X'; echo 'GPU 1: NVIDIA X'; echo '  MIG 1g'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin{os.pathsep}/usr/bin")
    assert visible_gpus() == ["0", "1"]
    monkeypatch.setenv("PATH", "")
    assert visible_gpus() == []


def test_a_job_that_ignores_the_request_to_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    slots = LocalSlots(2)
    obedient = "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(75))\nprint('ready', flush=True)\ntime.sleep(99)"
    deaf = (
        "import signal, time\nsignal.signal(15, lambda *_: None)\nprint('ready', flush=True)\nwhile True: time.sleep(9)"
    )
    jobs = [
        Script("obedient", tmp_path / "obedient", (obedient,), "cola"),
        Script("deaf", tmp_path / "deaf", (deaf,), "cola"),
    ]
    for job in jobs:
        slots.start(job)
    until = time.monotonic() + 30
    while not all(job.output.read_text() for job in jobs) and time.monotonic() < until:
        time.sleep(0.02)
    slots.stop(jobs[0])
    assert wait_for(slots, 1) == {"obedient": 75}
    began = time.monotonic()
    slots.close(patience=0.5)
    assert time.monotonic() - began < 10
    assert slots.free_slots == 2


def test_a_job_starts_after_the_orphan_that_still_trains_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "a" / "lightning_logs" / "cola" / "version_0"
    run.mkdir(parents=True)
    (run / "config.yaml").touch()
    handle = lock_run(Run(run))
    assert handle is not None
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            os.close(handle)

    monkeypatch.setattr(executor.time, "sleep", sleep)
    slots = LocalSlots(1)
    slots.start(Script("a", tmp_path / "a", ("pass",), "cola"))
    assert len(waits) == 3
    monkeypatch.undo()
    assert wait_for(slots, 1) == {"a": 0}
