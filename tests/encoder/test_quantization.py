"""QLoRA: frozen layers in 4 bits train, resume, predict and are exported as whole weights."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small_fit import CutError, Fit, SaveAndCut
from tiny_folders import write_tiny
from transformers import AutoModelForSequenceClassification

from glue_lit import SequenceClassifier
from glue_lit.encoder.quantization import check_quantized_precision, dequantized, quantized_layers
from glue_lit.encoder.trained_embedding import parameter_counts
from glue_lit.errors import GlueLitError, ModelError, UsageError
from glue_lit.outputs.hugging_face import load_trained, plain_model, write_model
from glue_lit.outputs.loading import load_classifier
from glue_lit.outputs.predictor import Predictor
from glue_lit.runs.checkpoints import read_checkpoint
from glue_lit.system.library_warnings import filter_warnings

LORA = {"peft_type": "LORA", "r": 2, "target_modules": "all-linear"}
QLORA: dict[str, Any] = {"peft": LORA, "quantization": "4bit"}
OPTIONS: dict[str, Any] = {"precision": "32-true", "max_steps": 8, "limit_val_batches": 2}
KINDS = ("llama", "gpt2", "bert")  # a decoder, one with Conv1D, and an encoder whose pooler is new


@pytest.fixture(autouse=True)
def quiet() -> None:
    filter_warnings()


def folder_of(kind: str, folder: Path, tiny_model: Path) -> Path:
    if kind == "bert":
        return Path(shutil.copytree(tiny_model, folder))
    write_tiny(kind, folder)
    return folder


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(torch.as_tensor(value), torch.as_tensor(other[name])) for name, value in one.items()
    )


@pytest.mark.parametrize("kind", KINDS)
def test_qlora_from_a_fit_to_an_export(kind: str, tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    base = folder_of(kind, tmp_path / "base", tiny_model)
    if kind == "bert":
        _remove_pooler(base)
    whole = Fit(tmp_path / "whole", base, model=QLORA, **OPTIONS).run()
    cut = tmp_path / "cut.ckpt"
    with pytest.raises(CutError):
        Fit(tmp_path / "cut", base, SaveAndCut("on_train_batch_end", 3, cut), model=QLORA, **OPTIONS).run()
    resumed = Fit(tmp_path / "resumed", base, model=QLORA, **OPTIONS).run(cut)
    state = whole.model.state_dict()
    assert equal(state, resumed.model.state_dict())
    saved = read_checkpoint(cut)["state_dict"]
    assert {value.dtype for value in saved.values()} <= {torch.float32, torch.int64, torch.bool}
    assert not [name for name in saved if "quant" in name or "absmax" in name or name.endswith("base_layer.weight")]

    plain = SequenceClassifier("cola", str(base), peft=LORA)
    plain.build_model(padding=0)
    assert parameter_counts(plain) == parameter_counts(whole.model)
    assert {layer.weight.dtype for layer in quantized_layers(whole.model).values()} == {torch.uint8}

    whole.trainer.save_checkpoint(file := tmp_path / "whole.ckpt")
    assert equal(SequenceClassifier.load_from_checkpoint(file, weights_only=True).state_dict(), state)
    trained = load_trained(file, None)
    assert equal(trained.classifier.state_dict(), state)
    write_model(trained, tmp_path / "exported")
    texts = ["a short one", "a longer text, which is not padded", "two words"]
    inputs = trained.tokenizer(texts, padding=True, return_tensors="pt")
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "exported").eval()
    assert not hasattr(theirs.config, "quantization_config")
    with torch.inference_mode():
        ours = trained.classifier(dict(inputs))
        torch.testing.assert_close(theirs(**inputs).logits, ours, rtol=0, atol=1e-5)
        assert (plain.model.eval()(**inputs).logits - ours).abs().max() > 1e-3

    begun = Fit(tmp_path / "next", base, model={"init_from": str(file)}, **OPTIONS | {"max_steps": 1})
    begun.model.build_model()
    merged = plain_model(trained).state_dict()
    assert all(torch.equal(merged[name], value) for name, value in begun.model.model.state_dict().items()
               if value.shape[:1] != (2,))  # fmt: skip


def _remove_pooler(base: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(base / "model.safetensors")
    save_file({name: value for name, value in weights.items() if "pooler" not in name}, base / "model.safetensors",
              {"format": "pt"})  # fmt: skip


def test_the_settings_of_a_checkpoint_decide(tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    write_tiny("llama", base := tmp_path / "base")
    mixed = {"gradient_checkpointing": True, "dtype": "auto"}
    done = Fit(tmp_path / "run", base, model=QLORA | mixed, **OPTIONS | {"precision": "bf16-mixed"}).run()
    done.trainer.save_checkpoint(file := tmp_path / "x.ckpt")
    saved = read_checkpoint(file)
    later = SequenceClassifier("cola", str(base), peft=LORA)  # without its quantization
    later.use_architecture_of(saved)
    later.build_model()
    assert quantized_layers(later.model)
    whole = Fit(tmp_path / "plain", base, model={"peft": LORA}, **OPTIONS | {"max_steps": 1}).run()
    whole.trainer.save_checkpoint(tmp_path / "plain.ckpt")
    with pytest.raises(UsageError, match="got 4bit, and the checkpoint was trained with whole weights"):
        SequenceClassifier("cola", str(base), **QLORA).use_architecture_of(read_checkpoint(tmp_path / "plain.ckpt"))
    assert load_classifier(file)[0].model.training is False
    assert Predictor(file, precision="bf16-mixed")
    assert dequantized(whole.model.model) is whole.model.model


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"peft": None}, r"got 4bit, which freezes the model, and nothing else is trained\. Pass `--model\.peft"),
        ({"peft": {"peft_type": "IA3"}}, r"model\.peft is IA3\. Pass `--model\.peft peft\.LoraConfig`"),
        ({"peft": LORA | {"init_lora_weights": "pissa"}}, "pissa, which changes the frozen weights"),
        ({"init_from": "run"}, r"model\.init_from run, which takes its weights from a run"),
        ({"average": 0.9}, r"model\.average 0\.9, which averages all weights"),
    ],
    ids=str,
)
def test_what_it_does_not_go_with(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(GlueLitError, match=said):
        SequenceClassifier("cola", **QLORA | settings)


def test_precisions_that_would_round_what_is_trained_are_refused() -> None:
    check_quantized_precision("4bit", "bf16-mixed")
    check_quantized_precision(None, "bf16-true")
    with pytest.raises(UsageError, match=r"got bf16-true, allowed with model\.quantization: 32-true, bf16-mixed, 16-"):
        check_quantized_precision("4bit", "bf16-true")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glue_lit.encoder.quantization.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "bitsandbytes", raising=False)
    with pytest.raises(ModelError, match=r"needs the package bitsandbytes: `pip install 'glue-lit\[quantization\]'`"):
        SequenceClassifier("cola", **QLORA)
