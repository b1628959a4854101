"""A fit that is resumed from a checkpoint, wherever it was cut, ends as one that was never cut."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from small_fit import SEED, Clock, CutError, Fit, SaveAndCut
from tiny_architectures import tiny_folder

from glue_lit import GLUEDataModule, LastCheckpoint
from glue_lit.errors import RunError
from glue_lit.system.library_warnings import filter_warnings
from glue_lit.training.batch_seeds import batch_seed
from glue_lit.training.position import Position
from glue_lit.training.resume import explain_restore_error, read_progress


@pytest.fixture(autouse=True)
def seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    filter_warnings()
    monkeypatch.setenv("PL_GLOBAL_SEED", str(SEED))


@pytest.fixture(scope="module")
def references() -> dict[str, Fit]:
    return {}


def reference(references: dict[str, Fit], tmp_path: Path, tiny_model: Path, **settings: Any) -> Fit:
    key = repr(sorted(settings.items()))
    if key not in references:
        references[key] = Fit(tmp_path / "reference", tiny_model, **settings).run()
    return references[key]


def assert_same(whole: Fit, first: Fit, second: Fit, hook: str, also_scored: float = float("inf")) -> None:
    ours, theirs = second.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    states = [fit.trainer.optimizers[0].state_dict()["state"] for fit in (second, whole)]
    assert all(torch.equal(states[0][p]["exp_avg_sq"], states[1][p]["exp_avg_sq"]) for p in states[1])
    assert second.trainer.global_step == whole.trainer.global_step
    assert second.trainer.current_epoch == whole.trainer.current_epoch
    assert second.best.best_model_score == min(whole.best.best_model_score, torch.tensor(also_scored))
    assert Path(second.best.best_model_path).name == Path(whole.best.best_model_path).name
    # Points after the checkpoint are cut out of the curves, so only they may come again.
    again = {(step, name) for step, name, _ in second.history.points}
    got = [point for point in first.history.points if point[:2] not in again] + second.history.points
    expected = whole.history.points
    if hook == "on_train_batch_end":  # Lightning logs a batch after this hook, so `LastCheckpoint` takes a later one
        cut = first.trainer.global_step - 1
        got, expected = ([p for p in points if p[0] != cut or p[1].startswith("val")] for points in (got, expected))
    assert sorted(got) == sorted(expected)


CUTS = [
    *(("on_train_batch_end", n) for n in (1, 2, 5, 9, 10, 11, 19, 20, 21, 30)),
    *(("on_train_batch_start", n) for n in (1, 2, 6, 10, 11, 12, 30)),
    *(("on_before_backward", n) for n in (3, 10, 12)),
    *(("on_train_epoch_start", n) for n in (2, 3)),
    *(("on_train_epoch_end", n) for n in (1, 2, 3)),
    *(("on_validation_start", n) for n in (1, 3)),
    *(("on_validation_batch_end", n) for n in (1, 2, 4, 6)),
    *(("on_validation_end", n) for n in (1, 2, 3)),
]
RECIPES: dict[str, dict[str, Any]] = {
    "average": {"model": {"average": 0.9}},
    "layers": {"model": {"layer_decay": 0.8}},
    "lora": {"model": {"peft": {"peft_type": "LORA", "r": 4, "lora_dropout": 0.1}}},
    "frozen": {"model": {"freeze": 1}},
    "bfloat16-weights": {"precision": "bf16-true", "model": {"average": 0.9}},
    "float64": {"precision": "64-true"},
    "plain": {},
    "accumulation": {"accumulate_grad_batches": 3},
    "steps": {"max_steps": 25, "max_epochs": -1},
    "validation-within-epochs": {"val_check_interval": 5},
    "validation-within-accumulation": {"val_check_interval": 6, "accumulate_grad_batches": 4},
    "validation-now-and-then": {"check_val_every_n_epoch": 2},
    "windows": {"windows": {"length": 24, "stride": 6, "train_windows": 2}},
}


# `make slow` runs all; every run takes three for each recipe in turn, of different kinds.
KINDS = [("on_train_batch_end", 10), ("on_before_backward", 12), ("on_train_epoch_end", 2), ("on_validation_end", 3),
         ("on_train_batch_start", 6), ("on_validation_batch_end", 2), ("on_train_batch_start", 11)]  # fmt: skip
QUICK = {(name, *KINDS[(3 * number + turn) % 7]) for number, name in enumerate(RECIPES) for turn in range(3)}
# a recipe that ends after 25 steps, one that validates twice
NOT_REACHED = {("steps", "on_train_batch_end", 30), ("steps", "on_train_batch_start", 30),
               ("validation-now-and-then", "on_validation_start", 3), ("validation-now-and-then", "on_validation_end", 3)}  # fmt: skip
CASES = [
    pytest.param(
        recipe, *cut, id=f"{recipe}-{cut[0]}-{cut[1]}", marks=() if (recipe, *cut) in QUICK else pytest.mark.slow
    )
    for recipe in RECIPES
    for cut in CUTS
    if (recipe, *cut) not in NOT_REACHED
]


@pytest.mark.parametrize(("recipe", "hook", "count"), CASES)
def test_a_cut_fit_is_resumed_exactly(
    references: dict[str, Fit], tmp_path: Path, tiny_model: Path, recipe: str, hook: str, count: int
) -> None:
    settings = RECIPES[recipe]
    path = tmp_path / "cut.ckpt"
    first = Fit(tmp_path / "run", tiny_model, SaveAndCut(hook, count, path), **settings)
    with pytest.raises(CutError):
        first.run()
    second = Fit(tmp_path / "run", tiny_model, **settings).run(path)
    assert_same(reference(references, tmp_path, tiny_model, **settings), first, second, hook)


# Ends that can come before the last batch of an epoch: what ends the fit, and the settings that resume it.
FLAT = {"model": {"schedule": "constant", "warmup": 0}}  # a schedule that does not depend on the number of steps
ENDS: dict[str, tuple[dict[str, Any], Callable[[], list[Callback]], dict[str, Any]]] = {
    "steps": (FLAT | {"max_steps": 14}, list, FLAT | {"max_steps": 30}),
    "steps-in-the-first-epoch": (FLAT | {"max_steps": 1}, list, FLAT | {"max_steps": 30}),
    "steps-then-no-limit": (FLAT | {"max_steps": 14}, list, FLAT | {"max_steps": -1}),
    "steps-of-several-batches": (
        FLAT | {"max_steps": 6, "accumulate_grad_batches": 4}, list,
        FLAT | {"max_steps": 9, "accumulate_grad_batches": 4},
    ),
    "steps-and-an-average": (
        {"model": FLAT["model"] | {"average": 0.9}, "max_steps": 14}, list, {"model": FLAT["model"] | {"average": 0.9}}
    ),
    "time": ({}, lambda: [Clock(13)], {}),
    "time-within-an-accumulation": (
        {"accumulate_grad_batches": 4}, lambda: [Clock(13)], {"accumulate_grad_batches": 4}
    ),
    "time-within-a-short-group": (
        {"accumulate_grad_batches": 4}, lambda: [Clock(19)], {"accumulate_grad_batches": 4}
    ),
    "early-stopping": (
        {"val_check_interval": 5}, lambda: [EarlyStopping("val/loss", mode="max", patience=2, min_delta=10.0)],
        {"val_check_interval": 5},
    ),
    "early-stopping-within-an-accumulation": (
        {"val_check_interval": 6, "accumulate_grad_batches": 4},
        lambda: [EarlyStopping("val/loss", mode="max", patience=1, min_delta=10.0)],
        {"val_check_interval": 6, "accumulate_grad_batches": 4},
    ),
}  # fmt: skip


def take_extra_score(whole: Fit, first: Fit) -> float:
    """Drop the score of the weights with which the first fit ended, if the whole fit has none there."""
    points = first.history.points
    extra = [p for p in points if p[1].startswith("val/") and p[0] + 1 not in whole.scored()]
    first.history.points = [p for p in points if p not in extra]
    assert len({step for step, *_ in extra}) <= 1
    return next((value for _, name, value in extra if name == "val/loss"), float("inf"))


@pytest.mark.parametrize(
    "end", [pytest.param(end, marks=() if "time" in end or end == "steps" else pytest.mark.slow) for end in ENDS]
)
def test_a_fit_that_ended_within_an_epoch_is_resumed_there(
    references: dict[str, Fit], tmp_path: Path, tiny_model: Path, end: str
) -> None:
    before, callbacks, after = ENDS[end]
    last = LastCheckpoint()
    last.dirpath = str(tmp_path / "run")
    first = Fit(tmp_path / "run", tiny_model, *callbacks(), last, **before).run()
    second = Fit(tmp_path / "run", tiny_model, **after).run(last.path)
    whole = reference(references, tmp_path, tiny_model, **after)
    assert_same(whole, first, second, "end", take_extra_score(whole, first))


@pytest.mark.parametrize("end", ["steps-then-no-limit", "time-within-a-short-group"])
def test_an_older_checkpoint_that_counts_an_unfinished_epoch_as_finished(
    references: dict[str, Fit], tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    before, callbacks, after = ENDS[end]
    last = LastCheckpoint()
    last.dirpath = str(tmp_path / "run")
    with monkeypatch.context() as older:
        older.setattr(Position, "_has_left_epoch", lambda *_: False)
        first = Fit(tmp_path / "run", tiny_model, *callbacks(), last, **before).run()
    saved = torch.load(last.path, weights_only=True)
    del saved["glue_lit"]["scored_step"]
    torch.save(saved, last.path)
    second = Fit(tmp_path / "run", tiny_model, **after).run(last.path)
    whole = reference(references, tmp_path, tiny_model, **after)
    assert_same(whole, first, second, "end", take_extra_score(whole, first))


def test_an_older_checkpoint_of_an_epoch_end_is_resumed_in_the_next(
    references: dict[str, Fit], tmp_path: Path, tiny_model: Path
) -> None:
    path = tmp_path / "cut.ckpt"
    first = Fit(tmp_path / "run", tiny_model, SaveAndCut("on_train_epoch_end", 2, path))
    with pytest.raises(CutError):
        first.run()
    saved = torch.load(path, weights_only=True)
    del saved["glue_lit"]["scored_step"]
    torch.save(saved, path)
    second = Fit(tmp_path / "run", tiny_model).run(path)
    assert_same(reference(references, tmp_path, tiny_model), first, second, "on_train_epoch_end")


# Every version reads the states of a fit's parts here: names may be added, but none may be missing.
KEPT = {
    "fixed", "format", "means", "model_commit", "peft", "precision", "rows", "scored_step", "scores", "skipped_steps",
    "version",
}  # fmt: skip


def test_a_checkpoint_is_written_and_read_in_the_form_of_older_versions(
    references: dict[str, Fit], tmp_path: Path, tiny_model: Path
) -> None:
    path = tmp_path / "cut.ckpt"
    first = Fit(tmp_path / "run", tiny_model, SaveAndCut("on_train_batch_start", 6, path))
    with pytest.raises(CutError):
        first.run()
    saved = torch.load(path, weights_only=True)
    own = saved["glue_lit"]
    assert own.keys() >= KEPT
    assert "Position" not in saved["callbacks"]
    (means,) = own.pop("means")  # older versions wrote those of the first process, beside the rest
    own |= means | {"skipped_steps": 3}
    torch.save(saved, path)
    second = Fit(tmp_path / "run", tiny_model).run(path)
    assert second.model.parts.guard.skipped == 3
    assert_same(reference(references, tmp_path, tiny_model), first, second, "on_train_batch_start")


ARCHITECTURES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "roformer": ({}, {}),  # its positions are fixed when it is built from pretrained weights
    "big_bird": ({"attention_type": "block_sparse", "hidden_act": "gelu"}, {"dropout": 0.2}),  # full up to 28 tokens
    "gpt2": ({}, {"peft": {"peft_type": "LORA", "r": 4, "fan_in_fan_out": False}}),  # peft sets it to true
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures_with_random_state_are_resumed_exactly(tmp_path: Path, tiny_model: Path, name: str) -> None:
    """As `glue-lit fit --ckpt_path` resumes: the model is built from the checkpoint."""
    changes, settings = ARCHITECTURES[name]
    folder, path = tiny_folder(name, tmp_path / "model", tiny_model, **changes), tmp_path / "cut.ckpt"

    def fit(part: str, *callbacks: Callback) -> Fit:
        return Fit(tmp_path / part, folder, *callbacks, max_epochs=2, model=settings, precision="32-true")

    with pytest.raises(CutError):
        (first := fit("run", SaveAndCut("on_train_batch_start", 16, path))).run()
    for peft in {None, settings.get("peft") and "as it was"}:
        second = fit("run")
        if peft is None:
            second.model.hparams["peft"] = None
        second.model.use_architecture_of(torch.load(path, weights_only=True))
        second.run(path)
    whole = fit("whole").run()
    assert_same(whole, first, second, "on_train_batch_start")
    if name == "big_bird":
        lengths = {batch["input_ids"].shape[1] > 28 for batch in whole.data.train_dataloader()}
        assert lengths == {False, True}


class Fault(Callback):
    """Raise at the nth batch, in its backward pass."""

    def __init__(self, count: int) -> None:
        self.left = count

    def on_before_backward(self, *_: Any) -> None:
        self.left -= 1
        if self.left == 0:
            raise CutError


@pytest.mark.parametrize(("count", "batches"), [(2, 1), (9, 8), (11, 10), (12, 11)])
def test_an_exception_leaves_the_state_after_the_last_step(
    references: dict[str, Fit], tmp_path: Path, tiny_model: Path, count: int, batches: int
) -> None:
    last = LastCheckpoint()
    last.dirpath = str(tmp_path / "run")
    first = Fit(tmp_path / "run", tiny_model, Fault(count), last)
    with pytest.raises(CutError):
        first.run()
    assert last.saved_at == batches
    second = Fit(tmp_path / "run", tiny_model).run(last.path)
    assert_same(reference(references, tmp_path, tiny_model), first, second, "exception")


def test_an_exception_before_the_first_step_leaves_nothing(tmp_path: Path, tiny_model: Path) -> None:
    last = LastCheckpoint()
    last.dirpath = str(tmp_path / "run")
    with pytest.raises(CutError):
        Fit(tmp_path / "run", tiny_model, Fault(1), last).run()
    assert not last.path.exists()


def test_a_checkpoint_every_few_steps(tmp_path: Path, tiny_model: Path) -> None:
    last = LastCheckpoint(every=4)
    last.dirpath = str(tmp_path / "run")
    saved: list[int] = []

    class Count(Callback):
        def on_save_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
            saved.append(trainer.global_step)

    Fit(tmp_path / "run", tiny_model, Count(), last, max_epochs=2, limit_val_batches=0).run()
    # Every 4 steps and at the ends of epochs; without validation, each epoch has the best one, too.
    assert sorted(set(saved)) == [4, 8, 10, 12, 16, 20]


@pytest.mark.parametrize("count", [3, 13])
def test_worker_processes_are_resumed_exactly(
    references: dict[str, Fit], tmp_path: Path, tiny_model: Path, count: int
) -> None:
    path = tmp_path / "cut.ckpt"
    first = Fit(tmp_path / "run", tiny_model, SaveAndCut("on_train_batch_start", count, path), workers=1)
    with pytest.raises(CutError):
        first.run()
    second = Fit(tmp_path / "run", tiny_model, workers=1).run(path)
    assert_same(reference(references, tmp_path, tiny_model), first, second, "workers")


def test_the_same_seed_gives_the_same_weights_twice_and_another_one_others(
    references: dict[str, Fit], tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = reference(references, tmp_path, tiny_model).model.state_dict()
    again = Fit(tmp_path / "again", tiny_model).run().model.state_dict()
    assert all(torch.equal(again[name], whole[name]) for name in whole)
    monkeypatch.setenv("PL_GLOBAL_SEED", "6")
    other = Fit(tmp_path / "other", tiny_model).run().model.state_dict()
    assert not all(torch.equal(other[name], whole[name]) for name in whole)


def test_a_new_learning_rate_is_used(tmp_path: Path, tiny_model: Path) -> None:
    # The state of the scheduler contains the old one.
    path = tmp_path / "cut.ckpt"
    with pytest.raises(CutError):
        Fit(tmp_path / "run", tiny_model, SaveAndCut("on_train_epoch_end", 1, path)).run()
    second = Fit(tmp_path / "run", tiny_model)
    second.model.hparams["learning_rate"] = 1e-5
    second.model.hparams["weight_decay"] = 0.3
    second.run(path)
    rates = {step: value for step, name, value in second.history.points if name == "weights/learning_rate"}
    factor = 0.5 * (1 + np.cos(np.pi * (15 - 6) / 24))
    assert rates[15] == pytest.approx(1e-5 * factor, rel=1e-6)
    assert [group["weight_decay"] for group in second.trainer.optimizers[0].param_groups] == [0.3, 0.0]


def test_a_new_layer_decay_is_used(tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "cut.ckpt"
    with pytest.raises(CutError):
        Fit(tmp_path / "run", tiny_model, SaveAndCut("on_train_epoch_end", 1, path), model={"layer_decay": 0.9}).run()
    rates = [
        [group["initial_lr"] for group in fit.trainer.optimizers[0].param_groups]
        for fit in (
            Fit(tmp_path / "run", tiny_model, model={"layer_decay": 0.5}).run(path),
            Fit(tmp_path / "new", tiny_model, model={"layer_decay": 0.5}).run(),
        )
    ]
    assert rates[0] == rates[1]
    assert min(rates[0]) == pytest.approx(1e-3 * 0.5**3)


# Shorter texts are grouped differently: some rows would be seen twice, and others never.
@pytest.mark.parametrize(("setting", "before"), [("batch_size", 4), ("max_length", 64)])
def test_other_batches_in_the_middle_of_an_epoch_are_refused(
    tmp_path: Path, tiny_model: Path, setting: str, before: int
) -> None:
    path = tmp_path / "cut.ckpt"
    with pytest.raises(CutError):
        Fit(tmp_path / "run", tiny_model, SaveAndCut("on_train_batch_start", 4, path)).run()
    second = Fit(tmp_path / "run", tiny_model)
    second.data = GLUEDataModule(**second.data.hparams | {setting: 8})
    with pytest.raises(
        RunError, match=rf"data.{setting} {before}; now it is 8. Resume with {before}, or from a checkp"
    ):
        second.run(path)


def test_other_batches_after_an_epoch_are_fine(tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "cut.ckpt"
    with pytest.raises(CutError):
        Fit(tmp_path / "run", tiny_model, SaveAndCut("on_train_epoch_end", 1, path)).run()
    second = Fit(tmp_path / "run", tiny_model)
    second.data.hparams["batch_size"] = 8
    second.run(path)
    assert second.trainer.global_step == 10 + 2 * 5


def test_every_batch_of_every_device_has_its_own_seed() -> None:
    places = [(s, e, b, r) for s in range(3) for e in range(4) for b in range(50) for r in range(3)]
    seeds = {batch_seed(*place) for place in places}
    assert len(seeds) == len(places)
    assert batch_seed(42, 1, 2, 3) == 7947200846218324290  # the same on every machine and in every version


def test_a_fit_that_ended_early_stays_ended(tmp_path: Path, tiny_model: Path) -> None:
    # Killed between the last checkpoint and the final scores, it would train another epoch.
    def fit() -> tuple[Fit, LastCheckpoint]:
        last = LastCheckpoint()
        last.dirpath = str(tmp_path / "run")
        early = EarlyStopping("val/loss", mode="max", patience=0, min_delta=10.0)
        return Fit(tmp_path / "run", tiny_model, early, last, max_epochs=6), last

    first, last = fit()
    first.run()
    assert first.trainer.current_epoch == 2
    second, _ = fit()
    second.run(last.path)
    assert (second.trainer.current_epoch, second.trainer.global_step) == (2, 20)


# ---------------------------------------------------------------- broken states

OPTIMIZER = {"optimizer_states": [{"state": {0: {"step": 1}, 1: {"step": 1}}}], "lr_schedulers": [{"last_epoch": 1}]}
BEGIN = {"epoch_progress": {"current": {"processed": 0}}, "epoch_loop.batch_progress": {"is_last_batch": False}}


def test_epoch_and_step_are_read_from_a_checkpoint() -> None:
    loop = {"epoch_progress": {"current": {"processed": 3}}, "epoch_loop.batch_progress": {"is_last_batch": True}}
    assert read_progress(Path("a"), {"loops": {"fit_loop": loop | {"more": 1}}, "global_step": 7} | OPTIMIZER, BEGIN)[
        1:
    ] == (3, 7)


@pytest.mark.parametrize(
    "loops",
    [
        None, [], {}, {"fit_loop": None}, {"fit_loop": {}},
        {"fit_loop": BEGIN | {"epoch_progress": {"current": {"processed": "x"}}}},
        {"fit_loop": BEGIN | {"epoch_progress": {"current": {"processed": -1}}}},
        {"fit_loop": BEGIN | {"epoch_progress": {"current": {"processed": True}}}},
        {"fit_loop": BEGIN | {"epoch_loop.batch_progress": {"is_last_batch": 0}}},
        {"fit_loop": BEGIN | {"epoch_loop.batch_progress": [1]}},
    ],
)  # fmt: skip
def test_a_checkpoint_without_loops_is_refused(loops: Any) -> None:
    with pytest.raises(RunError, match="has no valid record of its training progress"):
        read_progress(Path("some.ckpt"), {"loops": loops, "global_step": 1} | OPTIMIZER, BEGIN)


@pytest.mark.parametrize("steps", [None, -1, "7"])
def test_a_checkpoint_without_its_steps_is_refused(steps: Any) -> None:
    with pytest.raises(RunError, match="has no valid record of its training progress"):
        read_progress(Path("some.ckpt"), {"loops": {"fit_loop": BEGIN}, "global_step": steps} | OPTIMIZER, BEGIN)


@pytest.mark.parametrize(
    "odd",
    [
        {"optimizer_states": []}, {"optimizer_states": None}, {"lr_schedulers": []}, {"lr_schedulers": None},
        {"lr_schedulers": [{}]}, {"lr_schedulers": [{"last_epoch": None}]},
        {"optimizer_states": [3]}, {"optimizer_states": [{}]}, {"optimizer_states": [{"state": {0: []}}]},
        {"optimizer_states": [{"state": {0: {"step": 1}, 1: {}}}]},
    ],
)  # fmt: skip
def test_an_optimizer_without_its_state_is_refused(odd: dict[str, Any]) -> None:
    with pytest.raises(
        RunError, match=r"has no valid state of its optimizer or schedule.*`--model\.init_from some\.ckpt`"
    ):
        read_progress(Path("some.ckpt"), {"loops": {"fit_loop": BEGIN}, "global_step": 1} | OPTIMIZER | odd, BEGIN)


@pytest.mark.parametrize(
    "odd",
    [
        {"optimizer_states": None}, {"optimizer_states": [{}]}, {"lr_schedulers": 3}, {"lr_schedulers": [None]},
        {"callbacks": {"BestCheckpoint": 1}, "optimizer_states": [{"state": 1, "param_groups": [1]}]},
    ],
)  # fmt: skip
def test_damaged_training_states_are_refused(odd: dict[str, Any], tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "cut.ckpt"
    with pytest.raises(CutError):
        Fit(tmp_path / "run", tiny_model, SaveAndCut("on_train_epoch_end", 1, path)).run()
    torch.save(torch.load(path, weights_only=True) | odd, path)
    with pytest.raises(Exception, match=r".") as error:
        Fit(tmp_path / "run", tiny_model).run(path)
    assert (said := explain_restore_error(path, error.value)) is not None
    assert said.startswith(f"{path} cannot be restored: the states in it do not fit this training (")


def test_an_error_of_training_is_not_blamed_on_the_checkpoint(tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "cut.ckpt"
    with pytest.raises(CutError):
        Fit(tmp_path / "run", tiny_model, SaveAndCut("on_train_epoch_end", 1, path)).run()
    with pytest.raises(CutError) as error:
        Fit(tmp_path / "run", tiny_model, SaveAndCut("on_train_epoch_end", 1, path)).run(path)
    assert explain_restore_error(path, error.value) is None


def test_missing_memory_is_not_blamed_on_the_checkpoint(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cut.ckpt"
    with pytest.raises(CutError):
        Fit(tmp_path / "run", tiny_model, SaveAndCut("on_train_epoch_end", 1, path)).run()

    def out(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(torch.optim.AdamW, "load_state_dict", out)
    with pytest.raises(MemoryError) as error:
        Fit(tmp_path / "run", tiny_model).run(path)
    assert explain_restore_error(path, error.value) is None
    assert explain_restore_error(None, error.value) is None


def test_other_groups_of_parameters_are_refused(tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "cut.ckpt"
    with pytest.raises(CutError):
        Fit(tmp_path / "run", tiny_model, SaveAndCut("on_train_epoch_end", 1, path)).run()
    for settings in ({"freeze": 1}, {"layer_decay": 0.9}):
        with pytest.raises(RunError, match=r"optimizer trains 41 parameters in 2 groups.*Leave both as they were"):
            Fit(tmp_path / "run", tiny_model, model=settings).run(path)
