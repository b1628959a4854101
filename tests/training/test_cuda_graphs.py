"""CUDA graphs: batches of a few shapes train the same weights, and settings that do not allow graphs are refused.

A processor records no graphs: `torch.compile` only traces the model here.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import glue_lit
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from small_fit import CutError, Fit, SaveAndCut
from tiny_architectures import tiny_folder

from glue_lit import GLUEDataModule
from glue_lit.encoder import compiling
from glue_lit.encoder.compiling import is_compiled, why_not_here
from glue_lit.errors import UsageError
from glue_lit.system.library_warnings import filter_warnings
from glue_lit.training import cuda_graphs

GRAPHS = {"compile": "reduce-overhead"}
BUCKETS = {"length_buckets": 3}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A compiler without memory of other tests, which traces the model but makes no code."""
    filter_warnings()
    monkeypatch.setattr(compiling, "BACKEND", "eager")
    why_not_here.cache_clear()
    torch._dynamo.reset()
    yield
    why_not_here.cache_clear()
    torch._dynamo.reset()


class Shapes(Callback):
    """Notes the shape of each training batch, and whether the model ran compiled."""

    def __init__(self) -> None:
        self.found: list[tuple[int, int]] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.found.append(tuple(batch["input_ids"].shape))


def fit(folder: Path, tiny_model: Path, *callbacks: Callback, data: Any = None, model: Any = None, **more: Any) -> Fit:
    return Fit(
        folder, tiny_model, *callbacks, data=dict(data or {}), model=dict(model or {}), max_epochs=2,
        precision="32-true", **more,
    )  # fmt: skip


def farthest(one: Fit, other: Fit) -> float:
    weights = one.model.state_dict(), other.model.state_dict()
    return max(float((value.double() - weights[1][name].double()).abs().max()) for name, value in weights[0].items())


def test_weights_and_scores_are_those_without_buckets_and_graphs(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole batches run compiled, in few shapes and one compilation; the last one of an epoch runs plain."""
    from torch._dynamo.utils import counters

    monkeypatch.setattr(cuda_graphs, "RECORDING", ("cpu",))
    marks: list[int] = []
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: marks.append(1))
    still = {"dropout": 0.0, "adam_eps": 1e-6}
    plain = fit(tmp_path / "plain", tiny_model, model=still).run()
    counters.clear()
    shapes = Shapes()
    graphs = fit(tmp_path / "graphs", tiny_model, shapes, data=BUCKETS, model=still | GRAPHS).run()
    assert is_compiled(graphs.model.model)
    assert counters["stats"]["unique_graphs"] == 2  # the model, and the sum that was tried before
    assert farthest(plain, graphs) < 1e-6
    assert graphs.model.scores == pytest.approx(plain.model.scores, abs=1e-6)
    assert len(shapes.found) == 20
    assert [rows for rows, _ in shapes.found] == [4] * 9 + [1] + [4] * 9 + [1]
    assert len({length for _, length in shapes.found}) <= 3
    assert len(marks) == 18 + 1  # and the batch before the first step


def test_a_resumed_fit_ends_as_one_that_was_not_cut(tmp_path: Path, tiny_model: Path) -> None:
    """With buckets, bit by bit, with dropout, from the middle of an epoch."""
    whole = fit(tmp_path / "whole", tiny_model, data=BUCKETS).run()
    path = tmp_path / "cut.ckpt"
    with pytest.raises(CutError):
        fit(tmp_path / "cut", tiny_model, SaveAndCut("on_train_batch_end", 13, path), data=BUCKETS).run()
    resumed = fit(tmp_path / "cut", tiny_model, data=BUCKETS).run(path)
    assert farthest(whole, resumed) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": {}}, r"^model\.compile: got reduce-overhead, which records CUDA graphs, one for each length of a ba"),
        ({"data": BUCKETS | {"tokens_per_batch": 64}}, r"^data\.tokens_per_batch: got 64, which gives batches of any"),
        ({"accumulate_grad_batches": 2}, r"the gradients of a batch are overwritten by those of the next, and trainer"),
        ({"callbacks": [GradientAccumulationScheduler({0: 2})]}, r"Leave it out with a larger `--data\.batch_size`"),
        ({"model": GRAPHS | {"split_batches": True}}, r"^model\.split_batches: got true, allowed with model\.compile "),
    ],
)
def test_settings_that_do_not_allow_graphs_are_refused(
    settings: dict[str, Any], message: str, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_graphs, "RECORDING", ("cpu",))
    settings = {"data": BUCKETS, "model": GRAPHS} | settings
    with pytest.raises(UsageError, match=message):
        fit(tmp_path, tiny_model, *settings.pop("callbacks", []), **settings).run()


def test_a_model_whose_logits_depend_on_padding_is_refused_before_data_are_read(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cuda_graphs, "RECORDING", ("cpu",))
    folder = tiny_folder("fnet", tmp_path / "model", tiny_model)
    words = ["fit", "--data.source", "missing", "--model.name_or_path", str(folder), "--trainer.accelerator", "cpu"]
    words += ["--model.compile", "reduce-overhead", "--data.length_buckets", "8"]
    assert glue_lit(monkeypatch, *words) == 1
    assert "and the logits of a model of the architecture fnet depend on padding. Pass" in capsys.readouterr().err
    data = GLUEDataModule("cola", str(folder), source="demo", train_limit=20, length_buckets=2)
    assert data.training_set(None).batch_lengths is None


def test_several_devices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Two:
        world_size = 2
        strategy: Any = type("Strategy", (), {"root_device": torch.device("cuda")})

    with pytest.raises(UsageError, match=r"trainer\.devices makes 2, whose gradients .* Pass `--trainer\.devices 1`"):
        cuda_graphs.check_graphs(Two(), GRAPHS, BUCKETS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            [],
            "got reduce-overhead, which records CUDA graphs and needs a GPU; this is computed on cpu. Allowed here: au",
        ),
        (
            ["--data.padding_free", "true"],
            "model.compile: got reduce-overhead, allowed with data.padding_free true: au",
        ),
    ],
)
def test_refused_before_data_are_read(
    words: list[str], message: str, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    fixed = ["fit", "--data.source", "missing", "--model.name_or_path", str(tiny_model), "--trainer.accelerator", "cpu"]
    assert glue_lit(monkeypatch, *fixed, "--model.compile", "reduce-overhead", *words) in (1, 2)
    errors = capsys.readouterr().err
    assert message in errors
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())


def test_a_fit_says_what_the_padding_costs(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["fit", "--data.source", "demo", "--model.name_or_path", str(tiny_model), "--trainer.accelerator", "cpu"]
    words += ["--data.length_buckets", "2", "--trainer.max_epochs", "1", "--data.train_limit", "64"]
    assert glue_lit(monkeypatch, *words, "--trainer.limit_val_batches", "1") == 0
    said = capsys.readouterr().out
    line = next(line for line in said.splitlines() if line.startswith("Batches are padded to lengths of "))
    after, before = (float(part.split("%")[0].split()[-1]) for part in line.split(" padding in place of "))
    assert after > before
    record = json.loads(next(tmp_path.rglob("metrics.json")).read_text())
    assert 100 * record["train_padding"] == pytest.approx(after, abs=0.05)
