"""The moving average of the weights, against the weights of each step."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from glue_lit import BestCheckpoint, GLUEDataModule, SequenceClassifier
from glue_lit.runs.checkpoints import read_checkpoint
from glue_lit.system.library_warnings import filter_warnings
from glue_lit.training.averaging import EVERY, WeightAverage

DECAY = 0.95
STEPS = 25  # 13 an epoch: neither epoch ends with an update


class Steps(Callback):
    """Keeps the weights after each step, and the weights in each validation."""

    def __init__(self) -> None:
        self.weights: list[dict[str, torch.Tensor]] = []
        self.validated: list[dict[str, torch.Tensor]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        self.weights.append(copy.deepcopy(pl_module.state_dict()))

    def on_validation_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        self.validated.append(copy.deepcopy(pl_module.state_dict()))


def averaged(weights: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The definition: updates after each of the first steps, then after every tenth, by the share of ten steps."""
    left = DECAY**EVERY
    average = {name: value.double() for name, value in weights[0].items()}
    for step, state in enumerate(weights[1:], 2):
        if step <= EVERY or step % EVERY == 0:
            average = {name: left * average[name] + (1 - left) * value.double() for name, value in state.items()}
    return average


@pytest.fixture(autouse=True)
def quiet() -> None:
    filter_warnings()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("averaged")


@pytest.fixture(scope="module")
def fitted(place: Path, tiny_model: Path) -> tuple[Steps, SequenceClassifier, GLUEDataModule, Trainer]:
    filter_warnings()
    steps, best = Steps(), BestCheckpoint(monitor="val/loss")
    best.dirpath = str(place)
    data = GLUEDataModule(
        task="cola", source="demo", tokenizer=str(tiny_model), batch_size=4, train_limit=52, validation_limit=30
    )
    model = SequenceClassifier(
        task="cola", name_or_path=str(tiny_model), learning_rate=3e-3, average=DECAY, weight_decay=0.1
    )
    torch.manual_seed(0)
    trainer = Trainer(
        accelerator="cpu", max_epochs=2, max_steps=STEPS, callbacks=[steps, best], logger=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(model, data)
    return steps, model, data, trainer


def assert_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(found[name].double(), value, atol=1e-6, rtol=1e-5)


def test_a_validation_scores_the_average(fitted: Any) -> None:
    steps = fitted[0]
    assert len(steps.weights) == STEPS
    assert_close(steps.validated[0], averaged(steps.weights[:13]))
    moved = (steps.validated[0]["model.classifier.weight"] - steps.weights[12]["model.classifier.weight"]).abs().max()
    assert moved > 1e-4  # the average is not the last weights


def test_training_continues_with_the_weights_themselves(fitted: Any) -> None:
    # A step moves no weight by more than about the learning rate; the average is further away.
    before, after = (fitted[0].weights[step]["model.bert.pooler.dense.weight"] for step in (12, 13))
    assert (after - before).abs().max() < 3.1e-3


def test_the_model_and_the_checkpoint_are_the_average(fitted: Any, place: Path) -> None:
    steps, model, _, _ = fitted
    assert_close(model.state_dict(), averaged(steps.weights))
    saved = read_checkpoint(place / "best.ckpt")
    at = saved["global_step"]
    assert_close(saved["state_dict"], averaged(steps.weights[:at]))
    assert_close(saved["current_model_state"], {n: v.double() for n, v in steps.weights[at - 1].items()})


def test_a_new_process_gives_the_same_scores(fitted: Any, place: Path) -> None:
    _, _, data, trainer = fitted
    loaded = SequenceClassifier.load_from_checkpoint(place / "best.ckpt", weights_only=True)
    fresh = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
    fresh.validate(loaded, data, verbose=False)
    assert not any(isinstance(callback, WeightAverage) for callback in fresh.callbacks)  # type: ignore[attr-defined]
    assert float(fresh.callback_metrics["val/loss"]) == pytest.approx(
        float(trainer.checkpoint_callback.best_model_score), abs=0
    )


def test_a_resumed_fit_without_average_uses_the_weights(place: Path, tiny_model: Path, fitted: Any) -> None:
    saved = read_checkpoint(place / "best.ckpt")
    weights = {name: value.double() for name, value in saved["current_model_state"].items()}
    found: dict[str, torch.Tensor] = {}

    class Start(Callback):
        def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
            found.update(copy.deepcopy(pl_module.state_dict()))

    data = GLUEDataModule(
        task="cola", source="demo", tokenizer=str(tiny_model), batch_size=4, train_limit=52, validation_limit=30
    )
    model = SequenceClassifier(task="cola", name_or_path=str(tiny_model), learning_rate=3e-3, weight_decay=0.1)
    Trainer(
        accelerator="cpu", max_epochs=9, max_steps=STEPS + 1, callbacks=[Start()], logger=False,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    ).fit(model, data, ckpt_path=place / "best.ckpt", weights_only=True)  # fmt: skip
    assert_close(found, weights)
