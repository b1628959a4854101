"""A loss or gradient that is not finite: the run stops before the weights are touched, or skips the step."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from glue_lit import GLUEDataModule, SequenceClassifier
from glue_lit.errors import DivergenceError
from glue_lit.system.library_warnings import filter_warnings
from glue_lit.training.divergence import DivergenceGuard, NonFinite

RATE = 1e-3
Spoil = Callable[[SequenceClassifier], None]


@pytest.fixture(autouse=True)
def quiet() -> None:
    filter_warnings()


# ---------------------------------------------------------------- the guard alone


def allows_step(guard: DivergenceGuard, norm: float, step: int = 0, scaler: object = None) -> bool:
    trainer = SimpleNamespace(global_step=step, datamodule=None, precision_plugin=SimpleNamespace(scaler=scaler))
    return guard.check_step(trainer, SimpleNamespace(param_groups=[{"lr": RATE}]), torch.tensor(norm))


def added(guard: DivergenceGuard, *batches: list[int], loss: float = 0.5) -> DivergenceGuard:
    for examples in batches:
        guard.note_batch(torch.tensor(examples), torch.tensor(loss))
    return guard


@pytest.mark.parametrize("policy", ["stop", "skip"])
@pytest.mark.parametrize("norm", [0.0, 1.5, 3e38])
def test_a_finite_step_passes(policy: NonFinite, norm: float) -> None:
    guard = added(DivergenceGuard(policy), [3, 1])
    assert allows_step(guard, norm)
    assert guard.skipped == 0


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_the_error_names_step_loss_gradient_and_examples(norm: float) -> None:
    guard = added(DivergenceGuard("stop"), [30, 4], [17], loss=math.nan)
    expected = (
        f"Training diverged at step 12: the loss is nan, the gradient's norm {norm:g}, at learning rate 0.001. "
        "Examples of the batch (idx in train): 4, 17, 30. Try a lower --model.learning_rate or a longer --model.warmup"
    )
    with pytest.raises(DivergenceError, match=re.escape(expected)):
        allows_step(guard, norm, 12)


def test_only_the_examples_of_the_step_itself_are_named() -> None:
    guard = added(DivergenceGuard("stop"), [1, 2])
    assert allows_step(guard, 1.0)
    with pytest.raises(DivergenceError, match=re.escape("(idx in train): 5, 6. Try")):
        allows_step(added(guard, [6, 5]), math.nan, 1)


def test_a_large_batch_is_named_in_part() -> None:
    guard = added(DivergenceGuard("stop"), list(range(50)), list(range(50, 100)))
    with pytest.raises(DivergenceError, match=r"\(idx in train\): 0, 1, .*, 63 and 36 more\. Try"):
        allows_step(guard, math.nan)


def test_skipping_counts() -> None:
    guard = DivergenceGuard("skip")
    answers = [allows_step(added(guard, [1]), norm) for norm in (1.0, math.nan, math.inf, 2.0)]
    assert answers == [True, False, False, True]
    assert guard.skipped == 2


# ---------------------------------------------------------------- in a fit


def spoil_loss(model: SequenceClassifier, change: Callable[[Tensor], Tensor]) -> None:
    whole = model.loss.forward

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        model.loss.forward = whole  # type: ignore[method-assign]
        return change(whole(logits, labels))

    model.loss.forward = loss  # type: ignore[method-assign]


def nan_loss(model: SequenceClassifier) -> None:
    """Make the next batch's loss NaN."""
    spoil_loss(model, lambda loss: loss * math.nan)


def infinite_gradient(model: SequenceClassifier) -> None:
    """Make one number of the next batch's gradient infinite, but not its loss."""
    weight = model.model.classifier.bias
    handle = weight.register_hook(lambda gradient: (handle.remove(), gradient + math.inf)[1])


class Watch(Callback):
    """Spoil some batches, and keep the examples of each and the weights before it."""

    def __init__(self, spoil: Spoil, *batches: int) -> None:
        self.spoil, self.batches = spoil, batches
        self.idx: list[list[int]] = []
        self.weights: list[dict[str, Tensor]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if len(self.idx) in self.batches:
            self.spoil(pl_module)
        self.idx.append(batch["idx"].tolist())
        self.weights.append(copy_of(pl_module))

    def last(self, count: int) -> str:
        return ", ".join(map(str, sorted(number for batch in self.idx[-count:] for number in batch)))

    def lines(self, count: int) -> str:
        """Their lines in CoLA's file, which has no header."""
        return ", ".join(str(1 + int(number)) for number in self.last(count).split(", "))


def copy_of(model: SequenceClassifier) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.model.state_dict().items()}


def are_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


def are_finite(weights: dict[str, Tensor]) -> bool:
    return all(bool(value.isfinite().all()) for value in weights.values() if value.is_floating_point())


def fit(
    tiny_model: Path, watch: Watch, policy: NonFinite, checkpoint: Path | None = None, **options: Any
) -> tuple[Trainer, SequenceClassifier]:
    """A fit of six batches of four an epoch."""
    model = SequenceClassifier("cola", str(tiny_model), learning_rate=RATE, schedule="constant", non_finite=policy)
    data = GLUEDataModule("cola", str(tiny_model), source="demo", batch_size=4, train_limit=24, validation_limit=5)
    settings = {"max_epochs": 1, "limit_val_batches": 0} | options
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, callbacks=[watch], **settings,
    )  # fmt: skip
    watch.model = model  # type: ignore[attr-defined]
    trainer.fit(model, data, ckpt_path=checkpoint, weights_only=True)
    return trainer, model


@pytest.mark.parametrize(
    ("spoil", "what"),
    [(nan_loss, "the loss is nan, the gradient's norm nan"), (infinite_gradient, "the gradient's norm inf")],
)
def test_a_fit_stops_before_the_weights_are_touched(tiny_model: Path, spoil: Spoil, what: str) -> None:
    watch = Watch(spoil, 3)
    with pytest.raises(
        DivergenceError, match=r"^Training diverged at step 3: the loss is .*, at learning rate 0\.001"
    ) as e:
        fit(tiny_model, watch, "stop")
    assert what in str(e.value)
    assert f"(idx in train): {watch.last(1)}; lines {watch.lines(1)} of " in str(e.value)
    assert "CoLA/train.tsv. Try" in str(e.value)
    assert len(watch.idx) == 4
    weights = copy_of(watch.model)  # type: ignore[attr-defined]
    assert are_same(weights, watch.weights[-1])
    assert not are_same(weights, watch.weights[-2])
    assert are_finite(weights)


@pytest.mark.parametrize("spoilt", [3, 4, 5])
def test_all_batches_of_an_accumulated_step_are_named(tiny_model: Path, spoilt: int) -> None:
    watch = Watch(nan_loss, spoilt)
    with pytest.raises(DivergenceError, match="Training diverged at step 1: ") as error:
        fit(tiny_model, watch, "stop", accumulate_grad_batches=3)
    assert f"(idx in train): {watch.last(3)}; lines {watch.lines(3)} of " in str(error.value)
    assert len(watch.idx) == 6
    assert are_same(copy_of(watch.model), watch.weights[3])  # type: ignore[attr-defined]


@pytest.mark.parametrize("spoil", [nan_loss, infinite_gradient])
@pytest.mark.parametrize("clip", [None, 0.5])
def test_a_skipped_step_changes_nothing(tiny_model: Path, spoil: Spoil, clip: float | None) -> None:
    watch = Watch(spoil, 1, 4)
    trainer, model = fit(tiny_model, watch, "skip", gradient_clip_val=clip)
    assert model.parts.guard.skipped == 2
    assert trainer.global_step == 6
    weights = [*watch.weights, copy_of(model)]
    assert [are_same(weights[n], weights[n + 1]) for n in range(6)] == [False, True, False, False, True, False]
    assert are_finite(weights[-1])
    assert all(
        bool(value.isfinite().all()) for state in trainer.optimizers[0].state.values() for value in state.values()
    )


def test_a_step_is_skipped_with_all_of_its_batches(tiny_model: Path) -> None:
    watch = Watch(nan_loss, 2)
    _, model = fit(tiny_model, watch, "skip", accumulate_grad_batches=3)
    assert model.parts.guard.skipped == 1
    assert are_same(watch.weights[0], watch.weights[3])
    assert not are_same(watch.weights[3], copy_of(model))


def test_the_count_of_skipped_steps_is_resumed(tiny_model: Path, tmp_path: Path) -> None:
    trainer, _ = fit(tiny_model, Watch(nan_loss, 1, 4), "skip")
    trainer.save_checkpoint(tmp_path / "some.ckpt")
    watch = Watch(nan_loss, 2)
    _, model = fit(tiny_model, watch, "skip", tmp_path / "some.ckpt", max_epochs=2)
    assert len(watch.idx) == 6
    assert model.parts.guard.skipped == 3


def test_a_fit_without_faults_is_the_same_under_both_policies(tiny_model: Path) -> None:
    weights = []
    for policy in ("stop", "skip"):
        torch.manual_seed(3)
        _, model = fit(tiny_model, Watch(nan_loss), policy)  # type: ignore[arg-type]
        assert model.parts.guard.skipped == 0
        weights.append(copy_of(model))
    assert are_same(*weights)


def test_the_named_loss_is_the_one_that_is_not_finite(tiny_model: Path) -> None:
    with pytest.raises(DivergenceError, match="the loss is nan"):
        fit(tiny_model, Watch(nan_loss, 3), "stop", accumulate_grad_batches=3)


def infinite_loss(model: SequenceClassifier) -> None:
    """Make the next loss overflow, but not its gradient."""
    spoil_loss(model, lambda loss: loss + math.inf)


def test_a_loss_that_overflows_alone_stops_too(tiny_model: Path) -> None:
    with pytest.raises(DivergenceError, match="the loss is inf"):
        fit(tiny_model, Watch(infinite_loss, 3), "stop")


def test_with_loss_scaling_only_the_loss_counts() -> None:
    guard = DivergenceGuard("stop")
    assert allows_step(added(guard, [1]), math.inf, scaler=object())
    with pytest.raises(DivergenceError, match=re.escape("the loss is nan, at learning rate")):
        allows_step(added(guard, [2], loss=math.nan), math.inf, scaler=object())
    with pytest.raises(DivergenceError, match=re.escape("(idx in train): 3. Try")):  # the failed step is forgotten
        allows_step(added(guard, [3], loss=math.nan), math.inf, scaler=object())
