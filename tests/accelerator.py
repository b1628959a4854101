"""A simulated accelerator for Lightning, and a block within which it exists; see `device_tensors`."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from device_tensors import DEVICE, Simulation
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.utils._pytree import tree_map


@contextlib.contextmanager
def simulated() -> Iterator[Simulation]:
    """Within the block the device exists, and modules keep their parameters when moved, as on CUDA."""
    from torch.utils.data._utils import pin_memory

    def pinned(data: Any, device: Any = None) -> Any:
        def pin(x: Any) -> Any:
            if isinstance(x, Tensor):
                x = x.clone()
                x.is_pinned_here = True  # type: ignore[attr-defined]
            return x

        return tree_map(pin, data)

    before = pin_memory.pin_memory, torch.__future__.get_swap_module_params_on_conversion()
    synchronize = torch.accelerator.synchronize
    pin_memory.pin_memory = pinned
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        with Simulation() as simulation:
            torch.accelerator.synchronize = simulation.synchronize
            yield simulation
    finally:
        torch.accelerator.synchronize = synchronize
        pin_memory.pin_memory = before[0]
        torch.__future__.set_swap_module_params_on_conversion(before[1])


class SimulatedAccelerator(Accelerator):
    """The device as Lightning sees it."""

    def setup_device(self, device: torch.device) -> None:
        """Do nothing."""

    def teardown(self) -> None:
        """Do nothing."""

    def get_device_stats(self, device: Any) -> dict[str, Any]:
        """No statistics."""
        return {}

    parse_devices = staticmethod(lambda devices: devices)
    get_parallel_devices = staticmethod(lambda devices: [DEVICE])
    auto_device_count = staticmethod(lambda: 1)
    is_available = staticmethod(lambda: True)
    name = staticmethod(lambda: "sim")


def strategy() -> SingleDeviceStrategy:
    """Lightning's strategy for one device."""
    return SingleDeviceStrategy(device=DEVICE, accelerator=SimulatedAccelerator())
