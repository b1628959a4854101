"""Which checkpoints are kept, also of a run that was moved, and that they are written last."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from glue_lit.runs.checkpoints import AtomicCheckpointIO
from glue_lit.system.library_warnings import filter_warnings
from glue_lit.training.callbacks.checkpoints import BestCheckpoint, LastCheckpoint


@pytest.fixture(autouse=True)
def quiet() -> None:
    filter_warnings()


class Module(LightningModule):
    """The part of a model that the callbacks read."""

    monitor = "val/accuracy"


def trainer_with(folder: Path, *callbacks: Callback, **options: Any) -> Trainer:
    return Trainer(
        default_root_dir=folder, accelerator="cpu", logger=False, callbacks=list(callbacks),
        enable_progress_bar=False, enable_model_summary=False, **options,
    )  # fmt: skip


def best_in(folder: Path, *, there: bool = True) -> BestCheckpoint:
    """The callback of a run whose checkpoints are in ``folder``."""
    keeper = BestCheckpoint("val/accuracy")
    keeper.dirpath = str(folder)
    if there:
        folder.mkdir(parents=True)
        (folder / "best.ckpt").write_bytes(b"")
    return keeper


def after_a_score(folder: Path, score: float) -> dict[str, Any]:
    """State of a callback that has written its best checkpoint to ``folder``."""
    keeper = best_in(folder, there=False)
    path = str(folder / "best.ckpt")
    keeper.best_model_path = keeper.kth_best_model_path = path
    keeper.best_model_score = keeper.kth_value = torch.tensor(score)
    keeper.best_k_models = {path: torch.tensor(score)}
    return keeper.state_dict()


# ---------------------------------------------------------------- the best


@pytest.mark.parametrize(
    ("monitor", "mode"), [(None, "max"), ("val/f1", "max"), ("val/loss", "min"), ("train/loss", "min")]
)
def test_losses_are_better_when_lower(monitor: str | None, mode: str) -> None:
    assert BestCheckpoint(monitor).mode == mode
    assert BestCheckpoint(monitor, "min").mode == "min"


def test_the_tasks_metric_picks_the_best_unless_another_is_chosen(tmp_path: Path) -> None:
    for chosen, monitor in ((None, "val/accuracy"), ("val/loss", "val/loss")):
        keeper = BestCheckpoint(chosen)
        keeper.setup(trainer_with(tmp_path, keeper), Module(), "fit")
        assert keeper.monitor == monitor


@pytest.mark.parametrize("moved", ["elsewhere/checkpoints", "checkpoints"], ids=["moved", "in-place"])
def test_a_run_that_was_moved_keeps_its_best(tmp_path: Path, moved: str) -> None:
    # Lightning alone would forget the score, and overwrite the best checkpoint with the next one.
    state = after_a_score(tmp_path / "checkpoints", 0.75)
    keeper = best_in(tmp_path / moved)
    keeper.load_state_dict(state)
    path = str(tmp_path / moved / "best.ckpt")
    assert keeper.dirpath == str(tmp_path / moved)
    assert keeper.best_model_path == keeper.kth_best_model_path == path
    assert keeper.best_model_score == torch.tensor(0.75)
    assert keeper.kth_value == torch.tensor(0.75)
    assert keeper.best_k_models == {path: torch.tensor(0.75)}
    assert keeper.last_model_path == ""  # it writes none


def test_only_a_better_score_replaces_the_best(tmp_path: Path) -> None:
    keeper = best_in(tmp_path / "new")
    trainer = trainer_with(tmp_path, keeper)
    keeper.load_state_dict(after_a_score(tmp_path / "old", 0.75))
    assert not keeper.check_monitor_top_k(trainer, torch.tensor(0.7))
    assert keeper.check_monitor_top_k(trainer, torch.tensor(0.8))


def test_a_moved_run_without_a_best_checkpoint_has_none(tmp_path: Path) -> None:
    state = best_in(tmp_path / "old", there=False).state_dict()
    keeper = best_in(tmp_path / "new", there=False)
    keeper.load_state_dict(state)
    assert keeper.best_model_path == ""
    assert keeper.best_model_score is None
    assert keeper.best_k_models == {}
    assert keeper.check_monitor_top_k(trainer_with(tmp_path, keeper), torch.tensor(0.1))


# ---------------------------------------------------------------- the last


def test_the_last_checkpoint_is_written_after_all_other_callbacks(tmp_path: Path) -> None:
    # last.ckpt would lack what a later callback changes at the end of an epoch.
    first, last, best, other = Callback(), LastCheckpoint(), BestCheckpoint("val/accuracy"), ModelCheckpoint()
    trainer = trainer_with(tmp_path, first, last, best, other)
    before = [callback for callback in trainer.callbacks if callback is not last]  # type: ignore[attr-defined]
    for _ in range(2):  # a second fit sets it up again
        last.setup(trainer, Module(), "fit")
        assert trainer.callbacks == [*before, last]  # type: ignore[attr-defined]


def test_the_folder_of_the_last_checkpoint(tmp_path: Path) -> None:
    last = LastCheckpoint()
    last.setup(trainer_with(tmp_path, last), Module(), "fit")
    assert last.path == tmp_path / "checkpoints/last.ckpt"
    assert last.saved_at is None


class OtherIO(TorchCheckpointIO):
    """A plugin that a user may have chosen."""


@pytest.mark.parametrize("keeper", [BestCheckpoint("val/accuracy"), LastCheckpoint()], ids=["best", "last"])
def test_checkpoints_are_written_whole_by_default(tmp_path: Path, keeper: BestCheckpoint | LastCheckpoint) -> None:
    trainer = trainer_with(tmp_path, keeper)
    keeper.setup(trainer, Module(), "fit")
    assert type(trainer.strategy.checkpoint_io) is AtomicCheckpointIO
    chosen = trainer_with(tmp_path, keeper, plugins=[OtherIO()])
    keeper.setup(chosen, Module(), "fit")
    assert type(chosen.strategy.checkpoint_io) is OtherIO
