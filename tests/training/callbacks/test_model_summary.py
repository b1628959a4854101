"""The summary that the Trainer prints of a model."""

import logging
import re
from pathlib import Path

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelSummary, RichModelSummary

from glue_lit import GLUEDataModule, SequenceClassifier
from glue_lit.encoder.trained_embedding import find_trained_rows, parameter_counts
from glue_lit.system.library_warnings import filter_warnings


@pytest.mark.parametrize("kind", [ModelSummary, RichModelSummary])
@pytest.mark.parametrize(("freeze", "max_depth"), [(None, 1), (1, 3)])
def test_the_token_embedding_counts_once(
    kind: type[ModelSummary],
    freeze: int | None,
    max_depth: int,
    tiny_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    filter_warnings()
    monkeypatch.setenv("COLUMNS", "200")
    data = GLUEDataModule("cola", str(tiny_model), source="demo", train_limit=8, validation_limit=5)
    model = SequenceClassifier("cola", str(tiny_model), freeze=freeze)
    with caplog.at_level(logging.INFO, "lightning.pytorch"):
        trainer = Trainer(
            accelerator="cpu", max_steps=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            callbacks=[kind(max_depth)], num_sanity_val_steps=0,
        )  # fmt: skip
        trainer.fit(model, data)
    assert sum(isinstance(callback, ModelSummary) for callback in trainer.callbacks) == 1  # type: ignore[attr-defined]
    assert (find_trained_rows(model) is None) == (freeze is not None)
    total, trained = parameter_counts(model)
    said = capsys.readouterr().out + caplog.text
    found = {name: value for value, name in re.findall(r"([\d.]+) K +(Trainable|Non-trainable|Total) params", said)}
    found |= dict(re.findall(r"(Trainable|Non-trainable|Total) params: ([\d.]+) K", said))
    assert found["Total"] == f"{total / 1000:.1f}"
    assert found["Trainable"] == f"{trained / 1000:.1f}"
    if (table := find_trained_rows(model)) is not None:
        assert table.rows.requires_grad
        assert not table.weight.requires_grad
        assert [name for name, _ in table.named_parameters()] == ["weight", "rows"]
