"""The strategy ``fsdp2``: each device keeps a part of every weight, of its gradient and of its moments."""

from collections.abc import Mapping
from typing import Any
from zipfile import is_zipfile

import torch
from lightning.pytorch.strategies import ModelParallelStrategy, StrategyRegistry
from torch.distributed.tensor import DTensor, Shard
from torch.optim import Optimizer

NAME = "fsdp2"


class ShardedStrategy(ModelParallelStrategy):
    """Lightning's ModelParallelStrategy with all devices in one group, and with the checkpoints of a single device.

    Lightning's own checkpoints number the parameters of the optimizer in another order than a single device does, so
    that it would take over the moments of other parameters; and it reads them without ``weights_only``.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False, **settings)

    @classmethod
    def like(cls, strategy: ModelParallelStrategy) -> "ShardedStrategy":
        """The same strategy as Lightning's, which is not in use yet."""
        return cls(
            data_parallel_size=strategy._data_parallel_size,
            process_group_backend=strategy._process_group_backend,
            timeout=strategy._timeout,
        )

    @property
    def parts(self) -> int | str:
        """Number of devices that share the model; ``auto`` for all."""
        return self._data_parallel_size

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        """Restore the model before the optimizer is built, as on a single device."""
        return False

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Let Lightning call `load_optimizer_state_dict`."""
        return True

    def setup_environment(self) -> None:
        """Connect the processes."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()
        trainer: Any = getattr(self.lightning_module, "trainer", None)
        if trainer is not None:  # weights gathered in inference mode could not be trained afterwards
            for loop in (trainer.fit_loop.epoch_loop.val_loop, trainer.validate_loop, trainer.test_loop,
                         trainer.predict_loop):  # fmt: skip
                loop.inference_mode = False

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """The whole model on the first device, nothing on the others. Collective."""
        assert self.lightning_module is not None
        found = {name: self._whole(value) for name, value in self.lightning_module.state_dict().items()}
        return found if self.is_global_zero else {}

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The whole state on the first device, the groups alone on the others. Collective."""
        state = getattr(optimizer, "optimizer", optimizer).state_dict()
        found = {
            number: {name: self._whole(value) for name, value in values.items()}
            for number, values in state["state"].items()
        }
        return state | {"state": found if self.is_global_zero else {}}

    def _whole(self, value: Any) -> Any:
        if isinstance(value, DTensor):
            value = value.full_tensor()
            return value.cpu() if self.is_global_zero else None
        return value

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Map the file on every device, so that no process has to hold all of it in memory."""
        found: dict[str, Any] = torch.load(
            checkpoint_path, map_location="cpu", weights_only=weights_only, mmap=is_zipfile(checkpoint_path)
        )
        return found

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Give each device its part of the weights."""
        assert self.lightning_module is not None
        now = self.lightning_module.state_dict()
        parts = {name: _part_like(now.get(name), value) for name, value in checkpoint["state_dict"].items()}
        self.lightning_module.load_state_dict(parts, strict=strict)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Give each device its part of the optimizer's state."""
        for optimizer, saved in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            numbers = [number for group in saved["param_groups"] for number in group["params"]]
            of = dict(zip(numbers, parameters, strict=True))
            parts = {
                number: {name: _part_like(of[number], value) for name, value in values.items()}
                for number, values in saved["state"].items()
            }
            optimizer.load_state_dict(saved | {"state": parts})


def _part_like(like: Any, value: Any) -> Any:
    """This device's part of a value, split as ``like`` is if it has the same shape; else a copy in memory.

    Of a value that is mapped from a file, only that part is read.
    """
    if not isinstance(value, torch.Tensor) or isinstance(value, DTensor):
        return value
    if not isinstance(like, DTensor) or value.shape != like.shape:
        return value.clone()
    (placement,) = like.placements
    assert isinstance(placement, Shard)
    parts = value.chunk(like.device_mesh.size(), placement.dim)
    number = like.device_mesh.get_local_rank()
    own = parts[number] if number < len(parts) else value.narrow(placement.dim, 0, 0)
    own = own.to(like.device, copy=True)
    return DTensor.from_local(
        own, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )


def is_sharded(trainer: Any) -> bool:
    """Whether each device of a trainer has only a part of the model."""
    return isinstance(trainer.strategy, ShardedStrategy)


def receives_values(trainer: Any) -> bool:
    """Whether this process gets its part of the model's weights from the first one, and needs no whole model."""
    return is_sharded(trainer) and not trainer.is_global_zero


def sharing_devices(trainer: Any) -> Any:
    """The mesh of the devices that share a trainer's model; ``None`` if each has the whole of it."""
    return trainer.strategy.device_mesh["data_parallel"] if is_sharded(trainer) else None


StrategyRegistry.register(NAME, ShardedStrategy, description="Fully sharded data parallel (FSDP2)", override=True)
