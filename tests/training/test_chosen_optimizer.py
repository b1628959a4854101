"""Optimizers chosen by class: the same groups, clipping and schedule as the recipe's, exact resumes, clear refusals."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from small_fit import CutError, Fit, SaveAndCut
from torch import nn

from glue_lit import SequenceClassifier
from glue_lit.encoder.trained_embedding import find_trained_rows
from glue_lit.errors import RunError, UsageError
from glue_lit.runs.checkpoints import read_checkpoint
from glue_lit.system.library_warnings import filter_warnings
from glue_lit.training.chosen_optimizer import MuonAndAdamW, check_optimizer

SGD = {"class_path": "torch.optim.SGD", "init_args": {"momentum": 0.9}}
MUON = {"class_path": "torch.optim.Muon", "init_args": {}}
ADAFACTOR = {"class_path": "torch.optim.Adafactor", "init_args": {}}
STEPS = 4


class Watched(torch.optim.SGD):
    """SGD that keeps the gradient, the rates and the decays of each step."""

    steps: list[tuple[float, list[float], list[float]]]

    def step(self, closure: Any = None) -> Any:
        loss = closure()
        gradient = torch.cat([p.grad.flatten() for group in self.param_groups for p in group["params"]])
        rates, decays = ([group[key] for group in self.param_groups] for key in ("lr", "weight_decay"))
        Watched.steps.append((float(gradient.norm()), rates, decays))
        return super().step(lambda: loss)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    filter_warnings()
    Watched.steps = []
    return


def fit(folder: Path, tiny_model: Path, optimizer: Any, *callbacks: Any, **settings: Any) -> Fit:
    model = {"optimizer": optimizer, **settings.pop("model", {})}
    return Fit(folder, tiny_model, *callbacks, max_steps=STEPS, limit_val_batches=0, model=model, **settings)


def test_decay_schedule_and_clipping_are_those_of_the_recipe(tmp_path: Path, tiny_model: Path) -> None:
    settings = {"learning_rate": 0.1, "schedule": "linear", "warmup": 0, "max_grad_norm": 0.01, "weight_decay": 0.2}
    done = fit(tmp_path, tiny_model, partial(Watched, momentum=0.5), model=settings | {"layer_decay": 0.5}).run()
    assert done.trainer.optimizers[0].param_groups[0]["momentum"] == 0.5
    assert len(Watched.steps) == STEPS
    for number, (norm, rates, decays) in enumerate(Watched.steps):
        factor = 1 - number / STEPS
        assert rates == pytest.approx([0.1 * 0.5**layer * factor for layer in (0, 0, 1, 1, 2, 2, 3, 3)])
        assert decays == [0.2, 0.0] * 4
        assert norm == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("optimizer", [SGD, MUON, ADAFACTOR], ids=lambda each: each["class_path"])
def test_a_resumed_fit_is_exact(tmp_path: Path, tiny_model: Path, optimizer: dict[str, Any]) -> None:
    """Within an epoch, through a checkpoint that is read as plain data."""
    if optimizer is MUON and not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon")
    whole = fit(tmp_path / "whole", tiny_model, optimizer).run()
    cut = tmp_path / "cut.ckpt"
    with pytest.raises(CutError):
        fit(tmp_path / "cut", tiny_model, optimizer, SaveAndCut("on_train_batch_end", 2, cut)).run()
    assert read_checkpoint(cut)["hyper_parameters"]["optimizer"] == optimizer
    resumed = fit(tmp_path / "resumed", tiny_model, optimizer).run(cut)
    theirs = whole.model.state_dict()
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, theirs[name]), name


def test_a_resumed_fit_takes_the_settings_of_now(tmp_path: Path, tiny_model: Path) -> None:
    cut = tmp_path / "cut.ckpt"
    with pytest.raises(CutError):
        fit(tmp_path, tiny_model, SGD, SaveAndCut("on_train_batch_end", 2, cut)).run()
    now = {"class_path": "torch.optim.sgd.SGD", "init_args": {"momentum": 0.7}}  # another path of the same class
    resumed = fit(tmp_path, tiny_model, now, model={"schedule": "constant", "warmup": 0, "learning_rate": 0.5}).run(cut)
    for group in resumed.trainer.optimizers[0].param_groups:
        assert (group["momentum"], group["lr"]) == (0.7, 0.5)
    for other, name in ((None, "the recipe's AdamW"), (ADAFACTOR, "torch.optim.Adafactor")):
        with pytest.raises(RunError, match=f"the state of torch.optim.SGD, and model.optimizer is {name} now"):
            fit(tmp_path, tiny_model, other).run(cut)


def test_muon_takes_the_matrices_of_the_encoder(tmp_path: Path, tiny_model: Path) -> None:
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon")
    done = fit(tmp_path, tiny_model, MUON, model={"adam_eps": 1e-6}).run()
    whole = done.trainer.optimizers[0]
    assert isinstance(whole, MuonAndAdamW)
    names = {id(parameter): name for name, parameter in done.model.model.named_parameters()}
    of_muon = {names[id(p)] for group in whole.param_groups if "matrices" in group for p in group["params"]}
    linear = {f"{name}.weight" for name, module in done.model.model.named_modules() if isinstance(module, nn.Linear)}
    assert of_muon == {name for name in linear if not name.startswith("classifier")}
    assert {group["adjust_lr_fn"] for group in whole.param_groups if "matrices" in group} == {"match_rms_adamw"}
    assert {group["eps"] for group in whole.param_groups if "matrices" not in group} == {1e-6}
    assert sum(len(group["params"]) for group in whole.param_groups) == len(names) - 1  # not the table of all rows


@pytest.mark.parametrize(("optimizer", "only_rows"), [(None, True), (MUON, True), (SGD, False), (ADAFACTOR, False),
                                                      (torch.optim.AdamW, True)])  # fmt: skip
def test_embedding_rows_in_use_need_the_decay_of_adamw(
    tmp_path: Path, tiny_model: Path, optimizer: Any, only_rows: bool
) -> None:
    if optimizer is MUON and not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon")
    begun = Fit(tmp_path, tiny_model, max_steps=1, limit_val_batches=0, model={"optimizer": optimizer}).run()
    assert (find_trained_rows(begun.model) is not None) is only_rows


def test_adamw_by_its_class_is_the_adamw_of_the_recipe(tmp_path: Path, tiny_model: Path) -> None:
    ours = fit(tmp_path / "ours", tiny_model, None, model={"adam_eps": 1e-7}).run().model.state_dict()
    by_class = partial(torch.optim.AdamW, eps=1e-7)
    theirs = fit(tmp_path / "theirs", tiny_model, by_class).run().model.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_a_step_that_is_not_finite_is_skipped(tmp_path: Path, tiny_model: Path) -> None:
    class Break(SaveAndCut):
        def __init__(self) -> None:
            self.count = 0

        def on_after_backward(self, trainer: Any, module: Any) -> None:
            self.count += 1
            if self.count == 2:
                next(module.parameters()).grad.fill_(float("nan"))

    done = fit(tmp_path, tiny_model, SGD, Break(), model={"non_finite": "skip"}).run()
    assert done.model.parts.guard.skipped == 1
    assert all(parameter.isfinite().all() for parameter in done.model.parameters())


@pytest.mark.parametrize(
    ("choice", "settings", "message"),
    [
        (SGD, {"adam_beta2": 0.98}, r"model\.adam_beta2: got 0\.98, .* Pass `--model\.adam_beta2 0\.999`"),
        ({"class_path": "torch.optim.LBFGS"}, {}, "got torch.optim.LBFGS, which computes the loss several times"),
        ({"class_path": "torchao.optim.AdamW8bit"}, {}, "from whose checkpoint no fit can be resumed"),
        ({"class_path": "torch.optim.Rprop"}, {}, r"Rprop has no weight decay\. Pass `--model\.weight_decay 0`"),
        ({"class_path": "torch.nn.Linear"}, {}, "torch.nn.Linear is not an optimizer"),
        ({"class_path": "no_such.Thing"}, {}, r"no class no_such\.Thing .*`pip install no_such`"),
        ({"class_path": "torch.optim.SGD", "init_args": {"lr": 1}}, {}, r"init_args\.lr: set model\.learning_rate"),
        ({"class_path": "torch.optim.SGD", "init_args": {"momentum": -1}}, {}, "refuses its settings: Invalid momentum"),
        ({"class_path": "torch.optim.SGD", "init_args": {"speed": 1}}, {}, "refuses its settings: .*speed"),
    ],
)  # fmt: skip
def test_what_cannot_train_is_refused(choice: Any, settings: dict[str, Any], message: str) -> None:
    model = SequenceClassifier(optimizer=choice, **settings)
    with pytest.raises(UsageError, match=message):
        check_optimizer(model.hparams, "32-true")


def test_a_fused_optimizer_does_not_scale_losses() -> None:
    model = SequenceClassifier(optimizer=partial(torch.optim.Adam, fused=True))
    with pytest.raises(
        UsageError, match=r"init_args\.fused: got true, allowed with trainer\.precision 16-mixed: false"
    ):
        check_optimizer(model.hparams, "16-mixed")
    with pytest.raises(UsageError, match=r"model\.optimizer: got 3, allowed: a class"):
        SequenceClassifier(optimizer=3)  # type: ignore[arg-type]
