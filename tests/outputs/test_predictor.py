"""Texts through a checkpoint without a trainer: shapes that come again and again."""

import json
from pathlib import Path

import pytest
import torch
from command_line import glue_lit

from glue_lit.data.rows import Rows
from glue_lit.errors import RunError
from glue_lit.outputs.predictor import Predictor, _rounded_size
from glue_lit.training.classifier import SequenceClassifier


@pytest.mark.parametrize(
    ("rows", "most", "size"),
    [(1, 900, 1), (2, 900, 2), (3, 900, 3), (5, 900, 6), (7, 900, 8), (9, 900, 12), (13, 900, 16), (700, 900, 768),
     (800, 900, 900), (900, 900, 900), (5, 0, 5)],
)  # fmt: skip
def test_batch_sizes_come_from_a_small_set(rows: int, most: int, size: int) -> None:
    assert _rounded_size(rows, most) == size


def test_chunks_of_all_sizes_use_few_shapes_and_give_the_same_logits(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # for each shape oneDNN keeps code for ever: ten million rows took gigabytes
    monkeypatch.chdir(tmp_path)
    fit = ("--data.task=sst2", "--data.source=demo", f"--model.name_or_path={tiny_model}", "--data.train_limit=32")
    assert glue_lit(monkeypatch, "fit", *fit, "--trainer.max_epochs=1", "--trainer.accelerator=cpu") == 0
    predictor = Predictor(next(tmp_path.rglob("best.ckpt")), precision="32-true")
    shapes = set()
    forward = predictor._of_batch

    def watched(replica: object, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        shapes.add(batch["input_ids"].shape)
        return forward(replica, batch)

    monkeypatch.setattr(predictor, "_of_batch", watched)
    texts = [f"a room {number:03}" for number in range(300)]
    whole, _ = next(predictor.logits([(Rows(texts, None, [None] * 300), None)]))
    shapes.clear()
    for size in range(100, 300):
        found, _ = next(predictor.logits([(Rows(texts[:size], None, [None] * size), None)]))
        assert torch.allclose(found, whole[:size], atol=1e-5)
    assert len(shapes) < 10
    saved = torch.load(next(tmp_path.rglob("best.ckpt")), weights_only=True)
    saved["hyper_parameters"]["attention"] = "flash_attention_2"  # trained on a GPU, which this machine does not have
    torch.save(saved, "gpu.ckpt")
    found, _ = next(Predictor(Path("gpu.ckpt"), precision="32-true").logits([(Rows(texts, None, [None] * 300), None)]))
    assert torch.allclose(found, whole, atol=1e-5)
    assert glue_lit(monkeypatch, "export", "--ckpt_path=gpu.ckpt", "--output=exported") == 0


def test_a_checkpoint_cannot_allow_its_own_code(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether code may be run is the user's word: a stranger's file would say yes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    fit = ("--data.task=sst2", "--data.source=demo", f"--model.name_or_path={tiny_model}", "--data.train_limit=32")
    assert glue_lit(monkeypatch, "fit", *fit, "--trainer.max_epochs=1", "--trainer.accelerator=cpu") == 0
    saved = torch.load(next(tmp_path.rglob("best.ckpt")), weights_only=True)
    code = tmp_path / "stranger"
    code.mkdir()
    (code / "modeling_stranger.py").write_text(
        "from transformers import BertForSequenceClassification\n"
        f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
        "class Model(BertForSequenceClassification):\n    pass\n"
    )
    own = saved["hyper_parameters"]
    automatic = {"AutoModelForSequenceClassification": f"{code}--modeling_stranger.Model"}
    own["architecture"] = json.dumps(json.loads(own["architecture"]) | {"auto_map": automatic})
    own["trust_remote_code"] = True
    torch.save(saved, "stranger.ckpt")
    rows = [(Rows(["a fine room"], None, [None]), None)]
    expected, _ = next(Predictor(Path("stranger.ckpt")).logits(rows))
    SequenceClassifier.load_from_checkpoint("stranger.ckpt", weights_only=True)
    assert glue_lit(monkeypatch, "predict", "--text=fine", "--ckpt_path=stranger.ckpt") == 0
    assert glue_lit(monkeypatch, "export", "--ckpt_path=stranger.ckpt", "--output=exported") == 0
    assert not (tmp_path / "ran").exists()
    trusted, _ = next(Predictor(Path("stranger.ckpt"), trust_remote_code=True).logits(rows))
    assert (tmp_path / "ran").exists()  # so the test would see it
    assert torch.allclose(trusted, expected, atol=1e-6)

    own["_instantiator"] = "os.system"
    torch.save(saved, "stranger.ckpt")
    with pytest.raises(RunError, match="it names a function to create its model"):
        Predictor(Path("stranger.ckpt"))
