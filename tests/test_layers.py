"""Which parts of an encoder learn, and how fast, over architectures."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AlbertConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    RobertaConfig,
)

from glue_lit.errors import ModelError, UsageError
from glue_lit.layers import freeze_layers, layered_groups, layers_of
from glue_lit.model import SequenceClassifier
from glue_lit.optim import parameter_groups

SMALL = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
CONFIGS = {
    "bert": BertConfig(**SMALL),
    "roberta": RobertaConfig(**SMALL),
    "electra": ElectraConfig(**SMALL, embedding_size=8),
    "deberta": DebertaV2Config(**SMALL),
    "distilbert": DistilBertConfig(vocab_size=50, dim=16, n_layers=3, n_heads=2, hidden_dim=32),
}


def built(name: str) -> Any:
    return AutoModelForSequenceClassification.from_config(CONFIGS[name])


def height(name: str) -> int:
    """Steps below the head, by a parameter's name: the head 0, the last of three layers 1, embeddings 4."""
    if "embeddings." in name:
        return 4
    for layer in range(3):
        if f".layer.{layer}." in name:
            return 3 - layer
    return 0


@pytest.mark.parametrize("name", CONFIGS)
def test_each_layer_has_its_rate(name: str) -> None:
    model = built(name)
    groups = layered_groups(parameter_groups(model, 0.1), model, 1e-3, 0.5)
    rates = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(rates) == len(list(model.parameters()))
    for parameter_name, parameter in model.named_parameters():
        expected = (1e-3 * 0.5 ** height(parameter_name), 0.1 if parameter.ndim >= 2 else 0.0)
        assert rates[id(parameter)] == pytest.approx(expected), parameter_name
    assert groups[0]["lr"] == 1e-3
    assert all(group["lr"] == pytest.approx(1e-3 * group["lr_scale"]) for group in groups)


def test_without_decay_nothing_changes() -> None:
    model = built("bert")
    groups = parameter_groups(model, 0.1)
    assert layered_groups(groups, model, 1e-3, 1.0) is groups


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("count", [0, 2, 3])
def test_frozen_parts_stay_as_they_are(name: str, count: int) -> None:
    model = built(name)
    freeze_layers(model, count)
    for parameter_name, parameter in model.named_parameters():
        steps = height(parameter_name)
        assert parameter.requires_grad is not (steps == 4 or steps > 3 - count > 0 or (count == 3 and steps > 0))


def test_what_cannot_be() -> None:
    with pytest.raises(ModelError, match=r"model.freeze: got 4, allowed: 0 \(embeddings only\) to 3 layers"):
        freeze_layers(built("bert"), 4)
    with pytest.raises(ModelError, match="the layers of a albert cannot be told apart"):
        layers_of(AutoModelForSequenceClassification.from_config(AlbertConfig(**SMALL, embedding_size=8)))
    for decay in (0.0, 1.5, -1.0):
        with pytest.raises(UsageError, match=r"model\.layer_decay: got"):
            SequenceClassifier("cola", layer_decay=decay)


def test_a_frozen_embedding_has_no_rows_that_are_trained(tiny_model: Path) -> None:
    classifier = SequenceClassifier("cola", str(tiny_model), freeze=1)
    classifier.configure_model()
    names = {name for name, p in classifier.model.named_parameters() if not p.requires_grad}
    assert names
    assert all("embeddings" in name or "layer.0." in name for name in names)
    assert torch.is_grad_enabled()
