"""A checkpoint of adapters holds what is trained; the frozen weights are read again from the base model."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import glue_lit
from small_fit import CutError, Fit, SaveAndCut
from transformers import AutoModelForSequenceClassification

from glue_lit import SequenceClassifier
from glue_lit.errors import ModelError, RunError
from glue_lit.outputs.hugging_face import load_trained, plain_model
from glue_lit.outputs.loading import load_classifier
from glue_lit.outputs.predictor import Predictor
from glue_lit.runs.checkpoints import read_checkpoint
from glue_lit.system.library_warnings import filter_warnings

LORA = {"peft": {"peft_type": "LORA", "r": 2}}
OPTIONS: dict[str, Any] = {"precision": "32-true", "max_steps": 12, "limit_val_batches": 2}


@pytest.fixture(autouse=True)
def quiet() -> None:
    filter_warnings()


@pytest.fixture
def base(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "base"))


def size(values: dict[str, torch.Tensor]) -> int:
    return sum(value.nbytes for value in values.values())


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("more", [{}, {"average": 0.9}], ids=str)
def test_a_fit_resumes_exactly_from_what_is_trained(more: dict[str, Any], base: Path, tmp_path: Path) -> None:
    settings = LORA | more
    whole = Fit(tmp_path / "whole", base, model=settings, **OPTIONS).run()
    cut = tmp_path / "cut.ckpt"
    with pytest.raises(CutError):
        Fit(tmp_path / "cut", base, SaveAndCut("on_train_batch_end", 5, cut), model=settings, **OPTIONS).run()

    saved, model = read_checkpoint(cut), whole.model
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert trained.keys() <= saved["state_dict"].keys()
    assert not saved["state_dict"].keys() & frozen
    assert size(saved["state_dict"]) <= sum(p.nbytes for p in trained.values()) + sum(b.nbytes for b in model.buffers())
    assert size(saved["state_dict"]) < 0.3 * size(model.state_dict())
    assert cut.stat().st_size < (base / "model.safetensors").stat().st_size

    resumed = Fit(tmp_path / "resumed", base, model=settings, **OPTIONS).run(cut)
    assert equal(whole.model.state_dict(), resumed.model.state_dict())
    assert whole.model.scores == resumed.model.scores


def checkpoint_of(base: Path, folder: Path, settings: dict[str, Any] = LORA, **options: Any) -> tuple[Path, Fit]:
    done = Fit(folder, base, model=settings, **OPTIONS | options).run()
    done.trainer.save_checkpoint(folder / "x.ckpt")
    return folder / "x.ckpt", done


def test_it_is_loaded_exported_and_trained_further(base: Path, tmp_path: Path) -> None:
    file, done = checkpoint_of(base, tmp_path / "run")
    weights = done.model.state_dict()
    assert equal(SequenceClassifier.load_from_checkpoint(file, weights_only=True).state_dict(), weights)
    merged = plain_model(load_trained(file, None)).state_dict()
    assert size(merged) > 0.9 * (base / "model.safetensors").stat().st_size
    begun = Fit(tmp_path / "next", base, model={"init_from": str(file)}, **OPTIONS | {"max_steps": 1})
    begun.model.build_model()
    assert all(torch.equal(merged[name], value) for name, value in begun.model.model.state_dict().items()
               if "classifier" not in name)  # fmt: skip


def test_checkpoints_of_before_with_all_weights_still_load(base: Path, tmp_path: Path) -> None:
    file, done = checkpoint_of(base, tmp_path / "run")
    saved = torch.load(file, weights_only=True)
    del saved["hyper_parameters"]["base"]
    saved["state_dict"] = done.model.state_dict()
    saved["glue_lit"]["format"] = 1
    torch.save(saved, tmp_path / "old.ckpt")
    shutil.rmtree(base)
    loaded = load_classifier(tmp_path / "old.ckpt")[0]
    assert equal(loaded.state_dict(), done.model.state_dict())
    with pytest.raises(RunError, match=r"holds weights of .*base, not of \./other\. Leave model\.name_or_path out"):
        load_classifier(tmp_path / "old.ckpt", name_or_path="./other")


def test_a_base_that_is_missing_or_another_is_refused(base: Path, tmp_path: Path) -> None:
    file, _ = checkpoint_of(base, tmp_path / "run")
    weights = base / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    other = r"belong to other weights than those of .*base': model\.safetensors has the SHA-256 \w{12}, and had \w{12}"
    with pytest.raises(ModelError, match=other):
        Predictor(file)
    resumed = Fit(tmp_path / "resumed", base, model=LORA, **OPTIONS)
    with pytest.raises(ModelError, match=other):
        resumed.model.use_architecture_of(read_checkpoint(file))
    weights.unlink()
    with pytest.raises(ModelError, match=r"holds the adapters and the head; all other weights are those of .*base"):
        Predictor(file)
    shutil.rmtree(base)
    with pytest.raises(ModelError, match=r"cannot be read: model\.name_or_path: there is no folder"):
        SequenceClassifier.load_from_checkpoint(file, weights_only=True)


@pytest.mark.parametrize("begin", ["pissa", "olora"])
def test_adapters_that_change_the_base_keep_all_weights(begin: str, base: Path, tmp_path: Path) -> None:
    settings = {"peft": {"peft_type": "LORA", "r": 2, "init_lora_weights": begin}}
    file, done = checkpoint_of(base, tmp_path / "run", settings, max_steps=2)
    assert read_checkpoint(file)["state_dict"].keys() == done.model.state_dict().keys()
    shutil.rmtree(base)
    assert equal(load_classifier(file)[0].state_dict(), done.model.state_dict())


def test_a_base_without_a_pooler_keeps_the_new_one_in_the_checkpoint(base: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    kept = {name: value for name, value in load_file(base / "model.safetensors").items() if "pooler" not in name}
    save_file(kept, base / "model.safetensors", {"format": "pt"})
    file, done = checkpoint_of(base, tmp_path / "run", max_steps=2)
    assert {name for name in read_checkpoint(file)["state_dict"] if "pooler" in name}
    assert equal(load_classifier(file)[0].state_dict(), done.model.state_dict())


def test_commands_find_a_base_that_was_moved(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {"data.task": "cola", "data.source": "demo", "model.name_or_path": base, "data.train_limit": 16,
                "data.validation_limit": 8, "trainer.max_epochs": 1, "trainer.accelerator": "cpu",
                "model.peft": "peft.LoraConfig", "model.peft.init_args.r": 2}  # fmt: skip
    assert glue_lit(monkeypatch, "fit", *(f"--{name}={value}" for name, value in settings.items())) == 0
    capsys.readouterr()
    assert glue_lit(monkeypatch, "validate", "--ckpt_path", "best", "--json") == 0
    first = json.loads(capsys.readouterr().out)
    moved = base.rename(tmp_path / "moved")
    assert glue_lit(monkeypatch, "validate", "--ckpt_path", "best") == 1
    assert "all other weights are those of" in capsys.readouterr().err
    assert glue_lit(monkeypatch, "validate", "--ckpt_path", "best", "--json", "--model.name_or_path", str(moved)) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == first["metrics"]
    capsys.readouterr()

    text = ("predict", "--text", "it is so", "--json")
    assert glue_lit(monkeypatch, *text) == 1
    assert "If it was moved, pass `--model.name_or_path FOLDER`." in capsys.readouterr().err
    assert glue_lit(monkeypatch, "export", "--output", "exported") == 1
    assert "If it was moved, pass `--model.name_or_path FOLDER`." in capsys.readouterr().err
    there = f"--model.name_or_path={moved}"
    for command in (text, ("export", "--output=exported"), ("predict", "--ckpt_path=best", "--calibrate"),
                    ("fit", "--ckpt_path=last", "--trainer.max_epochs=2")):  # fmt: skip
        assert glue_lit(monkeypatch, *command, there) == 0, command
    exported = AutoModelForSequenceClassification.from_pretrained("exported")
    assert size(exported.state_dict()) > 0.9 * (moved / "model.safetensors").stat().st_size
