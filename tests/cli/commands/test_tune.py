"""`glue-lit tune` with real trainings of a tiny model, each in a process of its own."""

import contextlib
import csv
import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import warm
import yaml

from glue_lit.cli.commands.tune import tune as tune_here
from glue_lit.errors import UsageError

SPACE = "{model.learning_rate: {type: float, low: 1e-5, high: 1e-2, log: true}}"
FIT = ("--data.task=sst2", "--data.source=demo", "--data.validation_limit=40", "--trainer.accelerator=cpu",
       "--trainer.max_epochs=2", "--engine.gpus_per_job=0",
       "--engine.cpus_per_job=1")  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tune")


def command(tiny_model: Path, *arguments: str) -> list[str]:
    model = f"--model.name_or_path={tiny_model}"
    return ["-m", "glue_lit", "tune", *FIT, model, f"--tune.space={SPACE}", *arguments]


def tune(folder: Path, tiny_model: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return warm.run(*command(tiny_model, *arguments), folder=folder)


def trials(search: Path) -> list[dict[str, str]]:
    with (search / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def trainings(folder: Path) -> list[int]:
    """Processes of the searches in a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):  # it has ended
            if path.readlink() == folder:
                found.append(int(path.parent.name))
    return found


@pytest.fixture(autouse=True)
def none_left(folder: Path) -> Iterator[None]:
    yield
    until = time.monotonic() + 90
    while trainings(folder) and time.monotonic() < until:
        time.sleep(0.2)
    assert not trainings(folder)


def test_a_search_ends_with_settings_that_fit_uses(folder: Path, tiny_model: Path) -> None:
    arguments = ("--tune.trials=2", "--tune.train_fraction=0.2", "--tune.refit=2", "--checkpoint.monitor=val/loss")
    done = tune(folder, tiny_model, *arguments, "--engine.slots=2")
    assert done.returncode == 0, done.stderr
    search = folder / "lightning_logs" / "tune" / "sst2"
    rows = trials(search)
    assert [row["state"] for row in rows] == ["complete"] * 2
    best = min(rows, key=lambda row: float(row["val/loss"]))
    for row in rows:
        run = search / row["run"]
        record = json.loads((run / "metrics.json").read_text())
        assert record["metrics"]["val/loss"] == float(row["val/loss"])
        assert record["config"]["model"]["learning_rate"] == pytest.approx(float(row["model.learning_rate"]))
        assert record["config"]["data"]["train_limit"] == 0.2
        kept = ["best.ckpt"] if (row is best) else []
        assert [path.name for path in (run / "checkpoints").iterdir()] == kept
    settings = yaml.safe_load((search / "best.yaml").read_text())
    assert settings == {"model": {"learning_rate": pytest.approx(float(best["model.learning_rate"]))}}
    assert best["val/loss"][:6] in (search / "best.yaml").read_text()
    for name in ("history.png", "importance.png", "slices.png"):
        assert (search / name).read_bytes().startswith(b"\x89PNG")
    page = (search / "pictures.html").read_text()
    assert "default-src 'none'" in page  # as in a report, no script runs and nothing is loaded
    assert "<script" not in page
    assert page.count("<svg") == 3
    assert f">{float(best['val/loss']):.4f}<" in page
    assert 'data-run="model.learning_rate"' in page
    study = optuna.load_study(study_name="sst2", storage=f"sqlite:///{search / 'study.db'}")
    assert study.best_trial.number == int(best["trial"])
    # on all rows, once for each seed
    records = [json.loads(p.read_text()) for p in sorted((search / "refit").rglob("metrics.json"))]
    assert [record["seed"] for record in records] == [1, 2]
    assert all(record["config"]["data"]["train_limit"] is None for record in records)
    assert "On all rows val/loss" in done.stdout
    # and a fit takes the file, by the command in it
    said = (search / "best.yaml").read_text().splitlines()[1].removeprefix("# glue-lit ")
    fit = warm.run("-m", "glue_lit", *said.split(), "--print_config", folder=folder)
    assert fit.returncode == 0, fit.stderr
    given = yaml.safe_load(fit.stdout)
    assert given["model"]["learning_rate"] == settings["model"]["learning_rate"]
    assert (given["data"]["task"], given["model"]["name_or_path"]) == ("sst2", str(tiny_model))
    # the same again has nothing to do
    again = tune(folder, tiny_model, *arguments, "--json")
    assert again.returncode == 0
    assert "0 of 2 trials to run" in again.stderr
    document = json.loads(again.stdout)
    assert document["best"]["value"] == float(best["val/loss"])
    assert [trial["params"]["model.learning_rate"] for trial in document["trials"]] == [
        pytest.approx(float(row["model.learning_rate"])) for row in rows
    ]
    assert [run["value"] for run in document["refit"]] == [record["metrics"]["val/loss"] for record in records]
    other = tune(folder, tiny_model, "--checkpoint.monitor=val/loss")
    assert other.returncode == 2
    assert "there is a search 'sst2' with another train_fraction" in other.stderr


def test_a_search_on_a_task_of_ones_own_reads_it_from_its_data(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("text,label\n" + "".join(f"word {n},{'abc'[n % 3]}\n" for n in range(60)))
    (tmp_path / "mine.yaml").write_text("data: {task: mine, source: mine.csv, custom: {text: text}}")
    done = warm.run(
        "-m", "glue_lit", "tune", "--config", "mine.yaml", "--model.name_or_path", tiny_model, "--tune.trials=1",
        f"--tune.space={SPACE}", "--trainer.max_steps=2", *FIT[3:4], *FIT[5:], folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    search = tmp_path / "lightning_logs" / "tune" / "mine"
    (row,) = trials(search)
    record = json.loads((search / row["run"] / "metrics.json").read_text())
    assert float(row["val/accuracy"]) == record["metrics"]["val/accuracy"]
    assert record["config"]["data"]["custom"]["labels"] == ["a", "b", "c"]


def wait_for(condition: Any, seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_killed_search_is_resumed(folder: Path, tiny_model: Path) -> None:
    arguments = (
        "--tune.name=killed",
        "--tune.trials=2",
        "--engine.slots=2",
        "--trainer.max_epochs=20",
        "--data.train_limit=100",
    )
    search = folder / "lightning_logs" / "tune" / "killed"
    driver = warm.start(*command(tiny_model, *arguments), folder=folder)
    wait_for(lambda: list(search.rglob("last.ckpt")))  # some way into the first trials
    driver.send_signal(signal.SIGSTOP)  # so that it cannot come to its end meanwhile
    second = tune(folder, tiny_model, *arguments)
    assert second.returncode == 1
    assert "Another process is working on the search" in second.stderr
    driver.send_signal(signal.SIGKILL)
    assert driver.wait().returncode == -signal.SIGKILL
    wait_for(lambda: not trainings(folder))  # no child survives its driver
    study = optuna.load_study(study_name="killed", storage=f"sqlite:///{search / 'study.db'}")
    begun = {trial.number: trial.params for trial in study.get_trials()}
    assert len(begun) in (1, 2)
    done = tune(folder, tiny_model, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = trials(search)
    assert [row["state"] for row in rows] == ["complete"] * 2
    for number, params in begun.items():
        assert float(rows[number]["model.learning_rate"]) == pytest.approx(params["model.learning_rate"])
    assert all(len(list(path.rglob("metrics.json"))) == 1 for path in (search / "trials").iterdir())  # none ran twice


def test_ctrl_c_keeps_everything(folder: Path, tiny_model: Path) -> None:
    arguments = ("--tune.name=stopped", "--tune.trials=1", "--trainer.max_epochs=30")
    search = folder / "lightning_logs" / "tune" / "stopped"
    driver = warm.start(*command(tiny_model, *arguments), folder=folder)
    wait_for(lambda: list(search.rglob("last.ckpt")))
    driver.send_signal(signal.SIGINT)
    stopped = driver.wait()
    assert stopped.returncode == 130
    assert "The same command resumes the search." in stopped.stdout + stopped.stderr
    assert not trainings(folder)
    assert list(search.rglob("last.ckpt"))
    assert not list(search.rglob("metrics.json"))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--tune.trials=0",), 2, "--tune.trials: got 0, allowed: 1 or more"),
        (("--tune.trial=3",), 2, "--tune.trial: there is no such flag. Did you mean '--tune.trials'?"),
        (("--tune.space={model.lr: {type: float}}",), 2, "tune.space: model.lr: `fit` has no such setting"),
        (("--tune.train_fraction=2",), 2, "--tune.train_fraction: got 2.0, allowed: above 0, up to 1"),
        (("--tune.name=..",), 2, "--tune.name: got '..', allowed: the name of a folder"),
        (("--tune.name=a/b",), 2, "--tune.name: got 'a/b', allowed: the name of a folder"),
        (("--tune.sampler=optuna.samplers.None",), 2, "there is no class optuna.samplers.None"),
        (("--checkpoint.monitor=train/loss",), 2, "train/loss is measured on training rows"),
        (("--model.learning_rat=1",), 2, "--model.learning_rat: there is no such flag"),
        (("--tune.name=no", "--data.source=/nowhere", "--engine.patience=2", "--engine.slots=1"), 1,
         "2 trainings in a row failed in the same way"),
    ],
)  # fmt: skip
def test_bad_input_is_one_message(
    arguments: tuple[str, ...], code: int, message: str, folder: Path, tiny_model: Path
) -> None:
    done = tune(folder, tiny_model, *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    if code == 1:
        rows = trials(folder / "lightning_logs" / "tune" / "no")
        assert [row["state"] for row in rows] == ["fail"] * 2
        assert "there is no file or folder '/nowhere'" in rows[0]["error"]
        assert "there is no file or folder '/nowhere'" in done.stderr


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--trainer.max_epochs", "3"], "--trainer.max_epochs contradicts tune.space (its default), which searches"),
        (["--trainer.max_epochs=3"], "--trainer.max_epochs contradicts tune.space (its default), which searches"),
        (["--tune.space={data.seed: {type: int, low: 0, high: 9}}", "--data.seed=1"],
         "--data.seed contradicts tune.space, which searches data.seed"),
        (["--tune.space={model.peft: {type: categorical, choices: [a, b]}}", "--model.peft.init_args.r=4"],
         "--model.peft.init_args.r contradicts tune.space"),
        (["--tune.train_fraction=0.5", "--data.train_limit=100"], "--data.train_limit contradicts tune.train_fraction 0.5"),
        (["--tune.train_fraction=1", "--data.train_limit=100"], "--data.train_limit contradicts tune.train_fraction 1"),
        (["--config=limited.yaml", "--tune.train_fraction=0.5"],
         "data.train_limit (limited.yaml, line 2) contradicts tune.train_fraction 0.5"),
    ],
)  # fmt: skip
def test_a_flag_that_every_trial_would_replace(
    given: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("limited.yaml").write_text("data:\n  train_limit: 100\ntrainer:\n  max_epochs: 1\n")
    with pytest.raises(UsageError, match=f"^{re.escape(message)}"):
        tune_here(given)


def test_a_variable_that_every_trial_would_replace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLUE_LIT_FIT__MODEL__LEARNING_RATE", "1e-3")
    with pytest.raises(UsageError, match=r"^\$GLUE_LIT_FIT__MODEL__LEARNING_RATE contradicts tune\.space"):
        tune_here([])
