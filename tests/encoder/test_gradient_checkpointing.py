"""Gradient checkpointing trains the same weights from fewer kept activations."""

from pathlib import Path
from typing import Any

import pytest
import torch
from small_fit import Fit
from torch import Tensor
from transformers import AutoConfig, AutoModelForSequenceClassification

from glue_lit import SequenceClassifier
from glue_lit.encoder.gradient_checkpointing import checkpoint_gradients
from glue_lit.errors import ModelError
from glue_lit.system.library_warnings import filter_warnings

SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "lora": {"peft": {"peft_type": "LORA", "r": 4}},
    "frozen embeddings": {"freeze": 0, "r_drop": 1.0},
}


@pytest.fixture(autouse=True)
def quiet() -> None:
    filter_warnings()


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_same_weights_are_trained(tmp_path: Path, tiny_model: Path, name: str, precision: Any) -> None:
    """To the last bit, with dropout."""
    weights = []
    for is_on in (False, True):
        settings = {**SETTINGS[name], "gradient_checkpointing": is_on}
        fit = Fit(tmp_path / str(is_on), tiny_model, max_steps=4, precision=precision, model=settings).run()
        assert any(getattr(part, "gradient_checkpointing", False) for part in fit.model.model.modules()) is is_on
        weights.append(fit.model.state_dict())
    assert weights[0].keys() == weights[1].keys()
    for key, value in weights[0].items():
        assert torch.equal(value, weights[1][key]), key


def test_fewer_activations_are_kept(tiny_model: Path) -> None:
    batch = {"input_ids": torch.full((8, 40), 7), "attention_mask": torch.ones(8, 40, dtype=torch.int64)}
    kept = []
    for is_on in (False, True):
        model = SequenceClassifier(name_or_path=str(tiny_model), gradient_checkpointing=is_on)
        model.build_model()
        sizes: dict[int, int] = {}

        def keep(tensor: Tensor, sizes: dict[int, int] = sizes) -> Tensor:
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model(batch).sum().backward()
        weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        kept.append(sum(size for place, size in sizes.items() if place not in weights))
    assert kept[1] < kept[0] / 2


def test_an_architecture_without_it_is_refused() -> None:
    config = AutoConfig.for_model("funnel", d_model=8, n_head=2, d_head=4, d_inner=8, block_sizes=[1], vocab_size=9)
    model = AutoModelForSequenceClassification.from_config(config)
    with pytest.raises(ModelError, match=r"model\.gradient_checkpointing: .* architecture funnel\. .*batch_size 8"):
        checkpoint_gradients(model)


def test_a_decoder_keeps_no_cache() -> None:
    config = AutoConfig.for_model(
        "gpt2", n_embd=8, n_layer=1, n_head=2, vocab_size=9, pad_token_id=0, bos_token_id=1, eos_token_id=2
    )
    model = AutoModelForSequenceClassification.from_config(config)
    checkpoint_gradients(model)
    assert not model.config.use_cache
    model.train()(input_ids=torch.tensor([[1, 2, 0]])).logits.sum().backward()
