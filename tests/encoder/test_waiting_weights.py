"""A fit reads frozen weights in half precision at once: the same values as converted ones, without the memory."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_folders import write_tiny
from transformers import AutoModelForSequenceClassification, LlamaConfig, LlamaForSequenceClassification

from glue_lit import SequenceClassifier
from glue_lit.encoder.frozen_weights import store_frozen_layers
from glue_lit.errors import ModelError

LORA: dict[str, Any] = {"peft_type": "LORA", "r": 2}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("llama", {"peft": LORA}),
    ("llama", {"peft": LORA | {"use_dora": True}}),
    ("llama", {"peft": LORA | {"init_lora_weights": "pissa"}}),
    ("llama", {"peft": LORA | {"modules_to_save": ["v_proj"]}}),
    ("llama", {"peft": {"peft_type": "LN_TUNING"}}),
    ("bert", {"freeze": 1}),
    ("mixtral", {"peft": LORA}),  # its experts are joined when they are read
]


def built(folder: Path, precision: str | None, **settings: Any) -> tuple[dict[str, torch.Tensor], torch.Tensor, str]:
    """A model's weights in a fit with bf16-mixed, the random state after them, and its configuration."""
    classifier = SequenceClassifier(task="mnli", name_or_path=str(folder), **settings)
    torch.manual_seed(1)
    classifier.build_model(precision=precision)
    store_frozen_layers(classifier.model, settings["dtype"], "bf16-mixed")
    return classifier.model.state_dict(), torch.get_rng_state(), classifier.model.config.to_json_string(use_diff=False)


@pytest.mark.parametrize("dtype", ["bfloat16", "auto"])
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("kind", "settings"), CASES, ids=str)
def test_they_are_those_of_a_model_that_was_converted(
    kind: str, settings: dict[str, Any], stored: torch.dtype, dtype: str, tmp_path: Path
) -> None:
    write_tiny(kind, tmp_path)
    AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=stored).save_pretrained(tmp_path)
    converted, after, config = built(tmp_path, None, **settings, dtype=dtype)
    read, state, same = built(tmp_path, "bf16-mixed", **settings, dtype=dtype)
    assert [*read] == [*converted]
    for name, value in converted.items():
        assert value.dtype == read[name].dtype
        assert torch.equal(value, read[name]), name
    assert torch.equal(state, after)
    assert same == config


def allocated(folder: Path, **settings: Any) -> int:
    """Bytes that torch allocates while a model is built."""
    classifier = SequenceClassifier(task="mnli", name_or_path=str(folder), **settings)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        classifier.build_model(precision="bf16-mixed")
    return sum(max(0, event.self_cpu_memory_usage) for event in profile.key_averages())


def test_they_take_no_memory_in_float32(tmp_path: Path) -> None:
    config = LlamaConfig(vocab_size=300, hidden_size=256, intermediate_size=1024, num_hidden_layers=4,
                         num_attention_heads=4, num_key_value_heads=4)  # fmt: skip
    model = LlamaForSequenceClassification(config)
    model.save_pretrained(tmp_path)
    linear = sum(layer.weight.numel() for layer in model.modules() if isinstance(layer, torch.nn.Linear))
    others = 4 * (sum(parameter.numel() for parameter in model.parameters()) - linear)
    whole = allocated(tmp_path, peft=LORA, dtype="float32")
    assert whole >= 4 * linear
    assert allocated(tmp_path, peft=LORA, dtype="bfloat16") < 2 * linear + 2 * others + (1 << 20)


def test_a_damaged_file_is_explained_as_always(tmp_path: Path) -> None:
    write_tiny("llama", tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    classifier = SequenceClassifier(task="mnli", name_or_path=str(tmp_path), peft=LORA, dtype="bfloat16")
    with pytest.raises(ModelError, match=r"^model.name_or_path: could not load the model"):
        classifier.build_model(precision="bf16-mixed")
