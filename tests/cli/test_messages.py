"""What a run says when it ends."""

import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from glue_lit.cli.messages import print_speed, print_stopped
from glue_lit.errors import Stopped
from glue_lit.evaluation.predictions import Predictions
from glue_lit.evaluation.resampling import score_intervals, scores_with_intervals
from glue_lit.tasks.glue import get_task
from glue_lit.training.callbacks.checkpoints import BestCheckpoint, LastCheckpoint


@pytest.fixture
def last(tmp_path: Path) -> LastCheckpoint:
    keeper = LastCheckpoint()
    keeper.dirpath = str(tmp_path / "cola/version_0/checkpoints")
    Path(keeper.dirpath).mkdir(parents=True)
    return keeper


def stopped(last: LastCheckpoint, capsys: pytest.CaptureFixture[str]) -> str:
    print_stopped(Stopped(signal.SIGTERM), last, BestCheckpoint("val/loss"), "python own.py")
    return capsys.readouterr().out


def test_the_message_of_a_fit_stopped_before_training(last: LastCheckpoint, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Nothing was trained yet" in stopped(last, capsys)


def test_the_message_of_a_fit_stopped_after_a_checkpoint(
    last: LastCheckpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    last.saved_at = 7
    text = stopped(last, capsys)
    assert "last.ckpt, step 7\n" in text
    assert "python own.py fit --run " in text
    assert "--ckpt_path last" in text


def test_a_resumed_fit_stopped_at_once_can_be_resumed(last: LastCheckpoint, capsys: pytest.CaptureFixture[str]) -> None:
    last.path.write_bytes(b"")  # of the part before
    text = stopped(last, capsys)
    assert "Nothing was trained yet" not in text
    assert "last.ckpt, unchanged: nothing was trained since\n" in text
    assert "python own.py fit --run" in text


@pytest.mark.parametrize("trained", [True, False])
def test_the_speed_of_a_fit_is_printed(trained: bool, capsys: pytest.CaptureFixture[str]) -> None:
    values = (1234.5, 56789.0, 0.0213) if trained else (None, None, None)
    speed: Any = SimpleNamespace(record=lambda _: dict(zip("abc", values, strict=True)))
    print_speed(speed, None)  # type: ignore[arg-type]
    out = capsys.readouterr().out
    assert out == ("Speed       1,234 samples/s, 56,789 tokens/s, 2.1% padding\n" if trained else "")


@pytest.mark.parametrize("task", ["mnli", "stsb"])
def test_intervals_are_those_of_a_report(task: str) -> None:
    spec, draw = get_task(task), np.random.default_rng(0)
    gold = draw.random(50) if spec.is_regression else draw.integers(0, 3, 50)
    values = np.where(draw.random(50) < 0.7, gold, gold[::-1])
    rows = Predictions(np.arange(50), gold, values, None)
    found = score_intervals(spec, {str(spec.monitored_split): rows})
    expected = scores_with_intervals(spec.metrics, gold, values)
    prefix = spec.monitor.partition("/")[0]
    assert found == {f"{prefix}/{name}": (score.low, score.high) for name, score in expected.items()}


def test_intervals_need_no_extras() -> None:
    code = (
        "import sys\n"
        "from glue_lit.evaluation.resampling import scores_with_intervals\n"
        "assert not {'scipy', 'sklearn', 'matplotlib', 'jinja2'} & set(sys.modules), 'an extra was imported'"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=120)
