"""Decoders as classifiers, from a fit with adapters to transformers' own pipeline on the export."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import glue_lit
from small_fit import CutError, Fit, SaveAndCut
from tiny_folders import write_tiny
from transformers import AutoTokenizer, pipeline

from glue_lit.data.rows import Rows
from glue_lit.outputs.predictor import Predictor
from glue_lit.runs.checkpoints import read_checkpoint
from glue_lit.system.library_warnings import filter_warnings

DECODERS = ("llama", "qwen3", "gemma", "gemma3_text")
TEXTS = ["a", "some more words", "b c", "the longest text of them all, with a tail", "two"]
LORA: dict[str, Any] = {"peft": {"peft_type": "LORA", "r": 2}, "dtype": "bfloat16"}


@pytest.fixture(autouse=True)
def quiet() -> None:
    filter_warnings()


@pytest.fixture(scope="module", params=DECODERS)
def decoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random decoder whose tokenizer pads before the text, as those of decoders do."""
    folder = tmp_path_factory.mktemp(request.param)
    write_tiny(request.param, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.init_kwargs["padding_side"] = "left"
    tokenizer.save_pretrained(folder)
    return folder


def logits(predictor: Predictor, texts: list[str]) -> torch.Tensor:
    return next(predictor.logits([(Rows(texts, None, [None] * len(texts)), None)]))[0]


def test_from_a_fit_to_a_pipeline(
    decoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {
        "data.task": "sst2", "data.source": "demo", "data.train_limit": 32, "data.validation_limit": 12,
        "model.name_or_path": decoder, "model.peft": "peft.LoraConfig", "model.dtype": "bfloat16",
        "model.gradient_checkpointing": "true", "model.learning_rate": 1e-2, "trainer.precision": "bf16-mixed",
        "trainer.max_epochs": 1, "trainer.accelerator": "cpu",
    }  # fmt: skip
    assert glue_lit(monkeypatch, "fit", "--json", *(f"--{name}={value}" for name, value in settings.items())) == 0
    scores = json.loads(capsys.readouterr().out)["metrics"]
    assert glue_lit(monkeypatch, "validate", "--ckpt_path=best", "--json") == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == scores
    Path("texts.txt").write_text("\n".join(TEXTS))
    assert glue_lit(monkeypatch, "predict", "--file=texts.txt", "--ckpt_path=best") == 0
    assert f"({len(TEXTS)} rows)" in capsys.readouterr().out

    checkpoint = next(tmp_path.rglob("best.ckpt"))
    of_base = read_checkpoint(checkpoint)["hyper_parameters"]["base"]["weights"]
    assert {kind for name, kind in of_base.items() if ".base_layer." in name} == {"bfloat16"}
    found = logits(predictor := Predictor(checkpoint, precision="32-true"), TEXTS)
    assert float(found.std(dim=0).min()) > 1e-3  # they differ, so a wrong token would show
    for number, text in enumerate(TEXTS):
        assert torch.allclose(logits(predictor, [text])[0], found[number], atol=1e-5)
    assert glue_lit(monkeypatch, "export", "--output=exported") == 0
    theirs = pipeline("text-classification", "exported", top_k=None, function_to_apply="none", batch_size=3)
    assert theirs.tokenizer.padding_side == "right"
    assert theirs.model.config.pad_token_id == theirs.tokenizer.pad_token_id
    scored = [{row["label"]: row["score"] for row in rows} for rows in theirs(TEXTS)]
    by_label = torch.tensor([[row[name] for name in ("negative", "positive")] for row in scored])
    assert torch.allclose(by_label, found, atol=1e-5)


def test_a_fit_with_frozen_weights_in_bfloat16_resumes_exactly(decoder: Path, tmp_path: Path) -> None:
    options = {"precision": "bf16-mixed", "max_steps": 6, "limit_val_batches": 1}
    whole = Fit(tmp_path / "whole", decoder, model=LORA, **options).run()
    with pytest.raises(CutError):
        Fit(tmp_path / "cut", decoder, SaveAndCut("on_train_batch_end", 3, tmp_path / "cut.ckpt"), model=LORA,
            **options).run()  # fmt: skip
    resumed = Fit(tmp_path / "resumed", decoder, model=LORA, **options).run(tmp_path / "cut.ckpt")
    one, other = whole.model.state_dict(), resumed.model.state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert whole.history.points[-1] == resumed.history.points[-1]
    assert {p.dtype for p in whole.model.parameters() if p.requires_grad} == {torch.float32}
