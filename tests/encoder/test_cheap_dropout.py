"""Cheap dropout has the distribution of PyTorch's, in each of its four 16-bit lanes, and its gradient."""

from pathlib import Path

import pytest
import torch
from tiny_folders import write_tiny
from torch import nn
from transformers import AutoModelForSequenceClassification

from glue_lit.encoder.cheap_dropout import CheapDropout, cheapen_dropout, set_dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_drops_its_share_in_each_of_the_four_lanes(rate: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    out = CheapDropout(rate)(torch.ones(400_000, dtype=dtype))
    zero = (out == 0).view(-1, 4).double().mean(dim=0)
    # Four masks come from one random number, and must not differ (by 5 standard deviations).
    spread = 5 * (rate * (1 - rate) / 100_000) ** 0.5
    assert (zero - rate).abs().max() < spread
    kept = out[out != 0]
    assert torch.unique(kept).numel() == 1
    assert float(kept[0]) == pytest.approx(1 / (1 - rate), rel=1e-4 if dtype is torch.float32 else 8e-3)


def test_neighbouring_lanes_are_independent() -> None:
    torch.manual_seed(0)
    zero = (CheapDropout(0.3)(torch.ones(400_000)) == 0).double()
    for shift in (1, 2, 3, 4, 5):
        both = (zero[:-shift] * zero[shift:]).mean()
        assert abs(both - 0.09) < 5 * (0.09 * 0.91 / 400_000) ** 0.5


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("rate", [1e-5, 0.1, 0.5, 0.99999])
def test_an_element_is_kept_if_its_16_bits_reach_the_rate(rate: float, dtype: torch.dtype) -> None:
    """Seeded losses rely on which random bits drop an element, and on the scale of the others."""
    x = torch.randn(4, 1001).to(dtype)
    torch.manual_seed(0)
    found = CheapDropout(rate)(x)
    torch.manual_seed(0)
    bits = torch.empty(1001, dtype=torch.int64).random_(-(2**63), None).view(torch.int16).view(4, 1001).int() + 2**15
    dropped = round(rate * 2**16)
    assert torch.equal(found, x * ((bits >= dropped).to(dtype) * (2**16 / (2**16 - dropped))))


@pytest.mark.parametrize("shape", [(1,), (3,), (5, 7), (2, 3, 5)])
def test_shapes_and_gradient(shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    x = torch.randn(shape, requires_grad=True)
    out = CheapDropout(0.5)(x)
    assert out.shape == x.shape
    out.sum().backward()
    assert x.grad is not None
    assert torch.allclose(out, x.detach() * x.grad)  # the gradient is 0 for dropped elements, and the scale for others


def test_masks_follow_from_the_seed() -> None:
    layer, x, seen = CheapDropout(0.5), torch.ones(100), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        seen.append(layer(x))
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


def test_evaluation_and_extreme_rates() -> None:
    x = torch.randn(50)
    assert CheapDropout(0.5).eval()(x) is x
    assert torch.equal(CheapDropout(0.0)(x), x)
    assert torch.equal(CheapDropout(1.0)(x), torch.zeros(50))


def test_other_devices_use_the_dropout_of_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(nn.Dropout, "forward", lambda self, x: called.append(x.device.type) or x)
    CheapDropout(0.5)(torch.ones(3, device="meta"))
    assert called == ["meta"]


def test_only_plain_dropout_is_replaced() -> None:
    class Own(nn.Dropout):
        pass

    model = nn.Sequential(nn.Dropout(0.2), Own(0.3), nn.Dropout(0.4, inplace=True), nn.Sequential(nn.Dropout(0.5)))
    model[0].eval()
    cheapen_dropout(model)
    assert [type(m) for m in model][:3] == [CheapDropout, Own, nn.Dropout]
    assert type(model[3][0]) is CheapDropout  # type: ignore[index]
    assert (model[0].p, model[0].training, model[3][0].p) == (0.2, False, 0.5)  # type: ignore[index]


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_a_rate_of_zero_reaches_what_has_no_dropout_module(kind: str, tmp_path: Path) -> None:
    write_tiny(kind, tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path).train()
    tokens = torch.tensor([[5, 6, 7, model.config.eos_token_id]])
    assert len({model(input_ids=tokens).logits.tolist()[0][0] for _ in range(3)}) == 3
    set_dropout(model, 0.0)
    assert len({model(input_ids=tokens).logits.tolist()[0][0] for _ in range(3)}) == 1
