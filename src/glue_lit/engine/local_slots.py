"""Slots of this machine, each with its share of the processors and GPUs."""

import contextlib
import os
import re
import subprocess

import torch

from glue_lit.engine.executor import PATIENCE, Executor, start_process
from glue_lit.engine.job import Job
from glue_lit.errors import UsageError
from glue_lit.system.hardware import available_memory

_MOST = 4  # jobs at once on the processors by default
_LEAST = 1024  # MiB that a training needs on a GPU at least: CUDA itself, and a small model


class LocalSlots(Executor):
    """Run each job as a process on this machine.

    Args:
        slots: Number of slots; ``None`` for as many as the GPUs have room for, or without a GPU `slots_on_processors`.
        gpus_per_job: GPUs of each job; ``None`` for 1 if there is a GPU.
        cpus_per_job: Threads of each job; ``None`` for an equal share of the processors, at most OMP_NUM_THREADS.
        jobs_per_gpu: Jobs that share a GPU; with more than one, ``gpus_per_job`` is 1.
        memory: Bytes that a job may need; ``None`` if unknown, which makes one slot without a GPU.

    Raises:
        UsageError: This machine has too few GPUs, or they have too little free memory.
    """

    def __init__(
        self,
        slots: int | None = None,
        gpus_per_job: int | None = None,
        cpus_per_job: int | None = None,
        jobs_per_gpu: int = 1,
        memory: int | None = None,
    ) -> None:
        super().__init__()
        gpus = visible_gpus()
        each = min(1, len(gpus)) if gpus_per_job is None else gpus_per_job
        if each > len(gpus):
            raise UsageError(f"--engine.gpus_per_job: got {each}, but this machine has {len(gpus)} GPUs.")
        if jobs_per_gpu > 1:
            _check_sharing(gpus, jobs_per_gpu)
        most = len(gpus) // each * jobs_per_gpu if each else 1
        if slots is None and not each and (gpus or not torch.accelerator.is_available()):  # no accelerator is shared
            most = slots_on_processors(cpus_per_job or 1, memory)
        self.slots = most if slots is None else slots
        if self.slots < 1:
            raise UsageError(f"--engine.slots: got {slots}, allowed: 1 or more.")
        if each and self.slots > most:
            of_job = f"{each} per job" if jobs_per_gpu == 1 else f"{jobs_per_gpu} jobs on each"
            raise UsageError(
                f"--engine.slots: got {slots}, allowed: up to {most} ({len(gpus)} GPUs, {of_job}). "
                "`--engine.gpus_per_job 0` keeps jobs off the GPUs."
            )
        groups = [",".join(gpus[first : first + each]) for first in range(0, len(gpus) - each + 1, each or 1)]
        self._gpus = [groups[slot % len(groups)] if each else "" for slot in range(self.slots)] if gpus else []
        self._threads = cpus_per_job or limit_threads(max(1, usable_cores() // self.slots))
        self._slot_of: dict[Job, int] = {}

    def start(self, job: Job) -> None:
        """Start or resume a job in the first free slot."""
        slot = min(set(range(self.slots)) - {self._slot_of[running] for running in self._running})
        environment = {"OMP_NUM_THREADS": str(self._threads)}
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self._gpus[slot]
        self._running[job], self._slot_of[job] = start_process(job, environment), slot

    def stop(self, job: Job) -> None:
        """Ask a job to write its checkpoint and exit."""
        self._running[job].terminate()

    def _exit_status(self, job: Job) -> int | None:
        status: int | None = self._running[job].poll()
        return status

    def close(self, patience: float = PATIENCE) -> None:
        """Stop all jobs, and kill those that take longer than ``patience`` seconds."""
        super().close(patience)
        for process in self._running.values():
            process.kill()
            process.wait()
        self._running.clear()


def slots_on_processors(threads: int, memory: int | None) -> int:
    """Number of jobs to run at once on the processors by default: each wants a thread, and all fit into memory.

    Two trainings of one thread take less time than two of two threads in turn, since the operators of a small model are
    too small to be divided. Few run at once, because a search would choose settings before it knows earlier results.

    Args:
        threads: Threads that each job has at least.
        memory: Bytes that a job may need; ``None`` if unknown.
    """
    available = available_memory()
    if memory is None or available is None:
        return 1
    return max(1, min(_MOST, usable_cores() // threads, available // memory))


def usable_cores() -> int:
    """Number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_threads(share: int) -> int:
    """Limit a job's share of the processors to the threads that OMP_NUM_THREADS allows.

    Threads that share a processor busy-wait for each other: with one processor free, a training with two threads took
    more than ten times as long as with one.
    """
    allowed = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # may list a number for each level
    return min(share, int(allowed)) if allowed.isdecimal() and int(allowed) else share


def visible_gpus() -> list[str]:
    """Names of the GPUs that jobs may use, found without CUDA, which would allocate memory on each GPU."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False)
        return [str(number) for number in range(len(re.findall("^GPU ", listed.stdout, re.MULTILINE)))]
    return []


def _check_sharing(gpus: list[str], jobs: int) -> None:
    """Refuse to let jobs share GPUs that are not there, or have too little free memory for so many."""
    if not gpus:
        raise UsageError(
            f"--engine.jobs_per_gpu: got {jobs}, but this machine has no GPU. `--engine.slots {jobs}` runs as many at "
            "once on its processors."
        )
    for name, free in _free_memory(gpus).items():
        if free // jobs < _LEAST:
            most = free // _LEAST
            raise UsageError(
                f"--engine.jobs_per_gpu: got {jobs}, but GPU {name} has {free:,} MiB free, and each training needs "
                f"{_LEAST:,} MiB or more. Allowed: {f'up to {most}' if most else 'none before others free it'}."
            )


def _free_memory(gpus: list[str]) -> dict[str, int]:
    """Free MiB of those GPUs that nvidia-smi knows by the name in ``gpus``, which is a number or a UUID."""
    query = ["nvidia-smi", "--query-gpu=index,uuid,memory.free", "--format=csv,noheader,nounits"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        said = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False).stdout
        lines = [line.split(", ") for line in said.splitlines()]
        free = {name: int(line[2]) for line in lines if len(line) == 3 and line[2].isdecimal() for name in line[:2]}
        return {name: free[name] for name in gpus if name in free}
    return {}
