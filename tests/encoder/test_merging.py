"""Merging adapters does not change the logits; if it does, nothing is exported."""

import dataclasses
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from tiny_folders import write_tiny
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from glue_lit import SequenceClassifier
from glue_lit.encoder.adapters import add_adapters, plain_settings
from glue_lit.encoder.merging import check_can_be_merged, merge_adapters
from glue_lit.errors import ModelError
from glue_lit.outputs.hugging_face import Trained, plain_model


def classifier(folder: Path, **settings: Any) -> SequenceClassifier:
    model = SequenceClassifier(task="mrpc", name_or_path=str(folder), peft=peft.LoraConfig(r=2, **settings))
    model.configure_model()
    return model.eval()


@pytest.mark.parametrize(
    ("kind", "shared"), [("zamba", "down_proj, gate_proj, k_proj"), ("zamba2", "down_proj, gate_up_proj")]
)
def test_weights_that_layers_share_take_no_adapters(kind: str, shared: str, tmp_path: Path) -> None:
    write_tiny(kind, tmp_path)
    with pytest.raises(
        ModelError, match=f"a {kind} uses the weights of {shared}.* of their own: in_proj, linear, out_proj"
    ):
        classifier(tmp_path)
    model = classifier(tmp_path, target_modules=["in_proj"]).model
    check_can_be_merged(model)


def test_embeddings_shared_by_encoder_and_decoder_take_no_adapters(tmp_path: Path) -> None:
    """Older checkpoints may have an adapter of one use of them; merging it would change the other uses."""
    write_tiny("t5", tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    add_adapters(model, plain_settings(peft.LoraConfig(target_modules=["transformer.encoder.embed_tokens"])))
    with pytest.raises(ModelError, match="a t5 uses the weights of embed_tokens in several places"):
        merge_adapters(model)


def test_a_merge_that_changes_logits_is_not_exported(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = classifier(tiny_model)
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    trained = Trained(model, AutoTokenizer.from_pretrained(tiny_model), 64, {}, {})
    ids = torch.arange(5, 40)[None]
    with torch.inference_mode():
        torch.testing.assert_close(plain_model(trained)(ids).logits, model.model(ids).logits, rtol=1e-4, atol=1e-5)

    def off_by_a_little(whole: Any) -> Any:
        found = merge_adapters(whole)
        found.classifier.bias.data += 0.01
        return found

    monkeypatch.setattr("glue_lit.outputs.hugging_face.merge_adapters", off_by_a_little)
    with pytest.raises(ModelError, match=r"merging the adapters into a bert changes its logits by 0\.01,"):
        plain_model(trained)
    whole = dataclasses.replace(trained, classifier=SequenceClassifier(task="mrpc", name_or_path=str(tiny_model)))
    whole.classifier.configure_model()
    monkeypatch.setattr("glue_lit.outputs.hugging_face.merge_adapters", merge_adapters)
    assert plain_model(whole) is whole.classifier.model  # nothing to merge
