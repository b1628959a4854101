"""The end of a fit and its message, and early stopping by a flag."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from command_line import glue_lit as command
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping
from small_fit import SEED, Clock, CutError, Fit, SaveAndCut

from glue_lit import LastCheckpoint
from glue_lit.system.library_warnings import filter_warnings
from glue_lit.training.callbacks.early_stopping import EarlyStop, describe_end


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to run in."""
    filter_warnings()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fit(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`glue-lit fit` on the demo corpus: 3 batches an epoch, 2 epochs."""
    values = {
        "data.task": "rte", "data.source": "demo", "model.name_or_path": tiny_model, "data.train_limit": 40,
        "data.validation_limit": 21, "trainer.max_epochs": 2, "trainer.accelerator": "cpu",
        "trainer.precision": "32-true",
    }  # fmt: skip
    flags = [f"--{name}={value}" for name, value in values.items()]
    return lambda *more: command(monkeypatch, "fit", *flags, *more)


RUN = Path("lightning_logs/rte/version_0")


def record() -> dict[str, Any]:
    return dict(json.loads((RUN / "metrics.json").read_text()))


# ---------------------------------------------------------------- the command


def test_a_fit_that_ends_within_an_epoch_has_a_result_and_is_resumed_there(
    fit: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit("--trainer.max_steps=4", "--model.schedule=constant") == 0
    assert "Ended by trainer.max_steps 4, in epoch 2 of 2." in capsys.readouterr().out
    assert (record()["steps"], record()["epochs"]) == (4, 2)
    assert command(monkeypatch, "runs", "--json") == 0
    assert [run["state"] for run in json.loads(capsys.readouterr().out)] == ["finished"]
    before = record()
    # a finished fit stays finished
    assert command(monkeypatch, "fit", "--ckpt_path", "last") == 0
    assert (
        "It has done 4 of at most 4 steps; pass `--trainer.max_steps N` with a larger N to train further."
        in capsys.readouterr().out
    )
    assert {key: record()[key] for key in ("metrics", "best", "epochs", "steps")} == {
        key: before[key] for key in ("metrics", "best", "epochs", "steps")
    }
    assert command(monkeypatch, "fit", "--ckpt_path", "last", "--trainer.max_steps", -1) == 0
    out = capsys.readouterr().out
    assert "It has done" not in out
    assert "Ended after 2 epochs, 6 steps." in out
    assert (record()["steps"], record()["epochs"]) == (6, 2)


def test_without_validation_a_message_says_why_there_is_no_score(fit: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--trainer.limit_val_batches=0", "--trainer.max_epochs=1") == 0
    out = capsys.readouterr().out
    assert "Nothing was validated (trainer.limit_val_batches is 0), so there is no best checkpoint" in out
    assert "Ended after 1 epoch, 3 steps." in out


def test_a_fit_that_trained_nothing_says_so(fit: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--trainer.max_epochs=0") == 0
    out = capsys.readouterr().out
    assert "Nothing was trained, so there is no best checkpoint and no score." in out
    assert "Ended" not in out


def test_early_stopping_by_a_flag(
    fit: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # At this rate nothing changes, so the first validation is the best.
    assert fit("--early_stopping=2", "--model.learning_rate=1e-12", "--trainer.max_epochs=9") == 0
    out = capsys.readouterr().out
    best = record()["metrics"]["val/accuracy"]
    assert f"Ended by early stopping: val/accuracy was not better than {best:.4f} in 2 validations, in epoch 3" in out
    assert (record()["steps"], record()["best"]["epoch"]) == (9, 1)
    assert yaml.safe_load((RUN / "config.yaml").read_text())["early_stopping"] == 2
    assert command(monkeypatch, "fit", "--ckpt_path", "last") == 0
    assert "to train further, pass `--early_stopping N` with a larger N, or null." in capsys.readouterr().out
    assert record()["steps"] == 9
    assert command(monkeypatch, "fit", "--ckpt_path", "last", "--early_stopping", 4) == 0
    assert "in 4 validations, in epoch 5 of 9, after 15 steps." in capsys.readouterr().out
    assert command(monkeypatch, "fit", "--ckpt_path", "last", "--early_stopping", "null") == 0
    assert record()["steps"] == 27
    assert command(monkeypatch, "validate", "--ckpt_path", "best") == 0


def test_early_stopping_follows_the_chosen_value(fit: Any, capsys: pytest.CaptureFixture[str]) -> None:
    rate = "--model.learning_rate=1e-12"
    assert fit("--early_stopping=1", rate, "--trainer.max_epochs=9", "--checkpoint.monitor=val/loss") == 0
    assert "Ended by early stopping: val/loss was not better than 0." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--early_stopping=0"], "early_stopping"),
        (["--early_stopping=1.5"], "early_stopping"),
        (["--early_stopping=val/loss"], "early_stopping"),
        (
            ["--early_stopping=2", "--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/loss"],
            "--early_stopping: got 2, and an EarlyStopping in trainer.callbacks. Leave one of them out.",
        ),
        (
            ["--early_stopping=2", "--trainer.limit_val_batches=0"],
            "--early_stopping: got 2, but with `--trainer.limit_val_batches 0` nothing is validated.",
        ),
    ],
)
def test_wrong_values_of_early_stopping_are_refused(
    fit: Any, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert fit(*flags) == 2
    err = capsys.readouterr().err
    print(err)
    assert message in err
    assert "Traceback" not in err


class AfterTwo(Callback):
    """A callback that ends a fit."""

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        trainer.should_stop = trainer.global_step == 2


@pytest.mark.parametrize(
    ("callback", "line"),
    [
        (
            Clock(13),
            "Ended by its time limit of 0:00:13 (trainer.max_time, over all parts of a resumed fit), in epoch 2 of 3, after 13 steps.",
        ),
        (AfterTwo(), "Ended by a callback, in epoch 1 of 3, after 2 steps."),
        (
            EarlyStopping("val/loss", stopping_threshold=9.0),
            "Ended by EarlyStopping: Stopping threshold reached: val/loss = 0.6",
        ),
        (Callback(), "Ended after 3 epochs, 30 steps."),
    ],
)
def test_the_message_says_what_ended_a_fit(tmp_path: Path, tiny_model: Path, callback: Callback, line: str) -> None:
    assert describe_end(Fit(tmp_path, tiny_model, callback).run().trainer).startswith(line)


# ---------------------------------------------------------------- the callback


def stopping(folder: Path, tiny_model: Path, *callbacks: Callback, patience: int = 2, **settings: Any) -> Fit:
    """A fit at a rate at which the loss goes up and down, with early stopping on it."""
    last = LastCheckpoint()
    last.dirpath = str(folder)
    made = Fit(folder, tiny_model, *callbacks, last, **settings)
    made.trainer.callbacks.insert(0, EarlyStop(patience, made.best))
    return made


def state(fit: Fit) -> dict[str, Any]:
    return {
        key: float(value) if isinstance(value, torch.Tensor) else value
        for callback in fit.trainer.callbacks if isinstance(callback, EarlyStop)
        for key, value in callback.state_dict().items()
    }  # fmt: skip


@pytest.mark.parametrize(
    ("hook", "count", "settings"),
    [
        ("on_validation_end", 2, {}),
        ("on_train_batch_start", 15, {}),
        # resumed at the batch before the validation, which is repeated but not counted twice
        ("on_train_batch_start", 8, {"val_check_interval": 6, "accumulate_grad_batches": 4}),
    ],
)
def test_early_stopping_is_resumed(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, hook: str, count: int, settings: dict[str, Any]
) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", str(SEED))
    settings = settings | {"max_epochs": 9, "model": {"learning_rate": 1e-12}}
    whole = stopping(tmp_path / "whole", tiny_model, **settings).run()
    path = tmp_path / "cut.ckpt"
    first = stopping(tmp_path / "run", tiny_model, SaveAndCut(hook, count, path), **settings)
    with pytest.raises(CutError):
        first.run()
    second = stopping(tmp_path / "run", tiny_model, **settings).run(path)
    assert state(second) == state(whole)
    assert second.trainer.global_step == whole.trainer.global_step
    assert describe_end(second.trainer) == describe_end(whole.trainer)


def test_an_undefined_metric_is_no_improvement(tiny_model: Path, tmp_path: Path) -> None:
    made = stopping(tmp_path, tiny_model)
    early = next(callback for callback in made.trainer.callbacks if isinstance(callback, EarlyStop))
    found = [early._evaluate_stopping_criteria(torch.tensor(value))[0] for value in (float("nan"), 0.5, float("nan"))]
    assert found == [False, False, False]
    assert early.wait_count == 1
