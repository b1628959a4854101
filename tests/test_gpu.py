"""What a simulated accelerator cannot prove: kernels, streams, the compiler. `make gpu` runs it on a machine with a GPU.

The bodies also run on a processor, for as far as they go there: ``GPU_TESTS_ON=cpu`` in place of ``cuda``.
"""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from command_line import glue_lit
from lightning.pytorch import Callback, Trainer
from small_fit import SEED, CutError, History, SaveAndCut
from tiny_architectures import tiny_folder

from glue_lit import BestCheckpoint, GLUEDataModule, SequenceClassifier
from glue_lit.data.rows import Rows
from glue_lit.outputs.predictor import Predictor
from glue_lit.system.library_warnings import filter_warnings

DEVICE = os.environ.get("GPU_TESTS_ON", "cuda")
ON_GPU = DEVICE == "cuda"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(ON_GPU and not torch.cuda.is_available(), reason="there is no GPU"),
]
TEXTS = ["a fine room", "the key that opens the old door", "no"]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    filter_warnings()
    yield
    torch.use_deterministic_algorithms(False)
    if ON_GPU:
        torch.cuda.set_sync_debug_mode("default")


class Fit:
    """A fit of three epochs of ten steps on a GPU."""

    def __init__(self, folder: Path, encoder: Path, *callbacks: Callback, **settings: Any) -> None:
        self.data = GLUEDataModule(
            "cola", str(encoder), source="demo", batch_size=4, train_limit=37, validation_limit=13, eval_batch_size=4,
            **settings.pop("data", {}),
        )  # fmt: skip
        recipe = {"learning_rate": 1e-3, "warmup": 0.2} | dict(settings.pop("model", {}))
        self.model = SequenceClassifier("cola", str(encoder), **recipe)
        self.history, self.best = History(), BestCheckpoint("val/loss")
        self.best.dirpath = str(folder)
        options: dict[str, Any] = {"max_epochs": 3, "precision": "32-true", "log_every_n_steps": 5} | settings
        self.trainer = Trainer(
            accelerator="gpu" if ON_GPU else "cpu", devices=1, logger=self.history, callbacks=[self.best, *callbacks],
            num_sanity_val_steps=0, enable_progress_bar=False, enable_model_summary=False, **options,
        )  # fmt: skip

    def run(self, checkpoint: Path | None = None) -> "Fit":
        torch.manual_seed(SEED)
        self.trainer.fit(self.model, self.data, ckpt_path=checkpoint, weights_only=True)
        return self

    @property
    def losses(self) -> list[float]:
        return [value for _, name, value in self.history.points if name.startswith("train/loss")]


def farthest(one: Fit, other: Fit) -> float:
    theirs = {name: value.cpu().double() for name, value in other.model.state_dict().items()}
    return max(
        float((value.cpu().double() - theirs[name]).abs().max()) for name, value in one.model.state_dict().items()
    )


# float16's scaler skips its first steps, whose scale is too large
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_a_fit_learns_and_is_resumed_exactly(tmp_path: Path, tiny_model: Path, precision: Any) -> None:
    """With dropout, and the attention kernels that torch chooses."""
    if precision == "16-mixed" and not ON_GPU:
        pytest.skip("a processor does not scale losses")
    whole = Fit(tmp_path / "whole", tiny_model, precision=precision).run()
    assert next(whole.model.model.parameters()).isfinite().all()
    assert whole.losses[-1] < whole.losses[0]
    path = tmp_path / "cut.ckpt"
    with pytest.raises(CutError):
        Fit(tmp_path / "cut", tiny_model, SaveAndCut("on_train_batch_end", 13, path), precision=precision).run()
    resumed = Fit(tmp_path / "cut", tiny_model, precision=precision).run(path)
    assert farthest(whole, resumed) == 0


def test_long_texts_are_resumed_exactly_where_that_is_asked_for(tmp_path: Path, tiny_model: Path) -> None:
    """Attention splits more than 64 keys into parts, whose gradients it adds up in any order."""
    folder = tiny_folder("bert", tmp_path / "model", tiny_model, hidden_size=64, max_position_embeddings=512)
    long: dict[str, Any] = {"precision": "bf16-mixed", "deterministic": True, "data": {"pad_to_multiple_of": 512}}
    whole = Fit(tmp_path / "whole", folder, **long).run()
    path = tmp_path / "cut.ckpt"
    with pytest.raises(CutError):
        Fit(tmp_path / "cut", folder, SaveAndCut("on_train_batch_end", 13, path), **long).run()
    assert farthest(whole, Fit(tmp_path / "cut", folder, **long).run(path)) == 0


def test_a_fit_without_dropout_ends_as_on_a_processor(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    still = {"dropout": 0.0, "adam_eps": 1e-6}
    there = Fit(tmp_path / "there", tiny_model, model=still).run()
    monkeypatch.setitem(globals(), "ON_GPU", False)
    here = Fit(tmp_path / "here", tiny_model, model=still).run()
    assert farthest(there, here) < 1e-4
    assert there.model.scores == pytest.approx(here.model.scores, abs=1e-3)


def test_predictions_and_an_export_agree_with_a_processor(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    best = Fit(tmp_path, tiny_model, max_epochs=1).run().best.best_model_path
    rows = [(Rows(TEXTS, None, [None] * 3), None)]
    there, _ = next(Predictor(Path(best)).logits(rows))
    assert glue_lit(monkeypatch, "export", f"--ckpt_path={best}", f"--output={tmp_path / 'exported'}") == 0
    exported = AutoModelForSequenceClassification.from_pretrained(tmp_path / "exported").eval()
    batch = AutoTokenizer.from_pretrained(tmp_path / "exported")(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        assert (exported(**batch).logits - there.cpu()).abs().max() < 1e-3


class NoWaits(Callback):
    """Makes CUDA refuse to wait from the third step of an epoch to its points, and in each validation batch."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if ON_GPU:  # the curves get a point, which is read, after the fifth and the tenth step
            torch.cuda.set_sync_debug_mode("error" if batch_idx in (2, 3, 6, 7) else "default")

    def on_validation_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if ON_GPU:
            torch.cuda.set_sync_debug_mode("error")

    def on_validation_batch_end(self, *_: Any) -> None:
        if ON_GPU:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_no_step_waits_for_the_gpu_between_points(tmp_path: Path, tiny_model: Path, precision: Any) -> None:
    """Batches are copied from pinned memory, or this would raise."""
    fit = Fit(tmp_path, tiny_model, NoWaits(), precision=precision).run()
    assert fit.trainer.global_step == 30


PADDING_FREE = {"padding_free": True, "group_by_length": False}
WINDOWS = {"windows": {"length": 16, "stride": 4}}


@pytest.mark.parametrize("options", [{}, {"pad_to_multiple_of": 8}, PADDING_FREE, WINDOWS], ids=str)
def test_the_gpu_cuts_the_batches_of_the_processor_without_a_wait(tiny_model: Path, options: dict[str, Any]) -> None:
    found = []
    for setting in ("auto", False):
        data: Any = GLUEDataModule("cola", str(tiny_model), source="demo", tokens_on_device=setting, **options)
        strategy = SimpleNamespace(root_device=torch.device(DEVICE))
        data.trainer = SimpleNamespace(strategy=strategy, global_rank=0, world_size=1)
        data.setup("fit")
        loaders = [data.train_dataloader(), *data.val_dataloader()]
        if ON_GPU:
            torch.cuda.set_sync_debug_mode("error")
        found.append([batch for loader in loaders for batch in loader])
        if ON_GPU:
            torch.cuda.set_sync_debug_mode("default")
    assert {value.device.type for batch in found[0] for value in batch.values()} == {DEVICE}
    for one, other in zip(*found, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert value.dtype == other[name].dtype
            assert value.cpu().equal(other[name]), name


def test_a_fit_whose_batches_are_sent_is_the_same_to_the_bit(tmp_path: Path, tiny_model: Path) -> None:
    cut_there = Fit(tmp_path / "there", tiny_model).run()
    sent = Fit(tmp_path / "sent", tiny_model, data={"tokens_on_device": False}).run()
    assert farthest(cut_there, sent) == 0


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_compiled_fit_learns_and_is_resumed_exactly(tmp_path: Path, tiny_model: Path, precision: Any) -> None:
    compiled = {"model": {"compile": True}, "precision": precision}
    whole = Fit(tmp_path / "whole", tiny_model, **compiled).run()
    assert whole.losses[-1] < whole.losses[0]
    path = tmp_path / "cut.ckpt"
    with pytest.raises(CutError):
        Fit(tmp_path / "cut", tiny_model, SaveAndCut("on_train_batch_end", 13, path), **compiled).run()
    resumed = Fit(tmp_path / "cut", tiny_model, **compiled).run(path)
    assert farthest(whole, resumed) == 0


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_fit_by_cuda_graphs_learns_and_is_resumed_exactly(
    tmp_path: Path, tiny_model: Path, precision: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not ON_GPU:  # compiled, without graphs
        monkeypatch.setattr("glue_lit.training.cuda_graphs.RECORDING", ("cpu",))
    graphs: dict[str, Any] = {"model": {"compile": "reduce-overhead"}, "data": {"length_buckets": 3}}
    whole = Fit(tmp_path / "whole", tiny_model, precision=precision, **graphs).run()
    assert whole.losses[-1] < whole.losses[0]
    path = tmp_path / "cut.ckpt"
    with pytest.raises(CutError):
        Fit(
            tmp_path / "cut", tiny_model, SaveAndCut("on_train_batch_end", 13, path), precision=precision, **graphs
        ).run()
    resumed = Fit(tmp_path / "cut", tiny_model, precision=precision, **graphs).run(path)
    assert farthest(whole, resumed) == 0


@pytest.mark.parametrize("attention", [None, "flash_attention_2"])
def test_a_batch_without_padding_gives_the_logits_of_a_padded_one(
    tmp_path: Path, tiny_model: Path, attention: str | None
) -> None:
    if attention and (not ON_GPU or find_spec("flash_attn") is None):
        pytest.skip("FlashAttention needs a GPU and the package flash-attn")
    folder = tiny_folder("roberta", tmp_path / "model", tiny_model, hidden_size=64)
    found = []
    for padding_free in (False, True):
        data = GLUEDataModule("cola", str(folder), source="demo", padding_free=padding_free, train_limit=16)
        model = SequenceClassifier("cola", str(folder), attention=attention)
        torch.manual_seed(SEED)  # of the head
        model.build_model()
        model.to(DEVICE, torch.bfloat16 if attention else torch.float32).eval()
        batch: Any = data.dataset("train")[list(range(16))]
        with torch.inference_mode():
            found.append(model({name: value.to(DEVICE) for name, value in batch.items()}))
    assert (found[0] - found[1]).abs().max() < (2e-2 if attention else 1e-4)


@pytest.mark.skipif(find_spec("flash_attn") is None, reason="the package flash-attn is not installed")
def test_flash_attention_gives_the_logits_of_sdpa(tmp_path: Path, tiny_model: Path) -> None:
    folder = tiny_folder("modernbert", tmp_path / "model", tiny_model, hidden_size=64)
    batch = {"input_ids": torch.arange(3, 27).view(2, 12), "attention_mask": torch.ones(2, 12, dtype=torch.int64)}
    batch["attention_mask"][1, 8:] = 0
    found = []
    for attention in ("sdpa", "flash_attention_2"):
        model = SequenceClassifier("cola", str(folder), attention=attention)
        torch.manual_seed(SEED)  # of the head
        model.build_model()
        model.to(DEVICE, torch.bfloat16).eval()
        with torch.inference_mode():
            found.append(model({name: value.to(DEVICE) for name, value in batch.items()}))
    assert (found[0] - found[1]).abs().max() < 2e-2
