"""An optimizer step over several batches has the mean of their gradients, also if it is cut short."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from small_fit import SEED, Fit

from glue_lit.system.library_warnings import filter_warnings


@pytest.fixture(autouse=True)
def seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    filter_warnings()
    monkeypatch.setenv("PL_GLOBAL_SEED", str(SEED))


class Watch(Callback):
    """Record the initial model, its batches, and the gradient norm of each step."""

    def __init__(self) -> None:
        self.before: Any = None
        self.batches: list[dict[str, torch.Tensor]] = []
        self.norms: list[float] = []
        self.sizes: list[int] = []  # batches of each step
        self._done = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.before = copy.deepcopy(pl_module.model)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.batches.append(batch)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        self.sizes.append(len(self.batches) - self._done)
        self._done = len(self.batches)
        self.norms.append(
            float(torch.nn.utils.get_total_norm([p.grad for p in pl_module.parameters() if p.grad is not None]))
        )


def by_hand(watch: Watch) -> tuple[Any, list[float], list[float]]:
    """The model after the same batches, with the norm and the mean loss of each step, in plain PyTorch."""
    model, batches, norms, losses = watch.before, iter(watch.batches), [], []
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, weight_decay=0)
    for size in watch.sizes:
        parts = []
        for _ in range(size):
            batch = next(batches)
            inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
            parts.append(torch.nn.functional.cross_entropy(model(**inputs).logits, batch["labels"]))
        torch.stack(parts).mean().backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)))
        losses.append(float(torch.stack(parts).detach().mean()))
        optimizer.step()
        optimizer.zero_grad()
    return model, norms, losses


FLAT = {"schedule": "constant", "warmup": 0, "dropout": 0.0, "weight_decay": 0.0, "max_grad_norm": 0.5}


@pytest.mark.parametrize(
    ("settings", "callbacks", "sizes"),
    [
        ({"accumulate_grad_batches": 3}, [], [3, 3, 3, 1, 3, 3, 3, 1]),
        ({"accumulate_grad_batches": 4, "max_steps": 4}, [], [4, 4, 2, 4]),
        ({"accumulate_grad_batches": 5}, [], [5, 5, 5, 5]),
        ({"accumulate_grad_batches": 64}, [], [10, 10]),
        ({"accumulate_grad_batches": 4, "limit_train_batches": 7, "val_check_interval": 6}, [], [4, 3, 4, 3]),
        ({}, [GradientAccumulationScheduler({0: 4, 1: 3})], [4, 4, 2, 3, 3, 3, 1]),
    ],
)
def test_the_last_step_of_an_epoch_has_the_mean_of_its_batches(
    tmp_path: Path, tiny_model: Path, settings: dict[str, Any], callbacks: list[Callback], sizes: list[int]
) -> None:
    watch = Watch()
    fit = Fit(tmp_path, tiny_model, watch, *callbacks, model=FLAT, max_epochs=2, precision="32-true", **settings).run()
    assert watch.sizes == sizes
    model, norms, losses = by_hand(watch)
    assert watch.norms == pytest.approx(norms, rel=1e-4)
    for name, value in fit.model.model.state_dict().items():
        assert torch.allclose(value, model.state_dict()[name], atol=2e-5), name
    # the curves show what was done
    points = {
        name: [value for _, key, value in fit.history.points if key == name]
        for name in ("train/loss", "weights/gradient_norm")
    }
    assert points["train/loss"] == pytest.approx(losses, rel=1e-4)
    assert points["weights/gradient_norm"] == pytest.approx(norms, rel=1e-4)
