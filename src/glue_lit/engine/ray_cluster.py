"""A Ray cluster: each job is a Ray task, which is restarted on another node if its node is lost."""

import logging
import os
import socket
import subprocess
import time
from dataclasses import replace
from typing import Any

from glue_lit.engine.executor import PATIENCE, Executor, start_process
from glue_lit.engine.job import Job
from glue_lit.errors import UsageError
from glue_lit.runs.shipped_configs import shipped_name

_INTERVAL = 0.5  # seconds between checks of a process
_LOST = -1  # exit status of a job whose node was lost more than `retries` times


class RayCluster(Executor):
    """Run each job as a task of a Ray cluster whose nodes share the folder of the jobs.

    Args:
        slots: Number of jobs at once; ``None`` for as many as the cluster has room for.
        gpus_per_job: GPUs of each job; ``None`` for 1 if the cluster has a GPU.
        cpus_per_job: CPU threads of each job; ``None`` for 1.
        address: Address of a running cluster; ``None`` to start one on this machine.
        retries: How often a job is restarted if its node is lost.
        jobs_per_gpu: Jobs that share a GPU; with more than one, ``gpus_per_job`` is 1.

    Raises:
        UsageError: Ray is not installed, there is no such cluster, or it has no room for a job.
    """

    def __init__(
        self,
        slots: int | None = None,
        gpus_per_job: int | None = None,
        cpus_per_job: int | None = None,
        address: str | None = None,
        retries: int = 3,
        jobs_per_gpu: int = 1,
    ) -> None:
        super().__init__()
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ImportError:
            raise UsageError("--engine.executor ray needs Ray: `pip install 'glue-lit[ray]'`.") from None
        self._ray: Any = ray
        self._is_ours = not self._ray.is_initialized()
        if self._is_ours:
            try:
                _check_listening(address)
                self._ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR)
            except (OSError, RuntimeError, ValueError) as error:
                reason = " ".join(str(error).split())[:200]
                raise UsageError(f"--engine.address: there is no Ray cluster at {address!r} ({reason}).") from error
        self._threads = cpus_per_job or 1
        gpus, room = self._room(gpus_per_job, jobs_per_gpu)
        self.slots = room if slots is None else slots
        self._task = self._ray.remote(num_cpus=self._threads, num_gpus=gpus, max_retries=retries)(run_job)

    def _room(self, gpus_per_job: int | None, jobs_per_gpu: int) -> tuple[float, int]:
        """GPUs of each job, and the number of jobs that the cluster has room for."""
        resources = self._ray.cluster_resources()
        cpus, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
        each: float = min(1, int(gpus)) if gpus_per_job is None else gpus_per_job
        if jobs_per_gpu > 1:
            each = 10_000 // jobs_per_gpu / 10_000 if gpus else 1  # Ray counts in parts of 10,000
        room = int(min(cpus // self._threads, gpus // each if each else cpus))
        if room < 1:
            self.close()
            raise UsageError(
                f"The Ray cluster has {cpus:g} CPUs and {gpus:g} GPUs, but a job takes {self._threads} and {each:g}. "
                "Lower --engine.cpus_per_job or --engine.gpus_per_job."
            )
        return each, room

    def start(self, job: Job) -> None:
        """Start or resume a job on a node with enough room, on which glue-lit may be installed elsewhere."""
        portable = replace(job, arguments=tuple(map(shipped_name, job.arguments)))
        self._running[job] = self._task.remote(portable, self._threads, os.getcwd())

    def stop(self, job: Job) -> None:
        """Ask a job to write its checkpoint and exit."""
        job.request_stop()

    def _exit_status(self, job: Job) -> int | None:
        task = self._running[job]
        if not self._ray.wait([task], timeout=0)[0]:
            return None
        try:
            return int(self._ray.get(task))
        except self._ray.exceptions.RayError:
            return _LOST

    def close(self, patience: float = PATIENCE) -> None:
        """Stop all jobs, and also the cluster if this object started it."""
        super().close(patience)
        if self._is_ours:
            self._ray.shutdown()


def _check_listening(address: str | None) -> None:
    """Fail at once if nothing listens at an address: Ray itself retries for minutes and then kills the process."""
    host, colon, port = (address or "").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.rpartition("/")[2], int(port)), timeout=10).close()


def run_job(job: Job, threads: int, directory: str) -> int:
    """Run a job's process on this node until it ends or is asked to stop; return its exit status."""
    os.chdir(directory)
    process = start_process(job, {"OMP_NUM_THREADS": str(threads)})
    while process.poll() is None:
        if job.stop_requested:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
        time.sleep(_INTERVAL)
    return process.wait()
