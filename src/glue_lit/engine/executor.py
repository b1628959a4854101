"""The common interface of local slots and a Ray cluster, and the start of a job's process."""

import os
import subprocess
import time
from abc import ABC, abstractmethod
from typing import Any

from glue_lit.engine.job import Job
from glue_lit.errors import RunError
from glue_lit.runs.locks import lock_run
from glue_lit.system.environment import JOB_FOLDER

PATIENCE = 120  # seconds that a stopped process has to write its checkpoint


class Executor(ABC):
    """Run jobs in a number of slots, one job per slot.

    Attributes:
        slots: Number of slots.
    """

    slots: int

    def __init__(self) -> None:
        self._running: dict[Job, Any] = {}  # the process or the Ray task of each job

    @property
    def free_slots(self) -> int:
        """Number of jobs that can start now."""
        return self.slots - len(self._running)

    @abstractmethod
    def start(self, job: Job) -> None:
        """Start or resume a job in a free slot."""

    @abstractmethod
    def stop(self, job: Job) -> None:
        """Ask a job to write its checkpoint and exit."""

    @abstractmethod
    def _exit_status(self, job: Job) -> int | None:
        """Exit status of a job's process; ``None`` while it runs."""

    def pop_ended(self) -> list[tuple[Job, int]]:
        """Remove the jobs whose processes have ended; return each with its exit status."""
        ended = [(job, status) for job in self._running if (status := self._exit_status(job)) is not None]
        for job, _ in ended:
            del self._running[job]
        return ended

    def close(self, patience: float = PATIENCE) -> None:
        """Stop all jobs, and wait up to ``patience`` seconds until they have ended."""
        for job in self._running:
            self.stop(job)
        deadline = time.monotonic() + patience
        while self._running and time.monotonic() < deadline:
            self.pop_ended()
            time.sleep(0.1)


def start_process(job: Job, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Start a job's process in its own session, so that Ctrl-C reaches only the driver, which then stops the job.

    Raises:
        RunError: The job's folder cannot be written.
    """
    _wait_for_orphan(job)
    try:
        job.folder.mkdir(parents=True, exist_ok=True)
        output = job.output.open("ab")
    except OSError as error:
        raise RunError(f"Cannot write to {job.folder} ({error.strerror}).") from None
    with output:  # the process has a descriptor of its own
        return subprocess.Popen(
            job.command(), env=os.environ | environment | {JOB_FOLDER: str(job.folder)}, stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


def _wait_for_orphan(job: Job) -> None:
    """Wait for the process that a killed driver left behind: two processes must not train the same run."""
    deadline = time.monotonic() + PATIENCE
    while (run := job.run) is not None:
        try:
            handle = lock_run(run)
        except RunError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
            continue
        if handle is not None:
            os.close(handle)
        return
