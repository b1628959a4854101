"""The means behind the points of the training curves."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch
from kept_points import Points
from lightning.pytorch import Callback, Trainer

from glue_lit import GLUEDataModule, SequenceClassifier
from glue_lit.system.library_warnings import filter_warnings
from glue_lit.training.callbacks.epoch_lines import EpochLines
from glue_lit.training.tensorboard.points import EpochLoss, TrainingPoint, learning_rates


@pytest.fixture(autouse=True)
def quiet() -> None:
    filter_warnings()


class Steps(Callback):
    """Notes the loss of each batch and, before it is clipped, the gradient's norm at each step."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.norms: list[float] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        squares = [p.grad.double().square().sum() for p in pl_module.parameters() if p.grad is not None]
        self.norms.append(float(torch.stack(squares).sum().sqrt()))

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        self.losses.append(float(pl_module.parts.curves.last_loss))


def fit(tiny_model: Path, accumulate: int = 1, **options: Any) -> tuple[dict[int, dict[str, float]], Steps, Any]:
    torch.manual_seed(0)
    points, steps = Points(), Steps()
    data = GLUEDataModule("cola", str(tiny_model), source="demo", batch_size=4, train_limit=48, validation_limit=5)
    model = SequenceClassifier("cola", str(tiny_model), **{"max_grad_norm": 0.01, **options})
    trainer = Trainer(
        accelerator="cpu", logger=points, callbacks=[steps], max_epochs=1, log_every_n_steps=3, num_sanity_val_steps=0,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        accumulate_grad_batches=accumulate,
    )  # fmt: skip
    trainer.fit(model, data)
    return {step: values for step, values in points.points if "train/loss" in values}, steps, model


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_point_is_the_mean_of_all_steps_since_the_last(tiny_model: Path, accumulate: int) -> None:
    points, steps, _ = fit(tiny_model, accumulate)
    assert len(steps.losses) == 12
    assert list(points) == list(range(2, 12 // accumulate, 3))
    for number, point in enumerate(points.values()):
        losses = steps.losses[3 * accumulate * number : 3 * accumulate * (number + 1)]
        norms = steps.norms[3 * number : 3 * number + 3]
        assert point["train/loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-6)
        assert point["weights/gradient_norm"] == pytest.approx(sum(norms) / 3, rel=1e-5)  # far above the limit
        assert point["weights/gradient_norm"] > 0.1


def test_the_rate_of_each_layer_is_shown_where_they_differ(tiny_model: Path) -> None:
    points, _, _ = fit(tiny_model, layer_decay=0.5, learning_rate=1e-3, schedule="constant")
    rates = {name: value for name, value in points[2].items() if "learning_rate" in name}
    expected = {"": 1e-3, "_head": 1e-3, "_layer_01": 5e-4, "_layer_00": 2.5e-4, "_embeddings": 1.25e-4}
    assert rates == pytest.approx({f"weights/learning_rate{name}": value for name, value in expected.items()})
    assert learning_rates([{"lr": 0.1}, {"lr": 0.1}]) == {"weights/learning_rate": 0.1}
    assert set(learning_rates([{"lr": 0.0, "initial_lr": 1}, {"lr": 0.0, "initial_lr": 2}])) == {
        "weights/learning_rate", "weights/learning_rate_0", "weights/learning_rate_1",
    }  # fmt: skip


def test_a_skipped_step_does_not_count() -> None:
    point = TrainingPoint()
    point.add(torch.tensor(float("nan")))
    point.skip()
    point.add(torch.tensor(2.0))
    point.take(torch.tensor(float("inf")), may_overflow=True)
    point.add(torch.tensor(4.0))
    point.take(torch.tensor(5.0), may_overflow=True)
    kept = TrainingPoint()
    kept.load_state_dict(point.state_dict(), torch.device("cpu"))
    for one in (point, kept):
        assert one.means() == {"train/loss": 3.0, "weights/gradient_norm": 5.0}
        assert one.means() == {}


class CutError(RuntimeError):
    """Raised to cut a fit."""


class Cut(Callback):
    """Writes a checkpoint where the 18th batch of all begins, and ends the fit there."""

    def __init__(self, path: Path) -> None:
        self.path, self.left = path, 18

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self.left -= 1
        if self.left == 0:
            trainer.save_checkpoint(self.path)
            raise CutError


def epoch_lines(
    tiny_model: Path, printed: Any, *more: Callback, checkpoint: Path | None = None
) -> tuple[list[str], Any]:
    steps = Steps()
    data = GLUEDataModule("cola", str(tiny_model), source="demo", batch_size=4, train_limit=46, validation_limit=5)
    model = SequenceClassifier("cola", str(tiny_model), learning_rate=1e-3)
    trainer = Trainer(
        accelerator="cpu", precision="32-true", logger=False, callbacks=[steps, EpochLines(), *more], max_epochs=2,
        num_sanity_val_steps=0, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        val_check_interval=6, accumulate_grad_batches=2,
    )  # fmt: skip
    torch.manual_seed(0)
    printed.readouterr()
    with contextlib.suppress(CutError):
        trainer.fit(model, data, ckpt_path=checkpoint, weights_only=True)
    lines = [line.split() for line in printed.readouterr().out.splitlines()]
    return [line[2] for line in lines if line and line[0] in ("1/2", "2/2")], steps


def test_the_line_of_an_epoch_has_the_mean_of_the_epoch_so_far(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    lines, steps = epoch_lines(tiny_model, capsys)
    means = [sum(losses) / len(losses) for losses in
             (steps.losses[:6], steps.losses[:12], steps.losses[12:18], steps.losses[12:])]  # fmt: skip
    assert lines == [f"{mean:.4f}" for mean in means]
    assert len({*lines, f"{steps.losses[11]:.4f}"}) == 5  # none of them is that of the last batch
    path = tmp_path / "cut.ckpt"
    assert epoch_lines(tiny_model, capsys, Cut(path))[0] == lines[:2]
    assert epoch_lines(tiny_model, capsys, checkpoint=path)[0] == lines[2:]


def test_the_mean_of_an_epoch_is_over_all_devices() -> None:
    class TwoDevices:
        root_device = torch.device("cpu")

        def reduce(self, found: torch.Tensor, reduce_op: str) -> torch.Tensor:
            assert reduce_op == "sum"
            return found + torch.tensor([7.0, 1.0])

    loss = EpochLoss()
    assert loss.mean(TwoDevices()) == 7.0  # no step on this device yet
    loss.add(0, [torch.tensor(1.0), torch.tensor(4.0)])
    assert loss.mean(TwoDevices()) == 4.0
    loss.add(1, [torch.tensor(1.0)])
    assert loss.mean(TwoDevices()) == 4.0
    loss.add(1, [])  # a skipped step
    assert loss.mean(TwoDevices()) == 4.0
