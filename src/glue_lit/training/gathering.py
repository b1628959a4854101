"""Gather values from all processes of a fit."""

from typing import Any, TypeVar

import torch

Value = TypeVar("Value")


def is_distributed() -> bool:
    """Whether other processes work on the same fit."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def gather_values(value: Value) -> list[Value]:
    """The value of each process, by rank. Collective under DDP."""
    if not is_distributed():
        return [value]
    gathered: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(gathered, value)
    return gathered
