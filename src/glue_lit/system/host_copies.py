"""Copies of an accelerator's tensors in the host's memory, for which the host waits once."""

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor

from glue_lit.system.hardware import available_memory

_Value = TypeVar("_Value")
_SHARE = 4  # of the free memory, which one part of it may take: the tensors of a large model are copied one by one


def to_host(value: _Value, may_stay: bool = False) -> _Value:
    """Copy the tensors of accelerators in nested dicts, lists and tuples to the host.

    Each copy begins without waiting, into pinned memory, and the host waits once, for all of them. Tensors that share
    their memory still do so afterwards.

    Args:
        value: Any value; containers of other types, and what they hold, are returned as they are.
        may_stay: Whether tensors that are too many for the host's free memory stay where they are.
    """
    found: dict[Any, Tensor] = {}
    _collect(value, found)
    free = available_memory() if may_stay and found else None
    if not found or (free is not None and sum(tensor.nbytes for tensor in found.values()) > free // _SHARE):
        return value
    copies = {key: _begin_copy(tensor) for key, tensor in found.items()}
    for kind in {tensor.device for tensor in found.values()}:
        torch.accelerator.synchronize(kind)
    result: _Value = _replaced(value, copies)
    return result


def _key(tensor: Tensor) -> Any:
    """The same for tensors that are the same part of the same memory."""
    where = tensor.data_ptr() or id(tensor)
    return where, tensor.dtype, tensor.shape, tensor.stride()


def _is_elsewhere(value: Any) -> bool:
    is_tensor = isinstance(value, Tensor) and value.layout == torch.strided and not hasattr(value, "device_mesh")
    return is_tensor and value.device.type not in ("cpu", "meta")


def _collect(value: Any, found: dict[Any, Tensor]) -> None:
    if _is_elsewhere(value):
        found.setdefault(_key(value), value)
    elif isinstance(value, dict):
        for each in value.values():
            _collect(each, found)
    elif type(value) in (list, tuple):
        for each in value:
            _collect(each, found)


def _begin_copy(tensor: Tensor) -> Tensor:
    is_pinned = tensor.device.type != "mps"  # which shares the memory of the processor
    try:
        copied = torch.empty_like(tensor, device="cpu", pin_memory=is_pinned, requires_grad=False)
    except RuntimeError:  # the system pins no more
        copied = torch.empty_like(tensor, device="cpu", requires_grad=False)
    return copied.copy_(tensor.detach(), non_blocking=is_pinned)


def _replaced(value: Any, copies: dict[Any, Tensor]) -> Any:
    if _is_elsewhere(value):
        return copies[_key(value)]
    if isinstance(value, dict):
        new = copy.copy(value)  # keeps the versions that the state of a module carries as an attribute
        new.update({key: _replaced(each, copies) for key, each in value.items()})
        return new
    if type(value) in (list, tuple):
        return type(value)(_replaced(each, copies) for each in value)
    return value
