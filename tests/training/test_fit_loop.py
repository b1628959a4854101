"""However a fit ends, its last weights are scored exactly once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping
from small_fit import SEED, Clock, CutError, Fit, SaveAndCut

from glue_lit import LastCheckpoint
from glue_lit.system.library_warnings import filter_warnings


@pytest.fixture(autouse=True)
def seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    filter_warnings()
    monkeypatch.setenv("PL_GLOBAL_SEED", str(SEED))


def nothing() -> list[Callback]:
    return []


def impatient() -> list[Callback]:
    return [EarlyStopping("val/loss", mode="max", patience=2, min_delta=10.0)]


# Settings, callbacks, and the steps that are scored: 10 batches an epoch, at most 3 epochs.
Ends = dict[str, tuple[dict[str, Any], Callable[[], list[Callback]], list[int]]]
ENDS: Ends = {
    "steps": ({"max_steps": 14}, nothing, [10, 14]),
    "steps-at-the-end-of-an-epoch": ({"max_steps": 20}, nothing, [10, 20]),
    "steps-in-the-first-epoch": ({"max_steps": 3}, nothing, [3]),
    "steps-of-several-batches": ({"max_steps": 4, "accumulate_grad_batches": 4}, nothing, [3, 4]),
    "steps-before-the-first-validation": ({"max_steps": 5, "check_val_every_n_epoch": 2}, nothing, [5]),
    "steps-and-early-stopping": ({"max_steps": 6}, impatient, [6]),
    "steps-without-epochs": ({"max_steps": 13, "max_epochs": -1}, nothing, [10, 13]),
    "time": ({}, lambda: [Clock(13)], [10, 13]),
    "time-within-an-accumulation": ({"accumulate_grad_batches": 4}, lambda: [Clock(19)], [3, 5]),
    "time-within-an-accumulation-that-follows-a-score": ({"accumulate_grad_batches": 4}, lambda: [Clock(12)], [3]),
    "time-at-the-end-of-an-epoch": ({"check_val_every_n_epoch": 2}, lambda: [Clock(8, "epoch")], [10]),
    "time-at-the-end-of-a-later-epoch": ({"check_val_every_n_epoch": 2}, lambda: [Clock(25, "epoch")], [20, 30]),
    "early-stopping-within-an-epoch": ({"val_check_interval": 5}, impatient, [5, 10, 15]),
    "epochs": ({}, nothing, [10, 20, 30]),
    "epochs-of-which-some-are-scored": ({"check_val_every_n_epoch": 2}, nothing, [20, 30]),
    "epochs-scored-within": ({"val_check_interval": 4}, nothing, [4, 8, 14, 18, 24, 28, 30]),
    "batches-over-epochs": ({"val_check_interval": 7, "check_val_every_n_epoch": None}, nothing, [7, 14, 21, 28, 30]),
    "least-epochs": ({"min_epochs": 2}, lambda: [Clock(3)], [10, 20]),
    "least-steps": ({"min_steps": 7}, lambda: [Clock(3)], [10]),
    "fewer-batches": ({"limit_train_batches": 4, "max_epochs": 2, "check_val_every_n_epoch": 3}, nothing, [8]),
}  # fmt: skip


def fit(folder: Path, tiny_model: Path, end: str, *callbacks: Callback, **more: Any) -> Fit:
    settings, own, _ = ENDS[end]
    last = LastCheckpoint()
    last.dirpath = str(folder)
    return Fit(folder, tiny_model, *callbacks, *own(), last, **settings, **more)


def within(validation: int) -> int:
    """Number (from 1) of a hook's call in the middle of a validation of 4 batches."""
    return 4 * (validation - 1) + 2


QUICK = {"steps", "steps-of-several-batches", "time-within-an-accumulation", "time-at-the-end-of-an-epoch",
         "epochs-of-which-some-are-scored", "early-stopping-within-an-epoch"}  # fmt: skip
CASES = [pytest.param(end, id=end, marks=() if end in QUICK else pytest.mark.slow) for end in ENDS]


@pytest.mark.parametrize("end", CASES)
def test_the_last_weights_are_scored_also_after_a_kill(tmp_path: Path, tiny_model: Path, end: str) -> None:
    expected = ENDS[end][2]
    whole = fit(tmp_path / "whole", tiny_model, end).run()
    losses = [value for _, name, value in whole.history.points if name == "val/loss"]
    assert whole.scored() == expected
    assert whole.best.best_model_score == pytest.approx(min(losses))
    # nothing is left to do
    again = fit(tmp_path / "whole", tiny_model, end).run(tmp_path / "whole/last.ckpt")
    assert again.history.points == []
    assert again.trainer.global_step == whole.trainer.global_step
    if end != "time-within-an-accumulation-that-follows-a-score":  # its last epoch has no step
        assert again.trainer.current_epoch == whole.trainer.current_epoch
    # killed in the last validation
    path = tmp_path / "cut.ckpt"
    cut = SaveAndCut("on_validation_batch_end", within(len(expected)), path)
    first = fit(tmp_path / "run", tiny_model, end, cut)
    with pytest.raises(CutError):
        first.run()
    assert first.scored() == expected[:-1]
    second = fit(tmp_path / "run", tiny_model, end).run(path)
    assert second.scored() == expected[-1:]
    assert sorted(first.history.points + second.history.points) == sorted(whole.history.points)
    assert second.best.best_model_score == whole.best.best_model_score
    ours, theirs = second.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
