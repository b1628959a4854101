"""`Engine`: where trainings run, and how many at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from glue_lit.engine.executor import Executor
from glue_lit.engine.local_slots import LocalSlots
from glue_lit.errors import UsageError

_RANGES = {
    "patience": (1, 10**9), "slots": (1, 10_000), "gpus_per_job": (0, 1000), "cpus_per_job": (1, 10_000),
    "retries": (0, 10**9),
}  # fmt: skip


@dataclass
class Engine:
    """Where trainings run, and how many at once.

    Args:
        executor: local for this machine, ray for a Ray cluster.
        slots: How many at once; null for one a GPU (1 without), or for as many as the cluster has room for.
        gpus_per_job: GPUs of each; null for 1, if there are any.
        cpus_per_job: Processor threads of each; null to divide those of this machine (no more than $OMP_NUM_THREADS, if
            that is set), 1 on a cluster.
        address: Of a running Ray cluster (auto finds one); null starts one on this machine.
        retries: How often Ray starts a training again whose node was lost.
        patience: So many failures of the same kind in a row end everything.
    """

    executor: Literal["local", "ray"] = "local"
    slots: int | None = None
    gpus_per_job: int | None = None
    cpus_per_job: int | None = None
    address: str | None = None
    retries: int = 3
    patience: int = 3


def open_executor(engine: Engine) -> Executor:
    """The executor that the settings ask for.

    Raises:
        UsageError: A setting is out of range, or there is no such executor here.
    """
    for name, (least, most) in _RANGES.items():
        value = getattr(engine, name)
        if value is not None and not least <= value <= most:
            allowed = f"{least} or more" if value < least else f"up to {most}"
            raise UsageError(f"--engine.{name}: got {value}, allowed: {allowed}.")
    if engine.executor == "local":
        if engine.address is not None:
            raise UsageError("--engine.address goes with `--engine.executor ray`.")
        return LocalSlots(engine.slots, engine.gpus_per_job, engine.cpus_per_job)
    from glue_lit.engine.ray_cluster import RayCluster

    return RayCluster(engine.slots, engine.gpus_per_job, engine.cpus_per_job, engine.address, engine.retries)


def check_logger(settings: Mapping[str, Any]) -> None:
    """Stop at a logger of another kind, in whose folders nobody would find the results of many trainings.

    Args:
        settings: A whole configuration of `fit`.

    Raises:
        UsageError: It has one.
    """
    if (settings.get("trainer") or {}).get("logger") not in (None, True, False):
        raise UsageError(
            "trainer.logger: a search or a suite reads the scores from the runs that glue-lit writes itself. "
            "Leave it out; `glue-lit fit` takes any of Lightning's."
        )
