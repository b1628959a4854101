"""Settings that Lightning takes, and then fails, hangs, or trains wrongly with."""

from pathlib import Path
from typing import Any

import pytest
from command_line import glue_lit

from glue_lit.cli.trainer_checks import check_name, check_seed, check_trainer
from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.errors import UsageError
from glue_lit.system.system_errors import explain_system_error, original_error
from glue_lit.training.classifier import SequenceClassifier


@pytest.mark.parametrize("seed", [-1, 2**32, 10**30])
def test_seeds_out_of_range_are_refused(seed: int) -> None:
    with pytest.raises(UsageError, match=f"seed_everything: got {seed}, allowed: 0 to 4294967295"):
        check_seed(seed)


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "\x1b[31mred", "long" * 26])
def test_names_that_no_table_can_show_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"--name: got .*, allowed: 1 to 100 printable characters"):
        check_name(name)


@pytest.mark.parametrize("seed", [0, 2**32 - 1, True, False, None])
def test_seeds_within_range_are_accepted(seed: Any) -> None:
    check_seed(seed)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"accumulate_grad_batches": 0}, "accumulate_grad_batches: got 0, allowed: 1 to"),
        ({"accumulate_grad_batches": -1}, "accumulate_grad_batches: got -1"),
        ({"accumulate_grad_batches": 10**20}, "accumulate_grad_batches: got 100000000000000000000"),
        ({"check_val_every_n_epoch": 0}, "check_val_every_n_epoch: got 0, allowed: 1 to"),
        ({"gradient_clip_val": -1.0}, "gradient_clip_val: got -1.0, allowed: 0 to"),  # would set all gradients to -1
        ({"val_check_interval": 0}, "val_check_interval: got 0, allowed"),
        ({"val_check_interval": 0.0}, "val_check_interval: got 0, allowed"),
        ({"max_epochs": -1}, "max_epochs: got -1"),
        ({"max_steps": 0}, "max_steps: got 0, which trains nothing"),
        ({"max_time": "5"}, "max_time: got '5', allowed: days:hours:minutes:seconds"),
        ({"overfit_batches": 10}, "overfit_batches: got 10, .*`--data.train_limit N`"),
        ({"overfit_batches": 0.1}, "overfit_batches: got 0.1"),
        ({"max_epochs": -1, "max_steps": -1}, "max_epochs: got -1"),
        ({"strategy": "ddp_spawn"}, "strategy: got ddp_spawn.*`--trainer.strategy ddp`"),
        ({"strategy": "ddp_notebook"}, "strategy: got ddp_notebook"),  # said nothing was validated
        ({"strategy": "ddp_fork_find_unused_parameters_true"}, "strategy: got ddp_fork_find_unused_parameters_true"),
        ({"accelerator": "cpu", "devices": "5000"}, "devices: got 5000, allowed on this machine's CPU: 1 to"),
    ],
)
def test_trainer_settings_that_cannot_train_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"trainer.*{message}"):
        check_trainer(values, is_fit=True)


@pytest.mark.parametrize(
    "values",
    [
        {"max_epochs": -1, "max_steps": 10, "max_time": "00:02:00:00"}, {"val_check_interval": 0.5, "gradient_clip_val": 0}, {"devices": "auto"},
        {"check_val_every_n_epoch": None, "strategy": "ddp", "devices": 2, "accelerator": "cpu"},
    ],
)  # fmt: skip
def test_trainer_settings_that_can_train_are_accepted(values: dict[str, Any]) -> None:
    check_trainer(values, is_fit=True)


def test_a_gpu_that_pytorch_does_not_see_is_refused_with_what_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("CUDAAccelerator", "MPSAccelerator"):
        monkeypatch.setattr(f"glue_lit.cli.trainer_checks.{kind}.is_available", lambda: False)
    for is_fit in (True, False):
        with pytest.raises(UsageError, match=r"trainer\.accelerator: got gpu, .*Allowed here: auto, cpu"):
            check_trainer({"accelerator": "gpu", "devices": 4}, is_fit)


def test_an_evaluation_ignores_settings_of_training() -> None:
    check_trainer({"max_epochs": -1, "accumulate_grad_batches": 0}, is_fit=False)


@pytest.mark.parametrize(
    ("flag", "value"),
    [("adam_beta1", 1.0), ("adam_beta2", -0.1), ("adam_eps", -1.0), ("adam_eps", 0.0), ("adam_eps", float("inf"))],
)
def test_values_that_adamw_refuses_are_one_message(flag: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"model.{flag}: got {value}, allowed: "):
        SequenceClassifier(**{flag: value})


@pytest.mark.parametrize(
    ("flag", "value", "allowed"), [("batch_size", 10**20, "1 to 2147483647"), ("num_workers", 100_000, "0 to ")]
)
def test_values_that_a_loader_refuses_are_one_message(flag: str, value: int, allowed: str) -> None:
    with pytest.raises(UsageError, match=f"data.{flag}: got {value}, allowed: {allowed}"):
        GLUEDataModule(**{flag: value})


def test_a_name_that_is_too_long_for_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long") as caught:
        (tmp_path / ("x" * 5000)).exists()
    said = explain_system_error(caught.value)
    assert said is not None
    assert "(File name too long). Use a shorter name" in said
    assert len(said) < 700


def test_an_error_while_cleaning_up_does_not_hide_the_first() -> None:
    later, first = RuntimeError("Please call `iter(combined_loader)` first."), OverflowError("too big")
    assert original_error(later) is later
    later.__context__ = first
    assert original_error(later) is first
    other = ValueError("x")
    other.__context__ = first
    assert original_error(other) is other


@pytest.mark.parametrize(
    "flag", ["--trainer.limit_val_batches=0.0001", "--trainer.accelerator=tpu", "--seed_everything=-1"]
)
def test_the_command_prints_one_line(
    flag: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fit = ("--data.task=cola", "--data.source=demo", "--data.train_limit=8", "--data.validation_limit=6",
           f"--model.name_or_path={tiny_model}", "--trainer.max_epochs=1", "--trainer.accelerator=cpu")  # fmt: skip
    assert glue_lit(monkeypatch, "fit", *fit, flag) == 2
    said = capsys.readouterr().err
    assert said.count("glue-lit: error: ") == 1
    assert "GLUE_LIT_DEBUG" not in said
