"""`TaskSplits`: the same rows and tokens as in a data module, without Lightning and from a checkpoint."""

import subprocess
import sys
from pathlib import Path

import torch
from lightning.pytorch import Trainer

from glue_lit import GLUEDataModule, SequenceClassifier
from glue_lit.data.splits import TaskSplits
from glue_lit.system.library_warnings import filter_warnings


def test_splits_need_no_lightning() -> None:
    code = "import glue_lit.data.splits, sys; sys.exit('lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0


def test_splits_equal_those_of_the_data_module(tiny_model: Path) -> None:
    settings = {"task": "stsb", "tokenizer": str(tiny_model), "source": "demo"}
    settings |= {"train_limit": 9, "both_orders": True, "max_length": 20}
    data, splits = GLUEDataModule(**settings), TaskSplits(settings)  # type: ignore[arg-type]
    ours, theirs = splits.dataset("train"), data.dataset("train")
    assert torch.equal(ours.examples, theirs.examples)
    assert torch.equal(ours.store.input_ids, theirs.store.input_ids)
    assert splits.training_rows == 18
    assert splits.content_hashes() == data.splits.content_hashes()
    assert [len(rows) for rows in splits.evaluation_sampler("train")] == [9]


def test_splits_of_a_checkpoint_are_those_it_was_trained_on(tiny_model: Path, tmp_path: Path) -> None:
    source = tmp_path / "mine.csv"
    source.write_text("\n".join(["text,label", *(f"text {n},{'ab'[n % 2]}" for n in range(20))]))
    custom = {"text": "text"}
    data = GLUEDataModule("mine", str(tiny_model), source=str(source), custom=custom, train_limit=8)  # type: ignore[arg-type]
    model = SequenceClassifier("mine", str(tiny_model), custom=data.custom.settings())
    trainer = Trainer(
        max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0,
    )  # fmt: skip
    filter_warnings()
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "fit.ckpt")
    moved = source.rename(tmp_path / "moved.csv")
    saved = torch.load(tmp_path / "fit.ckpt", weights_only=True)
    splits = TaskSplits.from_checkpoint(saved, source=str(moved), tokenizer="no-such-model")
    assert splits.tokenizer.get_vocab() == data.tokenizer.get_vocab()
    assert splits.task == data.task
    assert splits.dataset("train").examples.tolist() == data.dataset("train").examples.tolist()
    assert splits.content_hashes()["train"] == data.splits.content_hashes()["train"]
