"""Every callback that Lightning ships: it works with exact resume, or is refused before anything is read."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from command_line import glue_lit
from kept_points import Points
from lightning.pytorch import Callback, Trainer, callbacks
from lightning.pytorch.tuner.tuning import Tuner

from glue_lit import GLUEDataModule, SequenceClassifier
from glue_lit.cli.parser import Parser, add_checkpoints, add_trainer_model_and_data
from glue_lit.data.accumulation import planned_steps
from glue_lit.errors import UsageError
from glue_lit.system.library_warnings import filter_warnings
from glue_lit.training.provenance import recipe_of
from glue_lit.training.refused_callbacks import REFUSED

SEED = 3
BATCHES = 5  # an epoch: 20 rows in batches of 4


class Writer(callbacks.BasePredictionWriter):
    """A callback of a user's own."""


class Bar(callbacks.ProgressBar):
    """A callback of a user's own."""

    def disable(self) -> None: ...


Make = Callable[[Path], Callback]
WORKS: dict[str, Make] = {
    "BasePredictionWriter": lambda _: Writer(),
    "Callback": lambda _: Callback(),
    "Checkpoint": lambda _: callbacks.Checkpoint(),
    "DeviceStatsMonitor": lambda _: callbacks.DeviceStatsMonitor(cpu_stats=False),
    "EarlyStopping": lambda _: callbacks.EarlyStopping("val/loss", patience=9),
    "GradientAccumulationScheduler": lambda _: callbacks.GradientAccumulationScheduler({0: 2, 1: 3}),
    "LambdaCallback": lambda _: callbacks.LambdaCallback(on_train_start=lambda *_: None),
    "LearningRateMonitor": lambda _: callbacks.LearningRateMonitor(),
    "ModelCheckpoint": lambda place: callbacks.ModelCheckpoint(place, monitor="val/loss", every_n_train_steps=3),
    "ModelSummary": lambda _: callbacks.ModelSummary(),
    "ProgressBar": lambda _: Bar(),
    "RichModelSummary": lambda _: callbacks.RichModelSummary(),
    "RichProgressBar": lambda _: callbacks.RichProgressBar(),
    "TQDMProgressBar": lambda _: callbacks.TQDMProgressBar(),
    "ThroughputMonitor": lambda _: callbacks.ThroughputMonitor(lambda batch: len(batch["labels"])),
    "Timer": lambda _: callbacks.Timer("00:01:00:00"),
}
IS_REFUSED: dict[str, tuple[Callable[[], Callback], str]] = {
    "BackboneFinetuning": (lambda: callbacks.BackboneFinetuning(), "--model.freeze N"),
    "BaseFinetuning": (lambda: callbacks.BaseFinetuning(), "--model.layer_decay"),
    "BatchSizeFinder": (lambda: callbacks.BatchSizeFinder(), "--data.batch_size"),
    "EMAWeightAveraging": (lambda: callbacks.EMAWeightAveraging(), "--model.average 0.99"),
    "LearningRateFinder": (lambda: callbacks.LearningRateFinder(), "glue-lit tune"),
    "ModelPruning": (lambda: callbacks.ModelPruning("l1_unstructured"), "glue-lit export"),
    "OnExceptionCheckpoint": (lambda: callbacks.OnExceptionCheckpoint("."), "glue_lit.LastCheckpoint()"),
    "SpikeDetection": (lambda: callbacks.SpikeDetection(), "--model.non_finite"),
    "StochasticWeightAveraging": (lambda: callbacks.StochasticWeightAveraging(1e-2), "--model.average 0.99"),
    "WeightAveraging": (lambda: callbacks.WeightAveraging(), "--model.average 0.99"),
}


NEEDED: dict[str, dict[str, Any]] = {
    "EarlyStopping": {"monitor": "val/loss"},
    "GradientAccumulationScheduler": {"scheduling": {"0": 2}},
    "ThroughputMonitor": {"batch_size_fn": "builtins.len"},
    "Timer": {"duration": "00:00:10:00"},
}


class CutError(RuntimeError):
    """Raised to cut a fit."""


class Cut(Callback):
    """Write a checkpoint where the nth batch begins, and end the fit there."""

    def __init__(self, path: Path, count: int) -> None:
        self.path, self.left = path, count

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self.left -= 1
        if self.left == 0:
            trainer.save_checkpoint(self.path)
            raise CutError


class Rates(Callback):
    """Keeps the learning rate of each step."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        self.rates.append(optimizer.param_groups[0]["lr"])


@pytest.fixture(autouse=True)
def seeded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    filter_warnings()
    monkeypatch.setenv("PL_GLOBAL_SEED", str(SEED))
    monkeypatch.chdir(tmp_path)


def fit(model: Path, place: Path, *more: Callback, checkpoint: Path | None = None) -> Trainer:
    data = GLUEDataModule(
        task="cola", source="demo", tokenizer=str(model), batch_size=4, train_limit=20, validation_limit=9
    )
    classifier = SequenceClassifier(task="cola", name_or_path=str(model), learning_rate=1e-3)
    mine = {type(callback) for callback in more}
    shows = any(issubclass(kind, callbacks.ProgressBar) for kind in mine)
    trainer = Trainer(
        accelerator="cpu", precision="32-true", max_epochs=2, callbacks=list(more), log_every_n_steps=1,
        logger=Points(), default_root_dir=place, num_sanity_val_steps=0, enable_progress_bar=shows,
        enable_model_summary=False, enable_checkpointing=any(issubclass(kind, callbacks.Checkpoint) for kind in mine),
    )  # fmt: skip
    torch.manual_seed(SEED)
    trainer.fit(classifier, data, ckpt_path=checkpoint, weights_only=True)
    return trainer


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return trainer.lightning_module.state_dict()


def test_every_callback_of_lightning_is_in_one_of_the_two_tables() -> None:
    assert sorted(callbacks.__all__) == sorted([*WORKS, *IS_REFUSED])


@pytest.fixture(scope="module")
def plain(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    filter_warnings()
    os.environ["PL_GLOBAL_SEED"] = str(SEED)
    return weights(fit(tiny_model, tmp_path_factory.mktemp("plain")))


@pytest.mark.filterwarnings("ignore:.*flops_per_batch", "ignore:.*`compute` method of metric MeanMetric")
@pytest.mark.parametrize("name", WORKS)
def test_an_allowed_callback_is_resumed_exactly(
    name: str, tiny_model: Path, tmp_path: Path, plain: dict[str, torch.Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    make = WORKS[name]
    whole = fit(tiny_model, tmp_path, make(tmp_path / "whole"))
    path = tmp_path / "cut.ckpt"
    with pytest.raises(CutError):
        fit(tiny_model, tmp_path, make(tmp_path / "cut"), Cut(path, BATCHES + 4))  # in the second epoch
    second = fit(tiny_model, tmp_path, make(tmp_path / "second"), checkpoint=path)
    assert second.global_step == whole.global_step
    assert all(torch.equal(value, weights(whole)[key]) for key, value in weights(second).items())
    if name != "GradientAccumulationScheduler":
        assert all(torch.equal(value, weights(whole)[key]) for key, value in plain.items())


@pytest.mark.filterwarnings("ignore:.*was called without a model", "ignore:.*no last checkpoint available")
@pytest.mark.parametrize("name", IS_REFUSED)
def test_a_refused_callback_is_refused_in_python(
    name: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GLUEDataModule, "prepare_data", lambda _: pytest.fail("data were read"))
    monkeypatch.setattr(GLUEDataModule, "setup", lambda *_: pytest.fail("data were read"))
    make, instead = IS_REFUSED[name]
    with pytest.raises(UsageError, match=rf"trainer\.callbacks: {name} ") as raised:
        fit(tiny_model, tmp_path, make())
    assert instead in str(raised.value)
    kind: Any = type(make())
    callback = make()
    callback.__class__ = type("Mine", (kind,), {})
    with pytest.raises(UsageError, match=r"trainer\.callbacks: Mine "):
        fit(tiny_model, tmp_path, callback)


def test_the_command_refuses_before_it_makes_a_run(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("fit", "--data.source", "demo", "--model.name_or_path", tiny_model, "--trainer.accelerator", "cpu")
    for name in ("LearningRateFinder", "BatchSizeFinder", "EMAWeightAveraging"):
        assert glue_lit(monkeypatch, *arguments, f"--trainer.callbacks+={name}") == 2
        assert f"trainer.callbacks: {name} " in capsys.readouterr().err
    schedule = ("--trainer.callbacks+=GradientAccumulationScheduler", '--trainer.callbacks.scheduling={"0": 2}')
    assert glue_lit(monkeypatch, *arguments, *schedule, "--trainer.accumulate_grad_batches=4") == 2
    assert "trainer.accumulate_grad_batches: got 4 and a GradientAccumulationScheduler" in capsys.readouterr().err
    assert not (tmp_path / "lightning_logs").exists()


@pytest.fixture(scope="module")
def parser() -> Parser:
    parser = Parser()
    add_trainer_model_and_data(parser)
    add_checkpoints(parser)
    parser.add_argument("--config", action="config")
    return parser


@pytest.mark.parametrize("name", WORKS)
def test_a_callback_is_written_into_the_configuration_and_read_back(name: str, parser: Parser, tmp_path: Path) -> None:
    needed, file = NEEDED.get(name, {}), tmp_path / "given.yaml"
    file.write_text(yaml.dump({"trainer": {"callbacks": [{"class_path": name, "init_args": needed}]}}))
    flags = [f"--trainer.callbacks.{key}={value}" for key, value in needed.items()]
    for arguments in ([f"--trainer.callbacks+={name}", *flags], [f"--trainer.callbacks={name}", *flags],
                      [f"--config={file}"]):  # fmt: skip
        written = parser.dump(parser.parse_args(arguments), skip_none=False)
        back = parser.parse_string(written)
        assert parser.dump(back, skip_none=False) == written
        said = yaml.safe_load(written)["trainer"]["callbacks"]
        for entry in said if isinstance(said, list) else [said]:
            assert entry["class_path"].rpartition(".")[2] == name
            assert needed.items() <= entry.get("init_args", {}).items()
            assert "Unable" not in str(entry)


def fit_of_seconds(tiny_model: Path) -> tuple[str, ...]:
    return (
        "fit", "--data.source=demo", f"--model.name_or_path={tiny_model}", "--trainer.accelerator=cpu",
        "--trainer.precision=32-true", "--trainer.max_epochs=1", "--data.train_limit=8", "--data.validation_limit=9",
    )  # fmt: skip


def test_a_single_callback_needs_no_list(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = fit_of_seconds(tiny_model)
    assert glue_lit(monkeypatch, *arguments, "--trainer.callbacks=BatchSizeFinder") == 2
    assert "trainer.callbacks: BatchSizeFinder " in capsys.readouterr().err
    stop = ("--trainer.callbacks=EarlyStopping", "--trainer.callbacks.monitor=val/loss", "--early_stopping=2")
    assert glue_lit(monkeypatch, *arguments, *stop) == 2
    assert "--early_stopping: got 2, and an EarlyStopping in trainer.callbacks." in capsys.readouterr().err
    assert not (tmp_path / "lightning_logs").exists()
    timer = {"class_path": "Timer", "init_args": {"duration": "00:00:10:00"}}
    Path("timer.yaml").write_text(yaml.dump({"trainer": {"callbacks": timer}}))
    assert glue_lit(monkeypatch, *arguments, "--config=timer.yaml") == 0
    config = yaml.safe_load((tmp_path / "lightning_logs/cola/version_0/config.yaml").read_text())
    assert config["trainer"]["callbacks"]["init_args"]["interval"] == "step"
    assert "Timer (duration 00:00:10:00, interval step" in recipe_of(config)["Callbacks"]
    assert glue_lit(monkeypatch, "fit", "--ckpt_path=last", "--trainer.max_epochs=2") == 0
    assert glue_lit(monkeypatch, "validate", "--ckpt_path=best") == 0


def test_a_run_that_was_trained_with_a_refused_callback_is_scored(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = fit_of_seconds(tiny_model)
    assert glue_lit(monkeypatch, *arguments) == 0
    config = tmp_path / "lightning_logs/cola/version_0/config.yaml"
    finder = "callbacks:\n  - class_path: lightning.pytorch.callbacks.BatchSizeFinder"
    config.write_text(config.read_text().replace("callbacks: null", finder, 1))
    assert "BatchSizeFinder" in config.read_text()
    capsys.readouterr()
    assert glue_lit(monkeypatch, "validate", "--ckpt_path=best") == 0
    assert "matthews_correlation" in capsys.readouterr().out
    assert glue_lit(monkeypatch, "fit", "--ckpt_path=last") == 2
    assert "trainer.callbacks: BatchSizeFinder" in capsys.readouterr().err


def test_a_scheduled_accumulation_has_its_own_schedule_of_the_learning_rate(tiny_model: Path, tmp_path: Path) -> None:
    rates = Rates()
    trainer = fit(tiny_model, tmp_path, callbacks.GradientAccumulationScheduler({1: 3}), rates)
    # 5 batches: 5 steps in the first epoch, then 3 + 2 of them make 2 steps.
    assert trainer.global_step == planned_steps(trainer) == 7
    assert rates.rates == pytest.approx([1e-3 * (7 - step) / 7 for step in range(7)])
    trainer.fit_loop.epoch_loop.max_steps = 6
    assert planned_steps(trainer) == 6


def test_a_fit_trains_with_the_values_that_the_tuner_found_before(tiny_model: Path, tmp_path: Path) -> None:
    data = GLUEDataModule(
        task="cola", source="demo", tokenizer=str(tiny_model), batch_size=4, train_limit=40, validation_limit=9
    )
    classifier = SequenceClassifier(task="cola", name_or_path=str(tiny_model), learning_rate=1e-3)
    rates = Rates()
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, callbacks=[rates], logger=False, default_root_dir=tmp_path,
        num_sanity_val_steps=0, enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    found = Tuner(trainer).lr_find(classifier, datamodule=data, num_training=12)
    assert found is not None
    classifier.hparams["learning_rate"] = 3e-3  # as `update_attr` does after enough steps to find one
    rates.rates.clear()
    trainer.fit(classifier, data)
    assert rates.rates == pytest.approx([3e-3 * (10 - step) / 10 for step in range(10)])


def test_each_refusal_says_why_and_what_to_use() -> None:
    for why, instead in REFUSED.values():
        assert why.endswith(".")
        assert "`" in instead
