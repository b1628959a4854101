"""Slots of this machine, each for one training at a time."""

import contextlib
import os
import re
import subprocess
import time
from dataclasses import dataclass
from typing import IO

from glue_lit.engine.job import Job
from glue_lit.errors import RunError, UsageError
from glue_lit.runs.locks import lock_run
from glue_lit.system.environment import JOB_FOLDER

PATIENCE = 120  # seconds for a process that was asked to stop


@dataclass
class _Child:
    job: Job
    slot: int
    process: "subprocess.Popen[bytes]"
    output: IO[bytes]


class LocalSlots:
    """Run jobs as processes on this machine, one a slot.

    Args:
        slots: How many; ``None`` for as many as there are groups of GPUs, 1 without a GPU.
        gpus_per_job: GPUs of each job; ``None`` for 1, if there are any.
        cpus_per_job: Threads of each job; ``None`` to divide those of this machine, with no more than OMP_NUM_THREADS.

    Raises:
        UsageError: This machine has too few GPUs.
    """

    def __init__(self, slots: int | None = None, gpus_per_job: int | None = None, cpus_per_job: int | None = None):
        gpus = visible_gpus()
        each = min(1, len(gpus)) if gpus_per_job is None else gpus_per_job
        if each > len(gpus):
            raise UsageError(f"--engine.gpus_per_job: got {each}, this machine has {len(gpus)} GPUs.")
        most = len(gpus) // each if each else 1
        self.slots = most if slots is None else slots
        if self.slots < 1:
            raise UsageError(f"--engine.slots: got {slots}, allowed: 1 or more.")
        if each and self.slots > most:
            raise UsageError(
                f"--engine.slots: got {slots}, allowed: up to {most} ({len(gpus)} GPUs, {each} a job). "
                "`--engine.gpus_per_job 0` keeps jobs off the GPUs."
            )
        self._gpus = [",".join(gpus[slot * each : (slot + 1) * each]) for slot in range(self.slots)] if gpus else []
        self._threads = cpus_per_job or limit_threads(max(1, usable_cores() // self.slots))
        self._children: list[_Child] = []

    @property
    def free_slots(self) -> int:
        """How many jobs can start now."""
        return self.slots - len(self._children)

    def start(self, job: Job) -> None:
        """Start a job, or resume it."""
        slot = min(set(range(self.slots)) - {child.slot for child in self._children})
        environment = {"OMP_NUM_THREADS": str(self._threads)}
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self._gpus[slot]
        process, output = start_process(job, environment)
        self._children.append(_Child(job, slot, process, output))

    def pop_ended(self) -> list[tuple[Job, int]]:
        """The jobs whose process has ended since the last call, with its exit status."""
        ended = [child for child in self._children if child.process.poll() is not None]
        self._children = [child for child in self._children if child not in ended]
        for child in ended:
            child.output.close()
        return [(child.job, child.process.returncode) for child in ended]

    def stop(self, job: Job) -> None:
        """Ask a job to write its checkpoint and end."""
        for child in self._children:
            if child.job == job:
                child.process.terminate()

    def close(self, patience: float = PATIENCE) -> None:
        """End all jobs, and kill those that take longer than ``patience`` seconds."""
        for child in self._children:
            child.process.terminate()
        until = time.monotonic() + patience
        while self._children and time.monotonic() < until:
            self.pop_ended()
            time.sleep(0.1)
        for child in self._children:
            child.process.kill()
            child.process.wait()
        self.pop_ended()


def start_process(job: Job, environment: dict[str, str]) -> tuple["subprocess.Popen[bytes]", IO[bytes]]:
    """Start the process of a job, in a session of its own: a Ctrl-C is for the driver, which then asks it to stop.

    Raises:
        RunError: Its folder cannot be written.
    """
    _wait_for_orphan(job)
    try:
        job.folder.mkdir(parents=True, exist_ok=True)
        output = job.output.open("ab")
    except OSError as error:
        raise RunError(f"Cannot write into {job.folder} ({error.strerror}).") from None
    process = subprocess.Popen(
        job.command(), env=os.environ | environment | {JOB_FOLDER: str(job.folder)}, stdin=subprocess.DEVNULL,
        stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    return process, output


def _wait_for_orphan(job: Job) -> None:
    """Wait for a process whose driver was killed to write its checkpoint and end: two must not train one run."""
    until = time.monotonic() + PATIENCE
    while (run := job.run) is not None:
        try:
            handle = lock_run(run)
        except RunError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
            continue
        if handle is not None:
            os.close(handle)
        return


def usable_cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_threads(share: int) -> int:
    """A job's share of the processors, but no more threads than the user allows a process.

    On a machine that others use too, threads without a processor of their own wait for each other in circles: a
    training with two of them on the one that was left took more than ten times as long as with one.
    """
    allowed = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # a list has a number for each level
    return min(share, int(allowed)) if allowed.isdecimal() and int(allowed) else share


def visible_gpus() -> list[str]:
    """Names of the GPUs that trainings may use, without CUDA, which would take memory on each."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False)
        return [str(number) for number in range(len(re.findall("^GPU ", listed.stdout, re.MULTILINE)))]
    return []
