"""Progress of a fit: lines without a terminal, a bar with the time left on one."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
from command_line import glue_lit
from lightning.pytorch.callbacks import Timer

from glue_lit.training.callbacks import progress
from glue_lit.training.callbacks.progress import FitClock, ProgressLines

LINE = re.compile(r"epoch (\d)/2  step (\d+) of 12  train/loss (\d\.\d{4})  ([\d,]+) samples/s(?:  (.*) left)?")


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def arguments(tiny_model: Path, *more: str) -> list[str]:
    return [
        "fit", "--data.source=demo", f"--model.name_or_path={tiny_model}", "--trainer.accelerator=cpu",
        "--trainer.precision=32-true", "--trainer.max_epochs=2", "--data.train_limit=24", "--data.validation_limit=9",
        "--data.batch_size=4", "--data.eval_batch_size=4", *more,
    ]  # fmt: skip


def test_lines_within_an_epoch(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    losses: list[float] = []
    plain = ProgressLines.on_train_batch_end

    def noted(self: ProgressLines, trainer: Any, pl_module: Any, *rest: Any) -> None:
        losses.append(float(pl_module.parts.curves.last_loss))
        plain(self, trainer, pl_module, *rest)

    monkeypatch.setattr(ProgressLines, "on_train_batch_end", noted)
    assert glue_lit(monkeypatch, *arguments(tiny_model)) == 0
    assert "samples/s  " not in capsys.readouterr().out  # over in less than 30 s
    losses.clear()
    monkeypatch.setattr(ProgressLines.__init__, "__defaults__", (0.0,))
    assert glue_lit(monkeypatch, *arguments(tiny_model)) == 0
    out = capsys.readouterr().out
    found = [match for line in out.splitlines() if (match := LINE.fullmatch(line))]
    assert [int(match[2]) for match in found] == list(range(1, 13))
    assert [int(match[1]) for match in found] == [1] * 6 + [2] * 6
    assert [match[3] for match in found] == [f"{loss:.4f}" for loss in losses]
    assert found[0][5] is None  # unknown after one step
    assert found[-1][5] is not None
    assert "epoch 1/2  step 6 of 12  validating: batch 2 of 3" in out


def test_a_terminal_shows_a_bar_instead(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    shown: list[dict[str, Any]] = []
    plain = progress.Bar.get_metrics

    def noted(self: progress.Bar, *given: Any) -> dict[str, Any]:
        shown.append(plain(self, *given))
        return shown[-1]

    monkeypatch.setattr(progress.Bar, "get_metrics", noted)
    monkeypatch.setattr(progress, "say", said.append)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr(ProgressLines.__init__, "__defaults__", (0.0,))
    monkeypatch.setattr(progress, "_REDRAW", 0.0)
    assert glue_lit(monkeypatch, *arguments(tiny_model)) == 0
    assert not said
    assert re.fullmatch(r"\d+ s", shown[-1]["fit_left"])
    assert "v_num" not in shown[-1]


class FakeTrainer:
    """A trainer at a given place of a fit."""

    max_epochs, max_steps = 4, -1
    accumulate_grad_batches = 1
    num_training_batches: float = 100
    val_check_batch: float = 100
    check_val_every_n_epoch: int | None = 1
    enable_validation = True
    estimated_stepping_batches: float = 400
    global_step = current_epoch = 0

    def __init__(self, **settings: Any) -> None:
        self.callbacks: list[Any] = []
        self.__dict__.update(settings)


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({}, 2.0 * 350 + 4 * 10),  # half of the first epoch is done, so 4 validations are to come
        ({"enable_validation": False}, 2.0 * 350),
        ({"val_check_batch": 25}, 2.0 * 350 + 14 * 10),
        ({"check_val_every_n_epoch": 2}, 2.0 * 350 + 2 * 10),
        ({"check_val_every_n_epoch": None, "val_check_batch": 200}, 2.0 * 350 + 1 * 10),
        ({"estimated_stepping_batches": 60}, 2.0 * 10 + 10),
        ({"estimated_stepping_batches": math.inf, "max_epochs": -1}, None),
    ],
)
def test_the_time_left_is_of_steps_and_validations(
    settings: dict[str, Any], left: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    trainer: Any = FakeTrainer(global_step=0, **settings)
    clock = FitClock()
    assert clock.seconds_left(trainer) is None
    clock.on_train_start(trainer)
    trainer.global_step, now[0] = 50, now[0] + 100
    clock.on_validation_start(trainer)
    assert clock.seconds_left(trainer) is None  # nobody knows how long the first validation takes
    now[0] += 10
    clock.on_validation_end(trainer)
    assert clock.seconds_left(trainer) == left
    clock.on_validation_start(trainer)
    now[0] += 99  # in the middle of another
    assert clock.seconds_left(trainer) == left
    timer = Timer("00:00:00:05")
    timer.on_train_start(trainer, None)  # type: ignore[arg-type]
    trainer.callbacks = [timer]
    assert clock.seconds_left(trainer) == 5.0
