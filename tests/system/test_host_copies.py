"""Copies of many tensors at once; `tests/training/test_accelerator.py` counts the waits."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch

from glue_lit.system import host_copies
from glue_lit.system.host_copies import to_host


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let the CPU's tensors count as those of an accelerator; the waits for it."""
    found: list[Any] = []
    monkeypatch.setattr(host_copies, "_is_elsewhere", lambda value: isinstance(value, torch.Tensor))
    monkeypatch.setattr(torch.accelerator, "synchronize", found.append)
    empty_like: Callable[..., torch.Tensor] = torch.empty_like

    def unpinned(*arguments: Any, pin_memory: bool = False, **options: Any) -> torch.Tensor:
        if pin_memory and not torch.cuda.is_available():
            raise RuntimeError("Cannot access accelerator device when none is available.")
        return empty_like(*arguments, **options)

    monkeypatch.setattr(torch, "empty_like", unpinned)
    return found


def test_nested_tensors_are_copied_with_one_wait(waits: list[Any]) -> None:
    state = OrderedDict(weight=torch.arange(6.0).view(2, 3).t(), bias=torch.ones(2, dtype=torch.bfloat16))
    state._metadata = {"": {"version": 2}}  # type: ignore[attr-defined]
    value = {"state": state, "lists": [torch.tensor(3), ("text", torch.zeros(0))], "number": 4}
    found = to_host(value)
    assert waits == [torch.device("cpu")]
    assert found["state"]._metadata == state._metadata  # type: ignore[attr-defined]
    assert list(found["state"]) == list(state)
    for name, tensor in state.items():
        assert torch.equal(found["state"][name], tensor)
        assert found["state"][name].data_ptr() != tensor.data_ptr()
        assert found["state"][name].stride() == tensor.stride()
    assert int(found["lists"][0]) == 3
    assert found["lists"][1][0] == "text"
    assert len(found["lists"][1][1]) == 0
    assert found["number"] == 4
    assert value["state"] is state  # unchanged


def test_tied_weights_stay_tied(waits: list[Any]) -> None:
    weight = torch.rand(4, 2, requires_grad=True)
    found = to_host({"embedding": weight.detach(), "head": weight.detach(), "view": weight.detach()[:2]})
    assert found["embedding"] is found["head"]
    assert torch.equal(found["view"], weight[:2])
    assert not found["head"].requires_grad


def test_more_than_the_memory_takes_stays_where_it_is(waits: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_copies, "available_memory", lambda: 100)
    value = {"weight": torch.zeros(7)}
    assert to_host(value, may_stay=True) is value
    assert to_host(value) is not value  # what the host computes with has to be there
    value = {"weight": torch.zeros(6)}
    assert to_host(value, may_stay=True) is not value
    assert len(waits) == 2


def test_tensors_of_the_processor_are_not_copied() -> None:
    value = {"weight": torch.zeros(7), "meta": torch.zeros(7, device="meta")}
    assert to_host(value) is value
