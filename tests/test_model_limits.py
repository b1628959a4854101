"""What an architecture cannot do is one message, before a run or in its first batch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_folders import write_tiny

from glue_lit import SequenceClassifier
from glue_lit.errors import ModelError, RunError
from glue_lit.model_limits import check_runs_here, own_failure


def classifier(kind: str, folder: Path) -> SequenceClassifier:
    write_tiny(kind, folder)
    model = SequenceClassifier(task="mrpc", name_or_path=str(folder))
    model.configure_model()
    return model


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
        assert torch.equal(model(one).logits, model(other).logits)  # what we refuse it for
    monkeypatch.setattr(modeling_mra, "mra_cuda_kernel", object())
    check_runs_here(model)


def test_a_failure_of_the_models_own_code_names_the_architecture(tmp_path: Path) -> None:
    """Reformer is trained on inputs of one length alone."""
    model = classifier("reformer", tmp_path)
    batch = {"input_ids": torch.arange(5, 28)[None], "attention_mask": torch.ones(1, 23, dtype=torch.long)}
    with pytest.raises(
        ModelError, match=r"architecture reformer cannot be run .* docs/architectures.md .* ValueError: "
    ):
        model(batch)
    assert model.eval()(batch).shape == (1, 2)


@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "No space left on device"), RunError("ours")])
def test_what_the_system_refuses_is_not_the_models(error: Exception, tmp_path: Path) -> None:
    model: Any = classifier("bert", tmp_path).model
    assert own_failure(model, error) is None
