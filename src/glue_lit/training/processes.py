"""Checks of a trainer's strategy and processes, since some would train wrongly without an error."""

import os
import time
import uuid
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, SingleDeviceStrategy

from glue_lit.errors import RunError, UsageError
from glue_lit.training.gathering import gather_values
from glue_lit.training.lightning_internals.sharding import NAME, ShardedStrategy

_ALLOWED = (
    "Allowed: auto, ddp and its variants (each device holds the whole model), fsdp2 (each holds a part of it), or one "
    "device."
)
_WHOLE = {"average": 0, "optimizer": None, "dtype": "float32", "split_batches": False, "quantization": None}
_SHARDED_PRECISIONS = ("32-true", "bf16-mixed", "bf16-true", "16-true")
_NODE_VARIABLES = ("MASTER_ADDR", "NODE_RANK", "GROUP_RANK")
_SEEN_WITHIN = 10.0  # seconds for a network file system to show a new file


def check_strategy_setting(strategy: Any) -> None:
    """Stop at a strategy that trains wrongly, given as a name, as a class with settings, or as an object.

    Raises:
        UsageError: The strategy is not one of those tested.
    """
    if isinstance(strategy, str):
        if any(kind in strategy for kind in ("_spawn", "_fork", "_notebook")):
            raise UsageError(
                f"trainer.strategy: got {strategy}, which trains in child processes and loses their results. Use "
                "`--trainer.strategy ddp`."
            )
        if strategy not in ("auto", "single_device", NAME) and not strategy.startswith("ddp"):
            raise UsageError(_wrong_strategy(strategy))
    elif strategy is not None:
        path = strategy.get("class_path") if hasattr(strategy, "get") else None
        module, _, name = str(path).rpartition(".")
        kind = type(strategy) if path is None else getattr(import_module(module), name)
        if kind is ModelParallelStrategy and path is not None:
            _check_parts(strategy.get("init_args") or {})
        elif not _is_tested(kind):
            raise UsageError(_wrong_strategy(kind.__name__))


def _check_parts(settings: Mapping[str, Any]) -> None:
    if (size := settings.get("tensor_parallel_size", "auto")) not in ("auto", 1):
        raise UsageError(
            f"trainer.strategy.init_args.tensor_parallel_size: got {size}, allowed: auto or 1. The devices share the "
            "weights (data_parallel_size), not the computation of a layer."
        )


def check_sharding(trainer: Trainer, settings: Mapping[str, Any]) -> None:
    """Stop at settings that do not work where each device has only a part of the model.

    Args:
        trainer: With any strategy.
        settings: The hyperparameters of `SequenceClassifier`.

    Raises:
        UsageError: The precision, the number of parts, or a setting that needs the whole model is refused.
    """
    strategy = trainer.strategy
    if not isinstance(strategy, ShardedStrategy):
        return
    if (precision := str(trainer.precision)) not in _SHARDED_PRECISIONS:
        raise UsageError(
            f"trainer.precision: got {precision}, allowed with the strategy {NAME}: {', '.join(_SHARDED_PRECISIONS)}."
        )
    if strategy.parts not in ("auto", trainer.world_size):
        raise UsageError(
            f"trainer.strategy.init_args.data_parallel_size: got {strategy.parts}, allowed: auto or the number of "
            f"devices, {trainer.world_size}."
        )
    for name, default in _WHOLE.items():
        if (value := settings.get(name, default)) != default:
            got = value["class_path"] if isinstance(value, dict) else value
            raise UsageError(
                f"model.{name}: got {got}, which needs the whole model on each device, and with the strategy {NAME} "
                "each has a part. Leave it out, or use `--trainer.strategy ddp`."
            )


def _is_tested(kind: type) -> bool:
    """Whether it is DDP, one device or a user's subclass; Lightning's subclasses (DeepSpeed, XLA) are not tested."""
    of_lightning = {base for base in kind.__mro__ if base.__module__.startswith("lightning.")}
    return issubclass(kind, ShardedStrategy) or (
        issubclass(kind, SingleDeviceStrategy | DDPStrategy)
        and of_lightning <= {*SingleDeviceStrategy.__mro__, *DDPStrategy.__mro__}
    )


def _wrong_strategy(name: str) -> str:
    return (
        f"trainer.strategy: got {name}. Gradient norm, checkpoints and optimizer of a model that is split over devices "
        f"are right only with `--trainer.strategy {NAME}`. {_ALLOWED}"
    )


def check_processes(trainer: Trainer) -> None:
    """Stop if each process would train by itself, wait for the others forever, or hold a part of the model.

    Raises:
        UsageError: The trainer's strategy is not tested; a launcher has not started a process for each device; or
            there are several machines, and the rank of this one is unknown.
    """
    check_strategy_setting(trainer.strategy)
    _check_launcher(trainer)
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if (
        trainer.num_nodes > 1
        and isinstance(environment, LightningEnvironment)
        and not any(name in os.environ for name in _NODE_VARIABLES)
    ):
        raise UsageError(
            f"trainer.num_nodes: got {trainer.num_nodes}, but the rank of this machine is unknown. Start it with "
            "SLURM or `torchrun`, or set $MASTER_ADDR, $MASTER_PORT and $NODE_RANK on each machine."
        )


def launched_devices(devices: Any, nodes: int | None) -> dict[str, int]:
    """The trainer's ``devices`` and ``num_nodes`` as torchrun or srun started processes, unless the user chose them.

    Args:
        devices: The trainer's setting; a user's number of devices stays.
        nodes: As ``devices``.
    """
    _, started, machines = _launched()
    if started == 1 or devices not in (None, "auto") or nodes not in (None, 1, machines):
        return {}
    return {"devices": started // machines, "num_nodes": machines}


def _check_launcher(trainer: Trainer) -> None:
    by, started, nodes = _launched()
    devices = f"the trainer has {trainer.world_size} device(s) in all"
    if by and started != trainer.world_size:
        more = f" --trainer.num_nodes {nodes}" if nodes > 1 else ""
        wrong = (
            "each process would train by itself and overwrite the others' files"
            if started > trainer.world_size
            else "it would wait for the others forever"
        )
        raise UsageError(
            f"trainer.devices: {by} started {started} process{'es' * (started > 1)}, but {devices}: {wrong}. Pass "
            f"`--trainer.devices {started // nodes}{more}`, or start {trainer.world_size} instead.",
            everywhere=True,
        )
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if not by and isinstance(environment, SLURMEnvironment) and trainer.world_size > 1:
        raise UsageError(
            f"trainer.devices: {devices}, but in a SLURM job only srun starts a process for each. Put `srun` before "
            "the command."
        )


def _launched() -> tuple[str, int, int]:
    """The launcher of this command, and the numbers of its processes and machines."""
    if TorchElasticEnvironment.detect():
        world, here = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
        return "torchrun", world, max(1, world // here)
    if "SLURM_STEP_NUM_TASKS" in os.environ and SLURMEnvironment.detect():
        return "srun", int(os.environ["SLURM_STEP_NUM_TASKS"]), int(os.environ.get("SLURM_STEP_NUM_NODES", "1"))
    return "", 1, 1


def check_shared_folder(trainer: Trainer, folder: Path) -> None:
    """Stop if a machine of the run cannot see the folder that the first one writes to. Collective under DDP.

    Args:
        trainer: Its processes are connected.
        folder: The folder of the checkpoints; the same path on every process.

    Raises:
        RunError: The first machine cannot write to it or another cannot see it; all processes raise it.
    """
    if trainer.num_nodes == 1:
        return
    marker = folder / f".seen-by-all-{trainer.strategy.broadcast(uuid.uuid4().hex)}"
    problem = None
    if trainer.is_global_zero:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            marker.touch()
        except OSError as error:  # raised below by all processes, since the others wait for this one
            problem = f"Cannot write {folder} ({error.strerror})."
    if (problem := trainer.strategy.broadcast(problem)) is not None:
        raise RunError(problem, everywhere=True)
    missing_on = gather_values(None if _appears(marker) else trainer.node_rank)
    if trainer.is_global_zero:
        marker.unlink(missing_ok=True)
    nodes = sorted({node for node in missing_on if node is not None})
    if nodes:
        message = (
            f"The run directory {folder.parent} of the first machine cannot be seen from machine(s) "
            f"{', '.join(map(str, nodes))} (numbered from 0): checkpoints would be lost. Give the absolute path of a "
            "folder that all machines share: `--trainer.default_root_dir DIR`."
        )
        raise RunError(message, everywhere=True)


def _appears(file: Path) -> bool:
    until = time.monotonic() + _SEEN_WITHIN
    while True:
        try:
            if file.name in os.listdir(file.parent):  # also refreshes what a network file system has cached
                return True
        except OSError:
            pass
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
