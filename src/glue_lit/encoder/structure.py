"""A model on the device ``meta``: names, shapes and types of its tensors, but no memory for their values.

With several devices that share a model, the first process has the values and gives each device its part; the others
build the model in a context ``torch.device("meta")``, in which `is_wanted` is true.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


def is_wanted() -> bool:
    """Whether models are built without values at the moment."""
    return torch.empty(0).device.type == "meta"


def remove_values(model: nn.Module) -> None:
    """Move a model to ``meta``, in float32, in place; tied weights stay tied."""
    for tensor in distinct_tensors(model):
        replace_tensor(tensor, "meta", torch.float32 if tensor.is_floating_point() else tensor.dtype)


def distinct_tensors(module: nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers of a module, each once, in the order of their names."""
    yield from module.parameters()
    yield from module.buffers()


def replace_tensor(tensor: Tensor, device: Any, dtype: torch.dtype) -> None:
    """Let a parameter or buffer be an empty one on another device or of another type, wherever a model has it."""
    with torch.no_grad():
        other: Any = torch.empty_like(tensor, device=device, dtype=dtype)
    if isinstance(tensor, nn.Parameter):
        other = nn.Parameter(other, requires_grad=tensor.requires_grad)
    other.__dict__.update(tensor.__dict__)
    torch.utils.swap_tensors(tensor, other)  # type: ignore[no-untyped-call]
