"""A compiled fit: the same training, checkpoints and scores, few compilations, and a clear line where it cannot be."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import glue_lit
from small_fit import CutError, Fit, SaveAndCut
from tiny_architectures import tiny_architecture

from glue_lit import SequenceClassifier
from glue_lit.encoder import compiling
from glue_lit.encoder.compiling import check_can_be_compiled, is_compiled, why_not_here
from glue_lit.errors import ModelError, UsageError
from glue_lit.runs.checkpoints import read_checkpoint
from glue_lit.system.library_warnings import filter_warnings
from glue_lit.training import compilation

SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "lora": {"model": {"peft": {"peft_type": "LORA", "r": 4}}},
    "average, R-Drop": {"model": {"average": 0.9, "r_drop": 1.0}},
    "gradient checkpointing": {"model": {"gradient_checkpointing": True}},
    "bfloat16": {"precision": "bf16-mixed"},
}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A compiler without memory of other tests, which traces the model but makes no code: seconds, not a minute."""
    filter_warnings()
    monkeypatch.setattr(compiling, "BACKEND", "eager")
    why_not_here.cache_clear()
    torch._dynamo.reset()
    yield
    why_not_here.cache_clear()
    torch._dynamo.reset()


def fit(folder: Path, tiny_model: Path, *callbacks: Any, compile: Any, **settings: Any) -> Fit:
    settings = {"max_epochs": 2, "precision": "32-true"} | settings
    model = {"compile": compile, **settings.pop("model", {})}
    return Fit(folder, tiny_model, *callbacks, model=model, **settings)


def farthest(one: Fit, other: Fit) -> float:
    weights = one.model.state_dict(), other.model.state_dict()
    assert weights[0].keys() == weights[1].keys()
    return max(float((value.double() - weights[1][name].double()).abs().max()) for name, value in weights[0].items())


def test_the_same_weights_are_trained_by_code_that_is_compiled_once(tmp_path: Path, tiny_model: Path) -> None:
    """Two epochs have batches of many lengths, and end with a single row."""
    from torch._dynamo.utils import counters

    off = {"model": {"dropout": 0.0}}  # compiled code draws other masks
    plain = fit(tmp_path / "plain", tiny_model, compile="auto", **off).run()
    assert not is_compiled(plain.model.model)
    counters.clear()
    compiled = fit(tmp_path / "compiled", tiny_model, compile=True, **off).run()
    assert is_compiled(compiled.model.model)
    assert not counters["graph_break"]
    assert counters["stats"]["unique_graphs"] == 2  # the model, and the sum that was tried before
    assert farthest(plain, compiled) < 1e-5
    assert compiled.model.scores == pytest.approx(plain.model.scores, abs=1e-5)
    scores = dict(compiled.model.scores)
    best = compiled.best.best_model_path
    assert read_checkpoint(Path(best))["state_dict"].keys() == plain.model.state_dict().keys()
    loaded = SequenceClassifier.load_from_checkpoint(best)
    again = fit(tmp_path / "again", tiny_model, compile=False)
    again.trainer.validate(loaded, again.data, verbose=False)
    assert loaded.scores == scores  # evaluation runs the plain model, so they are equal to the last bit


@pytest.mark.slow  # with machine code a minute each
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_resumed_fit_ends_as_one_that_was_not_cut(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, backend: str, name: str
) -> None:
    """Bit by bit, with dropout, from the middle of an epoch."""
    monkeypatch.setattr(compiling, "BACKEND", backend)
    settings = {"compile": True, **SETTINGS[name]}
    whole = fit(tmp_path / "whole", tiny_model, **settings).run()
    path = tmp_path / "cut.ckpt"
    with pytest.raises(CutError):
        fit(tmp_path / "cut", tiny_model, SaveAndCut("on_train_batch_end", 13, path), **settings).run()
    resumed = fit(tmp_path / "cut", tiny_model, **settings).run(path)
    assert is_compiled(resumed.model.model)
    assert farthest(whole, resumed) == 0
    assert resumed.model.scores == whole.model.scores


def failing(least: int) -> Callable[..., Any]:
    """A backend that fails for graphs of so many operators or more."""

    def backend(graph: Any, inputs: Any) -> Any:
        if sum(node.op.startswith("call") for node in graph.graph.nodes) >= least:
            raise NotImplementedError("no kernels\nfor it")
        return graph.forward

    return backend


def test_auto_trains_the_plain_model_where_compilation_does_not_pay_or_fails(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compilation, "DEVICES", ("cpu",))
    monkeypatch.setattr(compilation, "STEPS_THAT_PAY", 5)
    monkeypatch.setattr(compiling, "BACKEND", failing(5))
    short = fit(tmp_path, tiny_model, compile="auto", max_steps=4).run()
    assert capsys.readouterr().out == ""
    long = fit(tmp_path / "long", tiny_model, compile="auto", max_steps=5).run()
    assert "cannot be compiled, so it is trained as it is. torch said: NotImplementedError: no kernels\n" in (
        capsys.readouterr().out
    )
    assert read_checkpoint(Path(long.best.best_model_path))["glue_lit"]["compiled"] is False
    assert not is_compiled(short.model.model) and not is_compiled(long.model.model)  # noqa: PT018
    plain = fit(tmp_path / "plain", tiny_model, compile=False, max_steps=5).run()
    assert farthest(long, plain) == 0


def test_a_model_that_fails_to_compile_is_named_before_the_first_step(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "BACKEND", failing(5))
    asked = fit(tmp_path, tiny_model, compile=True)
    message = r"^model\.compile: got true, but a model of the architecture bert cannot .*: no kernels\. Leave .* out\.$"
    with pytest.raises(ModelError, match=message):
        asked.run()
    assert asked.trainer.global_step == 0


def test_a_machine_that_cannot_compile_is_refused_before_data_are_read(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compiling, "BACKEND", failing(0))
    words = ["fit", "--data.source", "missing", "--model.name_or_path", str(tiny_model), "--trainer.accelerator", "cpu"]
    assert glue_lit(monkeypatch, *words, "--model.compile", "true") == 1
    errors = capsys.readouterr().err
    assert "model.compile: got true, but torch cannot compile for cpu on this machine" in errors
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())


def test_only_the_three_values_are_allowed() -> None:
    with pytest.raises(UsageError, match=r"^model\.compile: got fast, allowed: auto, true, false, reduce-overhead\.$"):
        SequenceClassifier(compile="fast")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["reformer", "big_bird", "bigbird_pegasus"])
def test_an_architecture_that_is_never_compiled_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match=rf"model\.compile: got true, .* architecture {name} cannot be compiled: its"):
        check_can_be_compiled(tiny_architecture(name))
