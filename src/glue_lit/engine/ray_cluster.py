"""A Ray cluster: each training is a task that Ray places, and begins again elsewhere if its node is lost."""

import logging
import os
import socket
import subprocess
import time
from typing import Any

from glue_lit.engine.job import Job
from glue_lit.engine.local_slots import start_process
from glue_lit.errors import RunError, UsageError

_EVERY = 0.5  # seconds between two looks at a process
_PATIENCE = 120  # seconds for a process that was asked to stop
_LOST = -1  # exit status of a training whose node was lost too often


class RayCluster:
    """Start jobs as tasks of a Ray cluster. Its nodes share the folder of the jobs.

    Args:
        slots: How many at once; ``None`` for as many as the cluster has room for.
        gpus_per_job: GPUs of each job; ``None`` for 1, if the cluster has any.
        cpus_per_job: Processor threads of each job.
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
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told of this
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray as untyped_ray
        except ImportError:
            raise UsageError("--engine.executor ray needs Ray: `pip install 'glue-lit[ray]'`.") from None
        ray: Any = untyped_ray
        self._ray = ray
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            try:
                _reach(address)
                ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR)
            except (OSError, RuntimeError, ValueError) as error:
                reason = " ".join(str(error).split())[:200]
                raise UsageError(f"--engine.address: there is no Ray cluster at {address!r} ({reason}).") from error
        resources = ray.cluster_resources()
        gpus = (1 if resources.get("GPU", 0) >= 1 else 0) if gpus_per_job is None else gpus_per_job
        cpus = cpus_per_job or 1
        room = int(resources.get("CPU", 0) // cpus)
        if gpus:
            room = min(room, int(resources.get("GPU", 0) // gpus))
        if room < 1:
            self.close()
            raise UsageError(
                f"The Ray cluster has {resources.get('CPU', 0):g} CPUs and {resources.get('GPU', 0):g} GPUs, a job "
                f"takes {cpus} and {gpus}. Lower --engine.cpus_per_job or --engine.gpus_per_job."
            )
        self.slots = room if slots is None else slots
        self._task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=retries)(run_job)
        self._threads = cpus
        self._refs: dict[Any, Job] = {}

    @property
    def free(self) -> int:
        """How many jobs can be started now."""
        return self.slots - len(self._refs)

    def start(self, job: Job) -> None:
        """Begin a job, or go on with it."""
        self._refs[self._task.remote(job, self._threads, os.getcwd())] = job

    def ended(self) -> list[tuple[Job, int]]:
        """Jobs whose task has ended, with the exit status of its process."""
        if not self._refs:
            return []
        ready, _ = self._ray.wait(list(self._refs), num_returns=len(self._refs), timeout=0)
        return [(self._refs.pop(ref), self._status(ref)) for ref in ready]

    def _status(self, ref: Any) -> int:
        try:
            return int(self._ray.get(ref))
        except self._ray.exceptions.RayError:
            return _LOST

    def stop(self, job: Job) -> None:
        """Ask a job to write its checkpoint and end."""
        job.ask_to_stop()

    def close(self, patience: float = _PATIENCE) -> None:
        """End all jobs, and the cluster if it was started here."""
        for job in self._refs.values() if hasattr(self, "_refs") else ():
            job.ask_to_stop()
        until = time.monotonic() + patience
        while getattr(self, "_refs", None) and time.monotonic() < until:
            self.ended()
            time.sleep(0.1)
        if self._is_ours:
            self._ray.shutdown()


def _reach(address: str | None) -> None:
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
            if job.is_to_stop:
                process.terminate()
                try:
                    process.wait(_PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()
            time.sleep(_EVERY)
    code = process.returncode
    if code is None:
        raise RunError(f"The process of {job.name} has no exit status.")
    return int(code)
