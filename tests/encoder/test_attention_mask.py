"""The mask of torch's attention is built on an accelerator without its values being read."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import AttentionMaskInterface, BertConfig
from transformers.masking_utils import create_bidirectional_mask, create_causal_mask, sdpa_mask

from glue_lit.encoder.attention_mask import build_masks_on_device

CONFIG = BertConfig(hidden_size=8, num_attention_heads=2, attn_implementation="sdpa")


@pytest.fixture(autouse=True)
def registered() -> None:
    build_masks_on_device()


def test_a_mask_without_padding_is_left_out_on_the_processor_as_before() -> None:
    whole = torch.ones(2, 5, dtype=torch.int64)
    assert create_bidirectional_mask(CONFIG, torch.zeros(2, 5, 8), whole) is None
    padded = torch.tensor([[1, 1, 0]])
    found = create_bidirectional_mask(CONFIG, torch.zeros(1, 3, 8), padded)
    assert found is not None
    assert found[0, 0].tolist() == [[True, True, False]] * 3


@pytest.mark.parametrize("create", [create_bidirectional_mask, create_causal_mask], ids=["encoder", "decoder"])
def test_a_mask_on_a_device_is_built_without_reading_it(create: Callable[..., Any]) -> None:
    """A tensor on ``meta`` has no values: to read one raises."""

    def mask(length: int) -> Any:
        more = {"past_key_values": None, "cache_position": torch.arange(length)}  # the latter up to transformers 5.0
        more = {name: more[name] for name in more.keys() & inspect.signature(create).parameters}
        whole = torch.ones(2, length, dtype=torch.int64, device="meta")
        return create(CONFIG, torch.zeros(2, length, 8, device="meta"), attention_mask=whole, **more)

    assert mask(5).shape == (2, 1, 5, 5)
    with pytest.raises(RuntimeError, match="meta"):  # a long text is worth the look
        mask(1025)


def test_eager_attention_keeps_its_own_mask() -> None:
    assert AttentionMaskInterface()["eager"] is not AttentionMaskInterface()["sdpa"]
    assert AttentionMaskInterface()["sdpa"] is not sdpa_mask
