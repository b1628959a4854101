"""Values that processes exchange as objects; `tests/test_exactness.py` and others do it between real ones."""

from typing import Any

import pytest
import torch

from glue_lit.system import host_copies
from glue_lit.training import gathering
from glue_lit.training.gathering import gather_values


def test_tensors_of_a_gpu_are_sent_from_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the tensors of process 3 would arrive on GPU 3, and each process would occupy memory on every GPU."""
    sent: list[Any] = []

    def exchange(gathered: list[Any], value: Any) -> None:
        sent.append(value)
        gathered[:] = [value] * len(gathered)

    monkeypatch.setattr(gathering, "is_distributed", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_gather_object", exchange)
    on_device, on_host = torch.ones(2), torch.zeros(2)
    copied = torch.full((2,), 1.0)
    monkeypatch.setattr(host_copies, "_is_elsewhere", lambda value: value is on_device)
    monkeypatch.setattr(host_copies, "_begin_copy", lambda value: copied)
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda kind: None)
    assert len(gather_values({"sums": [on_device, on_host], "epoch": 3})) == 2
    assert sent[0]["sums"][0] is copied
    assert sent[0]["sums"][1] is on_host
    assert sent[0]["epoch"] == 3
