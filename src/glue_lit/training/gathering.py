"""Gather values from all processes of a fit."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from glue_lit.errors import GlueLitError, ModelError
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


@contextmanager
def raised_by_all(is_shared: bool, what: str) -> Iterator[None]:
    """Let an error that one process raises in the block stop all, none of which then waits for it.

    Args:
        is_shared: Whether all processes run the block, which is then collective; otherwise the error is raised as is.
        what: What the block does, as an infinitive for the message.

    Raises:
        ModelError: Another process raised an error.
    """
    failed: Exception | None = None
    try:
        yield
    except Exception as error:
        failed = error
    if is_shared:
        said = gather_values(None if failed is None else _in_words(failed))
        number = next((rank for rank, text in enumerate(said) if text is not None), None)
        if failed is None and number is not None:
            raise ModelError(f"Process {number} cannot {what}: {said[number]}")
    if failed is not None:
        raise failed


def _in_words(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, GlueLitError) else f"{type(error).__name__}: {text}"[:300]
