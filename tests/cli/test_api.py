"""`glue_lit.fit` and `glue_lit.tune` from a script or a notebook."""

import json
import logging
import os
import re
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import warm
from command_line import glue_lit as command

import glue_lit
from glue_lit import SequenceClassifier
from glue_lit.errors import GlueLitError, RunError, UsageError

SETTINGS = {
    "model.learning_rate": 1e-3, "data.train_limit": 40, "data.validation_limit": 21, "trainer.max_epochs": 1,
    "trainer.accelerator": "cpu", "trainer.precision": "32-true", "trainer.enable_progress_bar": False,
}  # fmt: skip


@pytest.fixture(autouse=True)
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory, and the command line of a notebook's kernel."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "kernel.json", "--trainer.max_epochs=7"])
    return tmp_path


def fit(model: Path, **more: Any) -> glue_lit.FitResult:
    return glue_lit.fit("rte", model, source="demo", **{"settings": SETTINGS, **more})


def test_a_fit_in_python_is_that_of_the_command(
    tiny_model: Path, notebook: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = fit(tiny_model)
    printed = capsys.readouterr().out
    assert "rte: best checkpoint" in printed
    assert sys.argv[0] == "ipykernel_launcher.py"
    assert result.run == notebook / "lightning_logs/rte/version_0"
    assert result.checkpoint == result.run / "checkpoints/best.ckpt"
    assert result.ended == "Ended after 1 epoch, 3 steps."
    assert result.epoch == 1
    low, high = result.intervals["val/accuracy"]
    assert low <= result.metrics["val/accuracy"] <= high
    record = json.loads((result.run / "metrics.json").read_text())
    assert record["metrics"] == result.metrics
    assert result.record["config"] == record["config"]
    assert printed.strip() in (result.run / "log.txt").read_text()
    assert glue_lit.Predictor(result.checkpoint).task.name == "rte"

    flags = [f"--{name}={value}" for name, value in SETTINGS.items()]
    flags += ["--data.task=rte", "--data.source=demo", f"--model.name_or_path={tiny_model}"]
    assert command(monkeypatch, "fit", *flags) == 0
    other = json.loads((notebook / "lightning_logs/rte/version_1/metrics.json").read_text())
    assert other["metrics"] == result.metrics
    assert other["config"] == record["config"]


def test_a_run_is_resumed(tiny_model: Path) -> None:
    first = fit(tiny_model)
    assert first.run is not None
    again = glue_lit.fit(resume=first.run, settings={"trainer.max_epochs": 2})
    assert again.run == first.run
    assert again.record["epochs"] == 2
    over = glue_lit.fit(resume=first.run)
    assert over.ended == ""
    assert over.metrics == again.metrics


def test_settings_win_over_files_and_hold_values_of_python(tiny_model: Path, notebook: Path) -> None:
    (notebook / "own.csv").write_text("sentence,kind\n" + "A cat sat.,no\nA dog ran.,yes\n" * 10)
    (notebook / "recipe.yaml").write_text("data:\n  batch_size: 4\n  eval_batch_size: 3\n")
    result = glue_lit.fit(
        "pets", tiny_model, source=Path("own.csv"), config="recipe.yaml",
        settings={"data.custom.text": ("sentence",), "data.custom.label": "kind", "data.custom.labels": ["no", "yes"],
                  "data.eval_batch_size": None, "trainer.max_steps": 1, "trainer.accelerator": "cpu"},
    )  # fmt: skip
    config = result.record["config"]
    assert (config["data"]["batch_size"], config["data"]["eval_batch_size"]) == (4, None)
    assert config["data"]["custom"]["labels"] == ["no", "yes"]


def test_errors_are_those_of_the_command(tiny_model: Path) -> None:
    with pytest.raises(UsageError, match=re.escape("--model.learning_rat: there is no such flag. Did you mean")):
        fit(tiny_model, settings={"model.learning_rat": 1})
    with pytest.raises(GlueLitError, match=re.escape("there is no file 'none.yaml'")):
        fit(tiny_model, config=["none.yaml"])
    with pytest.raises(RunError, match="no-run"):
        glue_lit.fit(resume="no-run")


def test_a_program_keeps_its_own_warnings(tiny_model: Path) -> None:
    before = warnings.formatwarning, list(warnings.filters), logging.getLogger("lightning.pytorch").level
    with pytest.raises(UsageError):
        fit(tiny_model, settings={"trainer.max_steps": 0})
    assert (warnings.formatwarning, list(warnings.filters), logging.getLogger("lightning.pytorch").level) == before


def test_an_interrupted_fit_can_be_resumed(
    tiny_model: Path, notebook: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = SequenceClassifier.training_step

    def interrupted(self: SequenceClassifier, *batch: Any) -> Any:
        if self.global_step == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(SequenceClassifier, "training_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit(tiny_model)
    assert "Stopped by Ctrl-C." in capsys.readouterr().out
    assert glue_lit.fit(resume=notebook / "lightning_logs/rte/version_0").metrics == fit(tiny_model).metrics


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trials": 0}, "--tune.trials: got 0, allowed: 1 or more."),
        ({"settings": {"trainer.max_epochs": 3}}, "--trainer.max_epochs contradicts tune.space (its default)"),
        ({"settings": {"engine.slot": 3}}, "--engine.slot: there is no such flag. Did you mean '--engine.slots'?"),
    ],
)
def test_errors_of_a_search_are_those_of_the_command(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}"):
        glue_lit.tune("rte", **arguments)


def test_the_names_of_a_search_need_no_optuna() -> None:
    code = "import sys; sys.modules['optuna'] = None; from glue_lit import *; print(tune, TuneResult)"
    assert "TuneResult" in warm.run("-c", code).stdout
