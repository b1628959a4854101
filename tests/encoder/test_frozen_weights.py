"""Frozen layers in bfloat16 train the same weights, and become float32 again where the training ends."""

from pathlib import Path
from typing import Any

import pytest
import torch
from small_fit import CutError, Fit, SaveAndCut

from glue_lit import SequenceClassifier
from glue_lit.encoder.adapters import METHODS
from glue_lit.errors import UsageError
from glue_lit.outputs.hugging_face import load_trained, plain_model
from glue_lit.runs.checkpoints import read_checkpoint
from glue_lit.system.library_warnings import filter_warnings

LORA = {"peft": {"peft_type": "LORA", "r": 4}}


@pytest.fixture(autouse=True)
def quiet() -> None:
    filter_warnings()


def fit(folder: Path, tiny_model: Path, dtype: str, settings: dict[str, Any], *callbacks: Any, **more: Any) -> Fit:
    options = {"max_steps": 3, "precision": "bf16-mixed", "limit_val_batches": 1, "monitor": "val/loss"} | more
    return Fit(folder, tiny_model, *callbacks, model=settings | {"frozen_dtype": dtype}, **options)


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


def test_it_needs_frozen_layers_and_mixed_precision(tmp_path: Path, tiny_model: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.frozen_dtype: got bfloat16, but all weights are trained\."):
        SequenceClassifier(frozen_dtype="bfloat16")
    with pytest.raises(UsageError, match=r"precision 32-true: float32\. Pass `--trainer\.precision bf16-mixed` too"):
        fit(tmp_path, tiny_model, "bfloat16", LORA, precision="32-true").run()
