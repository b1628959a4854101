"""Schedules against `transformers.get_scheduler`, their options, and their resume."""

import io
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from small_fit import SEED, CutError, Fit, SaveAndCut
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_scheduler

from glue_lit import SequenceClassifier
from glue_lit.errors import UsageError
from glue_lit.system.library_warnings import filter_warnings
from glue_lit.training.schedule import Schedule, build_schedule, warmup_steps

LENGTHS = [(0, 50), (1, 50), (5, 50), (6, 101), (50, 50), (10, 11), (0, 1), (3, 2)]  # of the warm-up, of the fit
OPTIONS: dict[str, dict[str, Any]] = {
    "polynomial": {"power": 2.0, "lr_end": 0.01},
    "cosine_with_restarts": {"num_cycles": 3},
    "warmup_stable_decay": {"num_decay_steps": 12, "decay_type": "1-sqrt", "min_lr_ratio": 0.1},
}


def sgd() -> SGD:
    return SGD([nn.Parameter(torch.zeros(1))], lr=1.0)


def rates(scheduler: LambdaLR, steps: int) -> list[float]:
    """The learning rate of each step."""
    seen = []
    for _ in range(steps):
        seen.append(float(scheduler.optimizer.param_groups[0]["lr"]))
        scheduler.optimizer.step()
        scheduler.step()
    return seen


@pytest.mark.parametrize(("warmup", "total"), LENGTHS)
@pytest.mark.parametrize(
    ("schedule", "theirs"), [("linear", "linear"), ("cosine", "cosine"), ("constant", "constant_with_warmup")]
)
def test_schedules_equal_transformers_at_every_step(schedule: Schedule, theirs: str, warmup: int, total: int) -> None:
    ours = rates(build_schedule(sgd(), schedule, warmup, total), total)
    assert ours == pytest.approx(rates(get_scheduler(theirs, sgd(), warmup, total), total), abs=1e-12)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_the_usual_schedules_need_no_import_of_a_second(schedule: Schedule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.get_scheduler", None)
    assert rates(build_schedule(sgd(), schedule, 2, 10), 3)[:2] == [0.0, 0.5]


@pytest.mark.parametrize(("warmup", "total"), LENGTHS)
@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_the_factors_of_seeded_runs_keep_their_last_bit(schedule: Schedule, warmup: int, total: int) -> None:
    def expected(step: int) -> float:
        if step < warmup:
            return step / max(1, warmup)
        if schedule == "constant":
            return 1.0
        left = max(0.0, (total - step) / max(1, total - warmup))
        return left if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * (1.0 - left)))

    factor = build_schedule(sgd(), schedule, warmup, total).lr_lambdas[0]
    assert [factor(step) for step in range(total + 5)] == [expected(step) for step in range(total + 5)]


@pytest.mark.parametrize(("warmup", "total"), [(0, 50), (5, 50), (6, 101)])
@pytest.mark.parametrize("schedule", OPTIONS)
def test_schedules_with_options_are_those_of_transformers(schedule: Schedule, warmup: int, total: int) -> None:
    ours = rates(build_schedule(sgd(), schedule, warmup, total, OPTIONS[schedule]), total)
    theirs = get_scheduler(schedule, sgd(), warmup, total, scheduler_specific_kwargs=OPTIONS[schedule])
    assert ours == rates(theirs, total)
    assert len(set(ours)) >= 12


def test_a_decay_below_one_is_a_fraction_of_all_steps() -> None:
    of_fraction = build_schedule(sgd(), "warmup_stable_decay", 5, 50, {"num_decay_steps": 0.25})
    of_steps = build_schedule(sgd(), "warmup_stable_decay", 5, 50, {"num_decay_steps": 12})
    assert rates(of_fraction, 50) == rates(of_steps, 50)


def test_warm_up_and_decay_that_are_longer_than_the_fit() -> None:
    with pytest.raises(UsageError, match="got 30 steps and a warm-up of 25, allowed: together at most the 50 steps"):
        build_schedule(sgd(), "warmup_stable_decay", 25, 50, {"num_decay_steps": 0.6})


def test_a_polynomial_of_nothing_but_warm_up() -> None:
    assert rates(build_schedule(sgd(), "polynomial", 4, 4), 4) == [0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_schedule_stays_at_zero_after_its_end(schedule: Schedule) -> None:
    # Beyond the end, a cosine would rise again, and a line would turn the step around.
    factor = build_schedule(sgd(), schedule, 3, 20).lr_lambdas[0]
    assert [factor(step) for step in (20, 21, 30, 40)] == [0, 0, 0, 0]


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant", *OPTIONS])
@pytest.mark.parametrize("is_old", [False, True], ids=["now", "before-schedules-came-from-transformers"])
def test_a_state_is_resumed_within_the_schedule(schedule: Schedule, is_old: bool) -> None:
    whole = rates(build_schedule(sgd(), schedule, 5, 30, OPTIONS.get(schedule)), 30)
    first = build_schedule(sgd(), schedule, 5, 30, OPTIONS.get(schedule))
    begun = rates(first, 13)
    file = io.BytesIO()
    state = {"scheduler": first.state_dict(), "optimizer": first.optimizer.state_dict()}
    if is_old:
        state["scheduler"]["lr_lambdas"] = [None]
    torch.save(state, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    second = build_schedule(sgd(), schedule, 5, 30, OPTIONS.get(schedule))
    second.optimizer.load_state_dict(saved["optimizer"])
    second.load_state_dict(saved["scheduler"])
    assert begun + rates(second, 17) == whole


@pytest.mark.parametrize("schedule", OPTIONS)
def test_a_cut_fit_ends_with_the_same_weights_and_rates(
    schedule: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filter_warnings()
    monkeypatch.setenv("PL_GLOBAL_SEED", str(SEED))
    options = OPTIONS[schedule] | ({"lr_end": 1e-6} if schedule == "polynomial" else {})
    settings: dict[str, Any] = {"model": {"schedule": schedule, "schedule_options": options}, "max_epochs": 2}
    whole = Fit(tmp_path / "whole", tiny_model, **settings).run()
    path = tmp_path / "cut.ckpt"
    with pytest.raises(CutError):
        Fit(tmp_path / "cut", tiny_model, SaveAndCut("on_train_batch_end", 6, path), **settings).run()
    second = Fit(tmp_path / "cut", tiny_model, **settings).run(path)
    ours, theirs = second.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    seen = [
        {step: value for step, name, value in fit.history.points if name == "weights/learning_rate"}
        for fit in (second, whole)
    ]
    assert seen[0]
    assert all(value == seen[1][step] for step, value in seen[0].items())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"schedule": "linear", "schedule_options": {"num_cycles": 2}},
         "model.schedule_options: got num_cycles, allowed with the schedule linear: none."),
        ({"schedule": "polynomial", "schedule_options": {"num_cycles": 2}},
         "got num_cycles, allowed with the schedule polynomial: power, lr_end."),
        ({"schedule": "cosine_with_restarts", "schedule_options": {"num_cycles": 0}},
         "model.schedule_options.num_cycles: got 0, allowed: 1 to 2147483647."),
        ({"schedule": "cosine_with_restarts", "schedule_options": {"num_cycles": "two"}},
         "model.schedule_options.num_cycles: got two, allowed: 1 to 2147483647."),
        ({"schedule": "warmup_stable_decay"}, "needs num_decay_steps, a fraction of all steps if below 1"),
        ({"schedule": "warmup_stable_decay", "schedule_options": {"num_decay_steps": 0.1, "decay_type": "steep"}},
         "model.schedule_options.decay_type: got steep, allowed: linear, cosine, 1-sqrt."),
        ({"schedule": "polynomial", "learning_rate": 1e-7}, "model.schedule_options.lr_end: got 1e-07, allowed: below"),
        ({"schedule": "greedy"}, "model.schedule: got greedy, allowed: linear, cosine, constant, polynomial, "),
    ],
)  # fmt: skip
def test_options_are_checked_before_anything_is_built(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        SequenceClassifier(**settings)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("warmup", "total", "steps"),
    [
        (0, 100, 0),
        (0.0, 100, 0),
        (0.06, 100, 6),
        (0.06, 101, 7),  # rounded up, as transformers does
        (0.1, 5, 1),
        (0.5, 0, 0),
        (0.999, 1000, 999),
        (1, 100, 1),
        (1.0, 100, 1),
        (25, 100, 25),
        (500, 100, 500),
    ],
)
def test_warmup_is_a_fraction_below_one_and_steps_from_one(warmup: float, total: int, steps: int) -> None:
    assert warmup_steps(warmup, total) == steps
    assert type(warmup_steps(warmup, total)) is int
