"""Frozen layers in bfloat16 train the same weights, and become float32 again where the training ends."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from command_line import glue_lit
from small_fit import CutError, Fit, SaveAndCut
from tiny_folders import write_tiny
from transformers import AutoModelForSequenceClassification

from glue_lit import SequenceClassifier
from glue_lit.encoder.adapters import METHODS
from glue_lit.encoder.frozen_weights import check_frozen_dtype, store_frozen_layers
from glue_lit.errors import UsageError
from glue_lit.outputs.hugging_face import load_trained, plain_model
from glue_lit.runs.checkpoints import read_checkpoint
from glue_lit.runs.config_values import read_config
from glue_lit.system.library_warnings import filter_warnings

LORA = {"peft": {"peft_type": "LORA", "r": 4}}


@pytest.fixture(autouse=True)
def quiet() -> None:
    filter_warnings()


def fit(folder: Path, tiny_model: Path, dtype: str, settings: dict[str, Any], *callbacks: Any, **more: Any) -> Fit:
    options = {"max_steps": 3, "precision": "bf16-mixed", "limit_val_batches": 1, "monitor": "val/loss"} | more
    return Fit(folder, tiny_model, *callbacks, model=settings | {"dtype": dtype}, **options)


def differences(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    assert one.keys() == other.keys()
    return [name for name, value in one.items() if not torch.equal(value.to(other[name].dtype), other[name])]


@pytest.mark.parametrize(
    "settings",
    [{"peft": {"peft_type": method}} for method in METHODS if method not in ("LORA", "BOFT")]
    + [LORA, {"freeze": 1}, LORA | {"average": 0.9}],
    ids=str,
)
def test_training_stays_the_same_to_the_last_bit(tmp_path: Path, tiny_model: Path, settings: dict[str, Any]) -> None:
    """Mixed precision rounds the layers at each step, in place of once."""
    rounded = fit(tmp_path / "rounded", tiny_model, "bfloat16", settings).run()
    exact = fit(tmp_path / "exact", tiny_model, "float32", settings).run()
    kinds = {parameter.dtype for parameter in rounded.model.parameters() if not parameter.requires_grad}
    assert kinds == {torch.bfloat16, torch.float32}
    assert {parameter.dtype for parameter in rounded.model.parameters() if parameter.requires_grad} == {torch.float32}
    assert differences(exact.model.state_dict(), rounded.model.state_dict()) == []
    assert rounded.model.scores == exact.model.scores


def test_it_resumes_exactly_and_is_exported_in_float32(tmp_path: Path, tiny_model: Path) -> None:
    whole = fit(tmp_path / "whole", tiny_model, "bfloat16", LORA).run()
    cut = tmp_path / "cut.ckpt"
    with pytest.raises(CutError):
        fit(tmp_path / "cut", tiny_model, "bfloat16", LORA, SaveAndCut("on_train_batch_end", 2, cut)).run()
    kept = read_checkpoint(cut)["hyper_parameters"]["base"]["weights"]
    assert {kind for name, kind in kept.items() if ".base_layer." in name} == {"bfloat16"}
    resumed = fit(tmp_path / "resumed", tiny_model, "bfloat16", LORA).run(cut)
    assert differences(whole.model.state_dict(), resumed.model.state_dict()) == []

    trained = load_trained(Path(resumed.best.best_model_path), None)
    assert {parameter.dtype for parameter in trained.classifier.parameters()} == {torch.float32}
    assert {parameter.dtype for parameter in plain_model(trained).parameters()} == {torch.float32}

    begun = Fit(tmp_path / "next", tiny_model, max_steps=1, model={"init_from": str(cut)}).run()
    assert {parameter.dtype for parameter in begun.model.parameters()} == {torch.float32}


@pytest.mark.parametrize("settings", [LORA, {"freeze": 1}], ids=str)
def test_the_model_in_memory_predicts_as_its_checkpoint(
    tmp_path: Path, tiny_model: Path, settings: dict[str, Any]
) -> None:
    """In float32, where layers in bfloat16 could not be computed; with weights that were rounded for training."""
    trained = fit(tmp_path, tiny_model, "bfloat16", settings).run()
    assert torch.bfloat16 in {parameter.dtype for parameter in trained.model.parameters()}
    trained.trainer.save_checkpoint(file := tmp_path / "now.ckpt")
    loaded = SequenceClassifier.load_from_checkpoint(file, weights_only=True).eval()
    batch = trained.data.dataset("validation")[[0, 1, 2]]
    with torch.inference_mode():
        assert torch.equal(trained.model.eval()(batch), loaded(batch))
    assert {parameter.dtype for parameter in trained.model.parameters()} == {torch.float32}
    assert differences(trained.model.state_dict(), loaded.state_dict()) == []


@pytest.mark.parametrize("dtype", ["auto", "bfloat16"])
def test_a_model_stored_in_bfloat16_is_kept_so_without_rounding(dtype: str, tmp_path: Path) -> None:
    """Its embedding, too, whose rows the layers get in float32."""
    write_tiny("llama", base := tmp_path / "base")
    AutoModelForSequenceClassification.from_pretrained(base, dtype=torch.bfloat16).save_pretrained(base)
    halved = fit(tmp_path / "halved", base, dtype, LORA).run()
    exact = fit(tmp_path / "exact", base, "float32", LORA).run()
    assert halved.model.model.get_input_embeddings().weight.dtype == torch.bfloat16
    sizes = [sum(p.nbytes for p in one.model.parameters() if not p.requires_grad) for one in (halved, exact)]
    assert sizes[0] < 0.51 * sizes[1]
    assert differences(exact.model.state_dict(), halved.model.state_dict()) == []
    assert halved.model.scores == exact.model.scores


@pytest.mark.parametrize(("dtype", "precision", "kept"), [
    ("float16", "16-mixed", torch.float16), ("auto", "16-mixed", torch.float32), ("auto", "32-true", torch.float32),
])  # fmt: skip
def test_float16_goes_with_16_mixed(dtype: str, precision: str, kept: torch.dtype) -> None:
    check_frozen_dtype(dtype, precision)
    layer = torch.nn.Linear(8, 8).requires_grad_(False)
    model = torch.nn.Sequential(layer, torch.nn.Linear(8, 2))
    store_frozen_layers(model, dtype, precision)
    assert (layer.weight.dtype, model[1].weight.dtype) == (kept, torch.float32)
    with pytest.raises(UsageError, match=r"got float16, allowed with trainer\.precision bf16-mixed: float32 or auto"):
        check_frozen_dtype("float16", "bf16-mixed")


def test_auto_rounds_nothing(tmp_path: Path, tiny_model: Path) -> None:
    kept = fit(tmp_path, tiny_model, "auto", LORA).run()
    assert {parameter.dtype for parameter in kept.model.parameters() if parameter.ndim > 1} == {torch.float32}


def test_its_former_name_is_still_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "old.yaml"
    file.write_text("model:\n  freeze: 1\n  frozen_dtype: bfloat16\ntrainer:\n  precision: bf16-mixed\n")
    for given in (["--config", file], ["--model.freeze=1", "--model.frozen_dtype=bfloat16"]):
        assert glue_lit(monkeypatch, "fit", *given, "--print_config") == 0
        found = yaml.safe_load(capsys.readouterr().out)["model"]
        assert found["dtype"] == "bfloat16"
        assert "frozen_dtype" not in found
    assert read_config(file.read_text())["model"] == {"freeze": 1, "dtype": "bfloat16"}


def test_it_needs_frozen_layers_and_mixed_precision(tmp_path: Path, tiny_model: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.dtype: got bfloat16, but all weights are trained, and"):
        SequenceClassifier(dtype="bfloat16")
    with pytest.raises(
        UsageError, match=r"precision 32-true: float32 or auto\. Pass `--trainer\.precision bf16-mixed` too"
    ):
        fit(tmp_path, tiny_model, "bfloat16", LORA, precision="32-true").run()
