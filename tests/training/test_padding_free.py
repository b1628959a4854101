"""A fit on padding-free batches ends as one on padded batches, and what it does not combine with is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import glue_lit
from lightning.pytorch import Trainer
from small_fit import CutError, Fit, SaveAndCut

from glue_lit import GLUEDataModule
from glue_lit.errors import UsageError
from glue_lit.system.library_warnings import filter_warnings
from glue_lit.training.callbacks.speed import TrainingSpeed
from glue_lit.training.padding_free import check_combines

PACKED: dict[str, Any] = {"padding_free": True, "group_by_length": False}


@pytest.fixture(autouse=True)
def quiet() -> None:
    filter_warnings()


def fit(folder: Path, tiny_model: Path, *callbacks: Any, data: dict[str, Any], **model: Any) -> Fit:
    return Fit(folder, tiny_model, *callbacks, data=dict(data), model=model, max_epochs=2, precision="32-true")


def farthest(one: Fit, other: Fit) -> float:
    weights = one.model.state_dict(), other.model.state_dict()
    return max(float((value.double() - weights[1][name].double()).abs().max()) for name, value in weights[0].items())


def test_weights_scores_and_predictions_are_those_of_padded_batches(tmp_path: Path, tiny_model: Path) -> None:
    speeds, fits, predictions = [], [], []
    for name, padding_free in (("packed", True), ("padded", False)):
        speeds.append(TrainingSpeed())
        data = PACKED | {"padding_free": padding_free}
        settings = {"dropout": 0.0, "adam_eps": 1e-6, "r_drop": 1.0}
        fits.append(fit(tmp_path / name, tiny_model, speeds[-1], data=data, **settings).run())
        predictions.append(torch.cat(fits[-1].trainer.predict(fits[-1].model, fits[-1].data)))  # type: ignore[arg-type]
    packed, padded = fits
    assert farthest(packed, padded) < 1e-6
    assert packed.model.scores == pytest.approx(padded.model.scores, abs=1e-6)
    assert (predictions[0] - predictions[1]).abs().max() < 1e-6
    assert int(speeds[0].tokens) == speeds[0].padded == int(speeds[1].tokens) < speeds[1].padded


@pytest.mark.parametrize("tokens", [None, 120])
def test_a_resumed_fit_ends_as_one_that_was_not_cut(tmp_path: Path, tiny_model: Path, tokens: int | None) -> None:
    """Bit by bit, with dropout, from the middle of an epoch."""
    data = PACKED | {"tokens_per_batch": tokens}
    whole = fit(tmp_path / "whole", tiny_model, data=data).run()
    path = tmp_path / "cut.ckpt"
    with pytest.raises(CutError):
        fit(tmp_path / "cut", tiny_model, SaveAndCut("on_train_batch_end", 13, path), data=data).run()
    resumed = fit(tmp_path / "cut", tiny_model, data=data).run(path)
    assert farthest(whole, resumed) == 0
    assert whole.history.points[-1] == resumed.history.points[-1]


def test_other_batches_within_an_epoch_are_refused(tiny_model: Path) -> None:
    """By tokens and without length groups, batches without padding hold other texts."""
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    for settings, differs in (({"tokens_per_batch": 120}, True), ({}, False)):
        before, now = (
            GLUEDataModule("cola", str(tiny_model), source="demo", **PACKED | settings | {"padding_free": packed})
            for packed in (True, False)
        )
        now.load_state_dict(before.state_dict())
        assert now.has_same_batches(trainer) is not differs


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split_batches": True}, r"model\.split_batches: got true, allowed with data\.padding_free true: false\."),
        ({"compile": True}, r"model\.compile: got true, allowed with data\.padding_free true: auto \(which then"),
    ],
)
def test_settings_that_need_rows_are_refused(
    settings: dict[str, Any], message: str, tmp_path: Path, tiny_model: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        check_combines(True, {"split_batches": False, "compile": "auto"} | settings)
    with pytest.raises(UsageError, match=message):  # from Python, too
        fit(tmp_path, tiny_model, data=PACKED, **settings).run()


WORDS = ["fit", "--data.source", "missing", "--trainer.accelerator", "cpu", "--data.padding_free", "true"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model.attention", "eager"], "with model.attention eager each text would attend to the others."),
        (["--model.attention", "flash_attention_2"], "got flash_attention_2, which needs a GPU, and this is computed"),
        (["--model.split_batches", "true"], "model.split_batches: got true"),
        (["--model.compile", "true"], "model.compile: got true, allowed with data.padding_free true"),
        (["--data.pad_to_multiple_of", "8"], "data.pad_to_multiple_of: got 8, and data.padding_free true"),
    ],
)
def test_refused_before_data_are_read(
    words: list[str], message: str, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert glue_lit(monkeypatch, *WORDS, "--model.name_or_path", str(tiny_model), *words) in (1, 2)
    errors = capsys.readouterr().err
    assert message in errors
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("grouped", "message"),
    [("true", " That hardly pays: batches of similar lengths have little padding (`--data.group_"), ("false", "\n")],
)
def test_a_fit_says_how_much_padding_it_saves(
    grouped: str, message: str, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    words = ["fit", "--data.source", "demo", *WORDS[3:], "--model.name_or_path", str(tiny_model)]
    words += ["--data.group_by_length", grouped, "--trainer.max_steps", "1", "--trainer.limit_val_batches", "1"]
    assert glue_lit(monkeypatch, *words) == 0
    said = capsys.readouterr().out
    share = float(said.split("Without padding a batch has ")[1].split("%")[0])
    assert (share < 10) == (grouped == "true")
    assert f"{share}% fewer tokens.{message}" in said
