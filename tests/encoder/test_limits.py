"""Limits of architectures are explained in one message, before a run or in its first batch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import glue_lit
from lightning.pytorch import Trainer
from tiny_architectures import tiny_architecture
from tiny_folders import write_tiny

from glue_lit import GLUEDataModule, SequenceClassifier
from glue_lit.encoder.limits import (
    check_kernels,
    check_precision_of,
    explain_model_error,
    pad_for_training,
    why_not_mixed,
)
from glue_lit.errors import ModelError, RunError
from glue_lit.outputs.predictor import Predictor


def classifier(kind: str, folder: Path) -> SequenceClassifier:
    write_tiny(kind, folder)
    model = SequenceClassifier(task="mrpc", name_or_path=str(folder))
    model.configure_model()
    return model


@pytest.mark.parametrize("kind", ["deberta", "xmod"])
def test_a_model_that_does_not_run_in_mixed_precision_is_trained_in_float32(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tiny(kind, tmp_path / "model")
    monkeypatch.setattr("glue_lit.cli.complete_settings.fast_precision", lambda _: "bf16-mixed")
    fit = ("fit", "--data.task=mrpc", "--model.name_or_path=model", "--data.source=demo", "--data.train_limit=16",
           "--data.validation_limit=8", "--trainer.max_epochs=1", "--trainer.accelerator=cpu")  # fmt: skip
    assert glue_lit(monkeypatch, *fit, "--trainer.precision=bf16-mixed") == 1
    error = capsys.readouterr().err
    assert f"trainer.precision: got bf16-mixed, which a model of the architecture {kind} cannot be computed in" in error
    assert "Pass `--trainer.precision 32-true`." in error
    assert not Path("lightning_logs").exists()

    assert glue_lit(monkeypatch, *fit) == 0
    assert "Computing in float32: this model does not run in bfloat16" in capsys.readouterr().out
    run = Path("lightning_logs/mrpc/version_0")
    assert "precision: 32-true" in (run / "config.yaml").read_text(encoding="utf-8")
    checkpoint = run / "checkpoints" / "best.ckpt"
    assert torch.load(checkpoint, weights_only=True)["glue_lit"]["precision"] == "32-true"
    assert glue_lit(monkeypatch, "validate", "--run", run) == 0
    with pytest.raises(ModelError, match="got bf16-mixed, which a model of the architecture"):
        Predictor(checkpoint, precision="bf16-mixed")


@pytest.mark.parametrize("kind", ["deberta", "xmod", "bert", "deberta-v2"])
def test_which_models_do_not_run_in_mixed_precision(kind: str) -> None:
    """Only what fails is refused: this test fails when a version of transformers repairs it."""
    model = tiny_architecture(kind)
    ids = torch.tensor([[1, 5, 6, 2], [1, 7, 2, 0]])
    fails = False
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            model(input_ids=ids, attention_mask=ids.ne(0).long())
    except RuntimeError:
        fails = True
    assert fails is (why_not_mixed(model) is not None)
    model.to(torch.bfloat16)(input_ids=ids, attention_mask=ids.ne(0).long())
    for precision in ("32-true", "bf16-true"):
        check_precision_of(model, precision)


def test_a_trainer_in_python_refuses_mixed_precision_too(tmp_path: Path) -> None:
    model = classifier("deberta", tmp_path)
    data = GLUEDataModule(task="mrpc", tokenizer=str(tmp_path), source="demo", train_limit=8, validation_limit=8)
    trainer = Trainer(accelerator="cpu", precision="bf16-mixed", max_epochs=1, logger=False, enable_checkpointing=False,
                      enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
    with pytest.raises(ModelError, match=r"got bf16-mixed, .* Pass `--trainer\.precision 32-true`"):
        trainer.fit(model, data)


def test_attention_of_zeros_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MRA without its kernels gives every text the same logits."""
    with pytest.raises(ModelError, match="architecture mra, whose attention needs CUDA kernels"):
        classifier("mra", tmp_path)
    from transformers import AutoModelForSequenceClassification
    from transformers.models.mra import modeling_mra

    model = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    one, other = torch.arange(6, 70)[None], torch.arange(70, 6, -1)[None]
    one[:, 0] = other[:, 0] = 0
    with torch.inference_mode():
        assert torch.equal(model(one).logits, model(other).logits)  # the reason to refuse it
    monkeypatch.setattr(modeling_mra, "mra_cuda_kernel", object())
    check_kernels(model)


def test_a_failure_of_the_models_own_code_names_the_architecture(tmp_path: Path) -> None:
    model = classifier("bert", tmp_path)
    batch = {"input_ids": torch.full((1, 70), 7)}  # the model has 64 positions
    with pytest.raises(ModelError, match=r"architecture bert cannot be run .* docs/architectures.md .* \w+Error: "):
        model(batch)
    with (
        torch.autocast("cpu", torch.bfloat16),
        pytest.raises(ModelError, match=r"--trainer\.precision 32-true` may do"),
    ):
        model(batch)
    assert model({"input_ids": batch["input_ids"][:, :64]}).shape == (1, 2)


@pytest.mark.parametrize(("axial", "filled"), [(True, 64), (False, 32)])
def test_reformer_batches_are_padded_to_the_length_it_needs(axial: bool, filled: int, tmp_path: Path) -> None:
    """All axial positions must be filled; without them, whole chunks."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    write_tiny("reformer", tmp_path)
    config = AutoConfig.from_pretrained(tmp_path, axial_pos_embds=axial)
    model = AutoModelForSequenceClassification.from_config(config)
    batch = {"input_ids": torch.arange(5, 28)[None], "attention_mask": torch.ones(1, 23, dtype=torch.long)}
    with pytest.raises(ValueError, match="If training"):
        model.train()(**batch)
    given = pad_for_training(model, batch)
    assert given["input_ids"].shape == (1, filled)
    assert given["attention_mask"].sum() == 23
    assert model(**given).logits.isfinite().all()
    assert pad_for_training(model.eval(), batch) is batch


@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "No space left on device"), RunError("ours")])
def test_a_refusal_of_the_system_is_not_blamed_on_the_model(error: Exception, tmp_path: Path) -> None:
    model: Any = classifier("bert", tmp_path).model
    assert explain_model_error(model, error) is None
