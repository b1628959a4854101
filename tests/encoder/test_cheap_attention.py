"""Attention with cheap dropout: PyTorch's attention without dropout, and its distribution with it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.integrations import sdpa_attention
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from glue_lit import SequenceClassifier
from glue_lit.encoder import cheap_attention
from glue_lit.encoder.cheap_attention import cheapen_attention

PADDED = torch.tensor([[True] * 5, [True] * 3 + [False] * 2]).view(2, 1, 1, 5).expand(2, 1, 5, 5)


class Attention(nn.Module):
    """A module that asks for attention."""

    is_causal = False


@pytest.fixture
def module() -> Attention:
    found = Attention()
    cheapen_attention(found)
    return found


@pytest.fixture
def plain_calls(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The dropout of each call of transformers' own function."""
    calls: list[float] = []
    own = sdpa_attention.sdpa_attention_forward

    def spy(*args: Any, dropout: float = 0.0, **kwargs: Any) -> Any:
        calls.append(dropout)
        return own(*args, dropout=dropout, **kwargs)

    monkeypatch.setattr(sdpa_attention, "sdpa_attention_forward", spy)
    return calls


def attend(module: nn.Module, *tensors: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
    found: Tensor = ALL_ATTENTION_FUNCTIONS["sdpa"](module, *tensors, mask, **{"dropout": 0.1, **options})[0]
    return found


def inputs(dtype: torch.dtype = torch.float32, heads: int = 3) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, heads, 5, 4, dtype=dtype, requires_grad=True) for _ in range(3)]


@pytest.mark.parametrize("mask", [None, PADDED], ids=["whole", "padded"])
@pytest.mark.parametrize("scaling", [None, 0.3])
def test_without_dropout_it_is_attention(
    mask: Tensor | None, scaling: float | None, module: Attention, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outputs and gradients, with the masks alone left out of the code that draws them."""
    results = []
    expected_of = attend(module.eval(), *inputs(), mask=mask, scaling=scaling, dropout=0.0)
    monkeypatch.setattr(cheap_attention, "drop", lambda weights, rate: weights)
    for is_cheap in (False, True):
        tensors = inputs()
        out = attend(module.train(is_cheap), *tensors, mask=mask, scaling=scaling, dropout=0.1 if is_cheap else 0.0)
        assert torch.equal(out, expected_of) or is_cheap
        (out * torch.arange(out.numel()).view_as(out)).sum().backward()
        results.append([out, *(tensor.grad / 100 for tensor in tensors if tensor.grad is not None)])
    for found, expected in zip(*reversed(results), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_weights_are_dropped_and_scaled_as_by_pytorch(
    dtype: torch.dtype, rate: float, module: Attention, plain_calls: list[float]
) -> None:
    """Sixteen equal weights are read off an identity for values: 1/16 each, or dropped."""
    query, key = torch.zeros(2, 500, 4, 16, 16, dtype=dtype)
    value = torch.eye(16, dtype=dtype).expand(500, 4, 16, 16)
    torch.manual_seed(0)
    cheap = attend(module, query, key, value, dropout=rate)
    assert not plain_calls
    plain = attend(Attention(), query, key, value, dropout=rate)
    assert plain_calls == [rate]
    spread = 5 * (rate * (1 - rate) / cheap.numel()) ** 0.5  # of a share of zeros
    for found in (cheap, plain):
        assert abs(float((found == 0).double().mean()) - rate) < spread
        assert float(found.double().mean()) == pytest.approx(1 / 16, abs=spread / 16 / (1 - rate) + 1e-4)
        assert float(found.max()) == pytest.approx(1 / 16 / (1 - rate), rel=1e-4 if dtype is torch.float32 else 8e-3)
    assert float(cheap.double().var()) == pytest.approx(float(plain.double().var()), rel=0.02)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("length", [1, 11, 16, 31, 32, 53])
def test_softmax_in_half_precision_is_as_exact_as_by_pytorch(
    length: int, dtype: torch.dtype, module: Attention, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights are read off an identity for values; errors are those of the same numbers in float64."""
    monkeypatch.setattr(cheap_attention, "drop", lambda weights, rate: weights)
    torch.manual_seed(0)
    query, key, factors = torch.randn(3, 4, 3, length, length, dtype=dtype)
    value = torch.eye(length, dtype=dtype).expand(4, 3, length, length)
    results = []
    for kind in (None, dtype, torch.float64):
        tensors = [tensor.to(kind or dtype, copy=True).requires_grad_() for tensor in (query, key)]
        if kind is None:
            weights = attend(module, *tensors, value, scaling=1.0).transpose(1, 2)
        else:
            weights = torch.matmul(tensors[0], tensors[1].transpose(2, 3)).softmax(-1, dtype=kind)
        (weights * factors.to(weights.dtype)).sum().backward()
        results.append([weights.double(), *(tensor.grad.double() for tensor in tensors if tensor.grad is not None)])
    for found, plain, exact in zip(*results, strict=True):
        assert (found - exact).norm() <= 1.05 * (plain - exact).norm() + 1e-9


def test_a_row_that_sees_nothing_is_a_number(module: Attention) -> None:
    mask = PADDED.clone()
    mask[0, 0, 2] = False
    tensors = inputs()
    out = attend(module, *tensors, mask=mask)
    out.sum().backward()
    assert out.isfinite().all()
    assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in tensors)


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"training": False}, {}),
        ({}, {"dropout": 0.0}),
        ({"is_causal": True}, {}),
        ({}, {"is_causal": True}),
        ({}, {"mask": torch.zeros(2, 1, 5, 5)}),
        ({"num_key_value_groups": 3}, {}),
        ({"has_cheap_attention": False}, {}),
    ],
    ids=["evaluation", "no dropout", "a decoder", "asked to be causal", "added mask", "shared keys", "another model"],
)
def test_all_else_stays_as_it_is(
    changes: dict[str, Any], options: dict[str, Any], module: Attention, plain_calls: list[float]
) -> None:
    for name, value in changes.items():
        setattr(module, name, value)
    query, key, value = inputs()
    if "num_key_value_groups" in changes:
        key, value = key[:, :1], value[:, :1]
    attend(module, query, key, value, **options)
    assert len(plain_calls) == 1


def test_other_devices_and_compiled_models_keep_their_attention(
    module: Attention, plain_calls: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    attend(module, *(tensor.detach().to("meta") for tensor in inputs()))
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    attend(module, *inputs())
    assert plain_calls == [0.1, 0.1]


@pytest.mark.parametrize(("asked", "is_cheap"), [(None, True), ("sdpa", False), ("eager", False)])
def test_the_users_attention_wins(
    asked: str | None, is_cheap: bool, tiny_model: Path, plain_calls: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(cheap_attention, "drop", lambda weights, rate: drawn.append(rate) or weights)
    model = SequenceClassifier(name_or_path=str(tiny_model), attention=asked)
    model.build_model()
    model({"input_ids": torch.full((2, 6), 7), "attention_mask": torch.ones(2, 6, dtype=torch.int64)})
    assert bool(drawn) is is_cheap
    assert bool(plain_calls) is (asked == "sdpa")
