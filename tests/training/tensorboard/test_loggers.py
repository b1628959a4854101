"""Loggers of the user's choice: what is shown beyond numbers must not fail on them."""

import csv
import json
import shutil
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml
from command_line import glue_lit as command
from lightning.pytorch.loggers import Logger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

CURVES = {
    "train/loss", "weights/learning_rate", "weights/gradient_norm", "work/samples_per_second", "work/padding",
    "val/accuracy", "val/loss",
}  # fmt: skip


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def fit(monkeypatch: pytest.MonkeyPatch, tiny_model: Path, loggers: Any, *more: str) -> int:
    Path("loggers.yaml").write_text(yaml.safe_dump({"trainer": {"logger": loggers}}))
    return command(
        monkeypatch, "fit", "--config=loggers.yaml", "--data.task=rte", "--data.source=demo",
        f"--model.name_or_path={tiny_model}", "--data.train_limit=32", "--data.validation_limit=15",
        "--trainer.max_epochs=2", "--trainer.accelerator=cpu", "--trainer.log_every_n_steps=1", *more,
    )  # fmt: skip


def named(kind: str, **settings: str) -> dict[str, Any]:
    return {"class_path": f"lightning.pytorch.loggers.{kind}", "init_args": {"save_dir": "logs", **settings}}


def columns(path: Path) -> set[str]:
    with path.open() as file:
        return set(next(csv.reader(file)))


RUN = Path("lightning_logs/rte/version_0")


def test_the_csv_logger_gets_every_curve(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(monkeypatch, tiny_model, named("CSVLogger")) == 0
    assert columns(Path("logs/lightning_logs/version_0/metrics.csv")) >= CURVES
    assert (RUN / "checkpoints" / "best.ckpt").is_file()
    assert (RUN / "metrics.json").is_file()
    assert command(monkeypatch, "validate", "--ckpt_path", "best") == 0
    capsys.readouterr()
    assert command(monkeypatch, "runs", "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["run"], found["state"]) == (str(RUN.absolute()), "finished")


def test_a_resumed_fit_stays_in_its_run(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fit(monkeypatch, tiny_model, named("CSVLogger"), "--model.learning_rate=1e-3") == 0
    # as the versions that wrote the run where the first logger has its files
    before = shutil.move(RUN, Path("logs/lightning_logs/version_0").with_name("version_9"))
    best, record = (before / "checkpoints/best.ckpt").read_bytes(), json.loads((before / "metrics.json").read_text())
    # with a learning rate of 0, no score gets better
    on = ("fit", "--run", before, "--ckpt_path=last", "--trainer.max_epochs=3", "--model.learning_rate=1e-12")
    assert command(monkeypatch, *on) == 0
    assert (before / "checkpoints/best.ckpt").read_bytes() == best
    after = json.loads((before / "metrics.json").read_text())
    assert after["metrics"] == record["metrics"]
    assert after["epochs"] == 3


def test_two_loggers_get_the_same_curves(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loggers = [named("TensorBoardLogger", name="board"), named("CSVLogger", name="table")]
    assert fit(monkeypatch, tiny_model, loggers) == 0
    assert columns(Path("logs/table/version_0/metrics.csv")) >= CURVES
    found = EventAccumulator(str(Path("logs/board/version_0")))
    found.Reload()
    assert set(found.Tags()["scalars"]) >= CURVES | {"val/best_accuracy"}
    assert found.Tags()["images"] == ["val/confusion_matrix"]


class ScalarsOnly(Logger):
    """Like MLflow's and Weights & Biases', whose experiment lacks TensorBoard's methods."""

    name = "scalars-only"
    version = "0"
    save_dir = "logs"
    metrics: dict[str, float] = {}
    settings: dict[str, Any] = {}

    def __init__(self, project: str = "") -> None:
        super().__init__()
        self.project = project

    @property
    def experiment(self) -> object:
        return object()

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        self.settings.update(params)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        assert all(isinstance(value, int | float) for value in metrics.values())
        self.metrics.update(metrics)


@pytest.mark.parametrize("beside", [(), ("TensorBoardLogger",)], ids=["alone", "beside-tensorboard"])
def test_a_logger_of_numbers_only(beside: tuple[str, ...], tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning.pytorch.loggers.ScalarsOnly", ScalarsOnly, raising=False)
    ScalarsOnly.metrics.clear()
    own = {"class_path": "lightning.pytorch.loggers.ScalarsOnly", "init_args": {"project": "mine"}}
    assert fit(monkeypatch, tiny_model, [own, *map(named, beside)], "--trainer.max_epochs=1") == 0
    assert set(ScalarsOnly.metrics) >= CURVES
    assert ScalarsOnly.settings["learning_rate"] == 2e-5


class WithoutKey(ScalarsOnly):
    @property
    def experiment(self) -> object:
        raise RuntimeError("api_key not configured")


def test_a_logger_that_fails_at_its_start_leaves_no_run(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lightning.pytorch.loggers.WithoutKey", WithoutKey, raising=False)
    assert fit(monkeypatch, tiny_model, {"class_path": "lightning.pytorch.loggers.WithoutKey"}) == 1
    assert "api_key not configured" in capsys.readouterr().err
    assert not [*Path("lightning_logs").rglob("version_*")]


class PlacedByMLflow(ScalarsOnly):
    """With the arguments of Lightning's MLFlowLogger that say where it writes."""

    def __init__(self, tracking_uri: str | None = None, save_dir: str = "./mlruns") -> None:
        super().__init__()
        self.settings["place"] = tracking_uri or save_dir


@pytest.mark.parametrize("allows", [None, False, True])
def test_mlflow_is_given_no_folder_that_it_refuses(
    allows: bool | None, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Older versions, without the variable, take one."""
    mlflow, variables = ModuleType("mlflow"), ModuleType("mlflow.environment_variables")
    mlflow.__spec__ = ModuleSpec("mlflow", None)
    if allows is not None:
        variables.MLFLOW_ALLOW_FILE_STORE = SimpleNamespace(get=lambda: allows)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setitem(sys.modules, "mlflow.environment_variables", variables)
    monkeypatch.setattr("lightning.pytorch.loggers.MLFlowLogger", PlacedByMLflow)
    own = {"class_path": "lightning.pytorch.loggers.MLFlowLogger", "init_args": {"save_dir": "runs"}}
    assert fit(monkeypatch, tiny_model, own, "--trainer.fast_dev_run=true") == (2 if allows is False else 0)
    if allows is False:
        assert "Give it `tracking_uri: sqlite:///runs/mlflow.db` in its place" in capsys.readouterr().err
    else:
        assert PlacedByMLflow.settings["place"] == "runs"


@pytest.mark.parametrize("asked", [None, "sqlite:///mine.db"])
def test_mlflow_writes_where_it_does_by_itself(
    asked: str | None, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = ModuleType("mlflow")
    mlflow.__spec__ = ModuleSpec("mlflow", None)
    mlflow.get_tracking_uri = lambda: "sqlite:///mlflow.db"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setattr("lightning.pytorch.loggers.MLFlowLogger", PlacedByMLflow)
    own = {"class_path": "lightning.pytorch.loggers.MLFlowLogger", "init_args": {"tracking_uri": asked}}
    assert fit(monkeypatch, tiny_model, own, "--trainer.fast_dev_run=true") == 0
    assert PlacedByMLflow.settings["place"] == (asked or "sqlite:///mlflow.db")
