"""`Engine`: where trainings run, and how many at once."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from glue_lit.engine.estimates import estimate_memory
from glue_lit.engine.executor import Executor
from glue_lit.engine.local_slots import LocalSlots
from glue_lit.errors import UsageError

_RANGES = {
    "patience": (1, 10**9), "slots": (1, 10_000), "gpus_per_job": (0, 1000), "cpus_per_job": (1, 10_000),
    "retries": (0, 10**9), "jobs_per_gpu": (1, 1000),
}  # fmt: skip


@dataclass
class Engine:
    """Where trainings run, and how many at once.

    Args:
        executor: local for this machine, ray for a Ray cluster.
        slots: How many run at once; null for one per GPU, up to 4 without GPUs (as many as there are processors and
            memory for), or as many as the cluster has room for.
        gpus_per_job: GPUs of each training; null for 1 if there are any.
        cpus_per_job: CPU threads of each training; null for an equal share of this machine's (at most $OMP_NUM_THREADS
            if set), 1 on a cluster.
        address: Address of a running Ray cluster (auto finds one); null starts one on this machine.
        retries: How often Ray restarts a training whose node was lost.
        patience: How many failures of the same kind in a row end everything.
        jobs_per_gpu: How many trainings of a small model share a GPU.
    """

    executor: Literal["local", "ray"] = "local"
    slots: int | None = None
    gpus_per_job: int | None = None
    cpus_per_job: int | None = None
    address: str | None = None
    retries: int = 3
    patience: int = 3
    jobs_per_gpu: int = 1


def open_executor(engine: Engine, models: Iterable[tuple[str, str]] = ()) -> Executor:
    """Open the executor that the settings describe.

    Args:
        engine: The settings.
        models: Names and revisions of the models to be trained, which decide how many fit into memory.

    Raises:
        UsageError: A setting is out of range, or the executor is not available here.
    """
    for name, (least, most) in _RANGES.items():
        value = getattr(engine, name)
        if value is not None and not least <= value <= most:
            allowed = f"{least} or more" if value < least else f"up to {most}"
            raise UsageError(f"--engine.{name}: got {value}, allowed: {allowed}.")
    if engine.jobs_per_gpu > 1 and engine.gpus_per_job not in (None, 1):
        raise UsageError(
            f"--engine.jobs_per_gpu: got {engine.jobs_per_gpu} with {engine.gpus_per_job} GPUs of each training "
            "(--engine.gpus_per_job). Leave one of both out."
        )
    if engine.executor == "local":
        if engine.address is not None:
            raise UsageError("--engine.address goes with `--engine.executor ray`.")
        return LocalSlots(
            engine.slots, engine.gpus_per_job, engine.cpus_per_job, engine.jobs_per_gpu, estimate_memory(models)
        )
    from glue_lit.engine.ray_cluster import RayCluster

    return RayCluster(
        engine.slots, engine.gpus_per_job, engine.cpus_per_job, engine.address, engine.retries, engine.jobs_per_gpu
    )
