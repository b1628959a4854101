"""A Ray cluster: each training is a task that Ray places, and starts again elsewhere if its node is lost."""

import logging
import os
import socket
import subprocess
import time
from typing import Any

from glue_lit.engine.job import Job
from glue_lit.engine.local_slots import PATIENCE, start_process
from glue_lit.errors import UsageError

_INTERVAL = 0.5  # seconds between two looks at a process
_LOST = -1  # exit status of a training whose node was lost too often


class RayCluster:
    """Run jobs as tasks of a Ray cluster. Its nodes share the folder of the jobs.

    Args:
        slots: How many at once; ``None`` for as many as the cluster has room for.
        gpus_per_job: GPUs of each job; ``None`` for 1, if the cluster has any.
        cpus_per_job: Processor threads of each job; ``None`` for 1.
        address: Of a running cluster; ``None`` to start one on this machine.
        retries: How often a task is started again whose node was lost.

    Raises:
        UsageError: Ray is not installed, there is no such cluster, or it has no room for one job.
    """

    def __init__(
        self,
        slots: int | None = None,
        gpus_per_job: int | None = None,
        cpus_per_job: int | None = None,
        address: str | None = None,
        retries: int = 3,
    ) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ImportError:
            raise UsageError("--engine.executor ray needs Ray: `pip install 'glue-lit[ray]'`.") from None
        self._ray: Any = ray
        self._tasks: dict[Any, Job] = {}  # by the reference to the task's result
        self._is_ours = not self._ray.is_initialized()
        if self._is_ours:
            try:
                _check_listening(address)
                self._ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR)
            except (OSError, RuntimeError, ValueError) as error:
                reason = " ".join(str(error).split())[:200]
                raise UsageError(f"--engine.address: there is no Ray cluster at {address!r} ({reason}).") from error
        self._threads = cpus_per_job or 1
        gpus, room = self._room(gpus_per_job)
        self.slots = room if slots is None else slots
        self._task = self._ray.remote(num_cpus=self._threads, num_gpus=gpus, max_retries=retries)(run_job)

    def _room(self, gpus_per_job: int | None) -> tuple[int, int]:
        """GPUs of a job, and how many jobs the cluster has room for."""
        resources = self._ray.cluster_resources()
        cpus, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
        each = min(1, int(gpus)) if gpus_per_job is None else gpus_per_job
        room = int(min(cpus // self._threads, gpus // each if each else cpus))
        if room < 1:
            self.close()
            raise UsageError(
                f"The Ray cluster has {cpus:g} CPUs and {gpus:g} GPUs, a job takes {self._threads} and {each}. "
                "Lower --engine.cpus_per_job or --engine.gpus_per_job."
            )
        return each, room

    @property
    def free_slots(self) -> int:
        """How many jobs can start now."""
        return self.slots - len(self._tasks)

    def start(self, job: Job) -> None:
        """Start a job, or resume it."""
        self._tasks[self._task.remote(job, self._threads, os.getcwd())] = job

    def pop_ended(self) -> list[tuple[Job, int]]:
        """The jobs whose task has ended since the last call, with the exit status of its process."""
        if not self._tasks:
            return []
        ready, _ = self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=0)
        return [(self._tasks.pop(task), self._status(task)) for task in ready]

    def _status(self, task: Any) -> int:
        try:
            return int(self._ray.get(task))
        except self._ray.exceptions.RayError:
            return _LOST

    def stop(self, job: Job) -> None:
        """Ask a job to write its checkpoint and end."""
        job.request_stop()

    def close(self, patience: float = PATIENCE) -> None:
        """End all jobs, and the cluster if it was started here."""
        for job in self._tasks.values():
            job.request_stop()
        until = time.monotonic() + patience
        while self._tasks and time.monotonic() < until:
            self.pop_ended()
            time.sleep(0.1)
        if self._is_ours:
            self._ray.shutdown()


def _check_listening(address: str | None) -> None:
    """Fail at once where nobody listens at an address: Ray itself tries for minutes, and then ends the process."""
    host, colon, port = (address or "").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.rpartition("/")[2], int(port)), timeout=10).close()


def run_job(job: Job, threads: int, directory: str) -> int:
    """Run a job's process to its end on the node where this is called; returns its exit status."""
    os.chdir(directory)
    process, output = start_process(job, {"OMP_NUM_THREADS": str(threads)})
    with output:
        while process.poll() is None:
            if job.stop_requested:
                process.terminate()
                try:
                    process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()
            time.sleep(_INTERVAL)
    return process.wait()
