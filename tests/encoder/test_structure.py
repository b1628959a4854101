from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_folders import write_tiny
from torch import nn

from glue_lit import SequenceClassifier


def described(model: nn.Module) -> list[Any]:
    named = [*model.named_parameters(), *model.named_buffers()]
    return [(name, tensor.shape, tensor.dtype, tensor.requires_grad) for name, tensor in named]


def is_without_values(model: nn.Module) -> bool:
    return all(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))


LORA = {"peft": {"peft_type": "LORA", "r": 2}}


# bart ties its embeddings, roformer freezes its positions, and mixtral's experts are joined when they are loaded
@pytest.mark.parametrize(
    ("kind", "settings"), [("bart", {}), ("roformer", {"freeze": 1}), ("mixtral", {}), ("qwen3", LORA)]
)
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
def test_a_model_without_values_has_the_structure_of_a_whole_one(
    kind: str, settings: dict[str, Any], stored: torch.dtype, tmp_path: Path
) -> None:
    from transformers import AutoModelForSequenceClassification

    write_tiny(kind, tmp_path)
    AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=stored).save_pretrained(tmp_path)
    whole, empty = (SequenceClassifier(task="mrpc", name_or_path=str(tmp_path), **settings) for _ in range(2))
    whole.build_model()
    empty.build_model(without_values=True)
    assert is_without_values(empty.model)
    assert described(empty.model) == described(whole.model)
    assert empty.builder.has_trained_head == whole.builder.has_trained_head
    assert empty.builder.peft == whole.builder.peft


def test_a_model_of_a_checkpoint_can_be_built_without_values(tiny_model: Path) -> None:
    whole = SequenceClassifier(task="cola", name_or_path=str(tiny_model))
    whole.build_model()
    checkpoint: dict[str, Any] = {}
    whole.builder.describe(whole.model, checkpoint)
    architecture = checkpoint["hyper_parameters"]["architecture"]
    empty = SequenceClassifier(task="cola", name_or_path="not/there", architecture=architecture)
    empty.build_model(without_values=True)
    assert is_without_values(empty.model)
    assert described(empty.model) == described(whole.model)
