"""Gather values from all processes of a fit."""

from typing import Any, TypeVar

import torch

from glue_lit.system.host_copies import to_host

Value = TypeVar("Value")


def is_distributed() -> bool:
    """Whether other processes work on the same fit."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def gather_values(value: Value) -> list[Value]:
    """The value of each process, by rank, with its tensors on the host. Collective under DDP."""
    if not is_distributed():
        return [value]
    gathered: list[Any] = [None] * torch.distributed.get_world_size()
    # A tensor of a GPU would arrive on that same GPU, and cost each process a context, and memory, on all GPUs.
    torch.distributed.all_gather_object(gathered, to_host(value))
    return gathered
