"""`glue-lit suite` with real trainings of a tiny model, each in a process of its own."""

import csv
import json
import re
import statistics
import subprocess
from pathlib import Path

import pytest
import warm
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from glue_lit.cli.commands.suite import suite_document
from glue_lit.data.sources import open_split
from glue_lit.engine.suite import majority_score
from glue_lit.errors import UsageError
from glue_lit.tasks.glue import get_task

SUITE = """
suite:
  tasks: [mnli, rte]
  seeds: [1, 2]
  init_from: {rte: mnli}
engine:
  gpus_per_job: 0
  cpus_per_job: 1
data:
  source: demo
  train_limit: 64
  validation_limit: 40
trainer:
  max_epochs: 1
  accelerator: cpu
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    path = tmp_path_factory.mktemp("suite")
    (path / "suite.yaml").write_text(f"{SUITE}model:\n  name_or_path: {tiny_model}\n")
    (path / "recipes").mkdir()
    (path / "wrong").mkdir()
    (path / "wrong" / "rte.yaml").write_text("model:\n  learning_rat: 3.0e-3\n")  # of the task that comes last
    (path / "recipes" / "rte.yaml").write_text("model:\n  learning_rate: 3.0e-3\ndata:\n  train_limit: 32\n")
    return path


def suite(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return warm.run("-m", "glue_lit", "suite", "--config", "suite.yaml", *arguments, folder=folder)


def test_a_suite_is_planned_trained_and_summarised(folder: Path) -> None:
    planned = suite(folder, "--suite.dry_run=true")
    assert planned.returncode == 0, planned.stderr
    assert "4 trainings" in planned.stdout
    assert not (folder / "lightning_logs").exists()

    done = suite(folder, "--suite.recipes=recipes/{task}.yaml", "--engine.slots=2")
    assert done.returncode == 0, done.stderr
    assert "There is no recipe recipes/mnli.yaml, so these tasks use the common settings" in done.stdout
    place = folder / "lightning_logs" / "suite" / "glue"
    records = {(r["task"], r["seed"]): r for r in map(json.loads, (p.read_text() for p in place.rglob("metrics.json")))}
    assert sorted(records) == [("mnli", 1), ("mnli", 2), ("rte", 1), ("rte", 2)]
    for seed in (1, 2):
        assert records["rte", seed]["init_from"].endswith(f"mnli/seed_{seed}/lightning_logs/mnli/version_0")
        settings = records["rte", seed]["config"]
        assert settings["model"]["learning_rate"] == 3e-3  # the recipe's
        assert settings["data"]["train_limit"] == 64  # that of all, which is said later
    # a start is released the moment its source has finished
    lines = done.stdout.splitlines()
    order = [line.partition(" finished")[0] for line in lines if " finished: " in line]
    assert order.index("mnli seed 1") < order.index("rte seed 1")

    result = json.loads((place / "results.json").read_text())["models"]
    (found,) = result.values()
    accuracies = [records["rte", seed]["metrics"]["val/accuracy"] for seed in (1, 2)]
    (rte,) = found["tasks"]["rte"]
    assert rte["mean"] == pytest.approx(100 * statistics.fmean(accuracies))
    assert rte["deviation"] == pytest.approx(100 * statistics.stdev(accuracies))
    assert found["average"] is None
    assert "No GLUE average: cola, sst2, mrpc, qqp, stsb, qnli, wnli not complete." in done.stdout
    with (place / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["task"] for row in rows] == ["mnli", "mnli", "rte"]
    assert f"{rte['mean']:.2f} ± {rte['deviation']:.2f}" in (place / "results.md").read_text()
    assert not list(place.rglob("last.ckpt"))
    assert len(list(place.rglob("best.ckpt"))) == 4

    recipes = "--suite.recipes=recipes/{task}.yaml"
    plan = json.loads(suite(folder, "--json", recipes, "--suite.dry_run=true", "--suite.seeds=[1,2,3]").stdout)
    assert [step["done"] for step in plan] == [True, True, False] * 2
    assert all(step["seconds"] > 0 for step in plan)  # from the speed of those that are done
    assert [step["after"] for step in plan if step["training"].startswith("rte")] == [
        f"mnli seed {n}" for n in (1, 2, 3)
    ]
    # the same again has nothing to do
    said = suite(folder, recipes, "--json")
    assert json.loads(said.stdout) == {"folder": str(place), **json.loads((place / "results.json").read_text())}
    assert "0 of 4 trainings to run" in said.stderr

    unfinished = suite(folder, recipes, "--suite.submit=true")
    assert unfinished.returncode == 1
    assert "glue/submission.zip is not written: There is no run of cola, sst2, mrpc, " in unfinished.stderr
    assert "The suite's results are kept." in unfinished.stderr

    other = suite(folder, recipes, "--model.learning_rate=1e-3")
    assert other.returncode == 1
    assert "holds a training with other settings" in other.stderr


def test_a_task_starts_from_a_training_on_own_data(folder: Path) -> None:
    (folder / "mine.csv").write_text("text,label\n" + "".join(f"word {n},{n % 2}\n" for n in range(60)))
    (folder / "first.yaml").write_text(
        "data: {task: mine, source: mine.csv, custom: {text: [text], validation_fraction: 0.2}}"
    )
    only = ("--suite.name=own", "--suite.tasks=[rte]", "--suite.seeds=[3]", "--suite.init_from={rte: first.yaml}")
    done = suite(folder, *only)
    assert done.returncode == 0, done.stderr
    assert "first seed 3 finished: " in done.stdout.split("rte seed 3")[0]
    place = folder / "lightning_logs" / "suite" / "own" / "model"
    start = place / "first" / "seed_3" / "lightning_logs" / "mine" / "version_0"
    (record,) = [json.loads(p.read_text()) for p in (place / "rte").rglob("metrics.json")]
    assert record["init_from"] == str(start)
    assert json.loads((start / "metrics.json").read_text())["source"].endswith("mine.csv")
    (found,) = json.loads((place.parent / "results.json").read_text())["models"].values()
    assert list(found["tasks"]) == ["rte"]


def test_a_suite_of_a_task_of_ones_own(folder: Path, tiny_model: Path) -> None:
    (folder / "other.csv").write_text("text,label\n" + "".join(f"word {n},{'abc'[n % 3]}\n" for n in range(60)))
    (folder / "other.yaml").write_text("data: {task: other, source: other.csv, custom: {text: text}}")
    arguments = (
        "-m", "glue_lit", "suite", "--config=other.yaml", "--suite.seeds=[3]", "--model.name_or_path", tiny_model,
        "--trainer.max_steps=2", "--trainer.accelerator=cpu", "--engine.gpus_per_job=0", "--engine.cpus_per_job=1",
    )  # fmt: skip
    refused = warm.run(*arguments, "--suite.submit=true", folder=folder)
    assert refused.returncode == 2
    assert "suite.submit: the leaderboard has no task other." in refused.stderr
    done = warm.run(*arguments, folder=folder)
    assert done.returncode == 0, done.stderr
    assert "GLUE average" not in done.stdout
    assert "recipe" not in done.stdout
    place = folder / "lightning_logs" / "suite" / "other"
    (found,) = json.loads((place / "results.json").read_text())["models"].values()
    (record,) = [json.loads(path.read_text()) for path in place.rglob("metrics.json")]
    assert [figure["name"] for figure in found["tasks"]["other"]] == ["accuracy", "macro_f1"]
    assert found["tasks"]["other"][0]["mean"] == pytest.approx(100 * record["metrics"]["val/accuracy"])
    shown = warm.run("-m", "glue_lit", "report", str(place), "--json", folder=folder)
    (model,) = json.loads(shown.stdout)["models"].values()
    assert model["scores"]["other"]["accuracy"]["mean"] == found["tasks"]["other"][0]["mean"]
    assert "average" not in (place / "report" / "report.html").read_text()


@pytest.mark.slow
def test_four_trainings_at_once_fill_an_empty_cache(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLUE_LIT_CACHE", str(tmp_path / "cache"))
    settings = ("--suite.tasks=[cola]", "--suite.init_from={}", "--suite.name=cold", "--suite.seeds=[1,2,3,4]")
    done = suite(folder, *settings, "--engine.slots=4")
    assert done.returncode == 0, done.stderr
    outputs = (folder / "lightning_logs" / "suite" / "cold").rglob("metrics.json")
    records = [json.loads(path.read_text()) for path in outputs]
    assert sorted(record["seed"] for record in records) == [1, 2, 3, 4]
    assert len({json.dumps(record["data"]["splits"], sort_keys=True) for record in records}) == 1
    stored = sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())
    again = suite(folder, *settings[:-1], "--suite.seeds=[1,2,3,4,5]")  # reads what they have left
    assert again.returncode == 0, again.stderr
    assert sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()) == stored
    assert not [name for name in stored if name.startswith(".") or "tmp" in name or "part" in name]


def test_the_most_frequent_label_is_scored_by_the_tasks_own_metrics() -> None:
    for name in ("cola", "mrpc", "qqp", "mnli", "wnli"):
        task = get_task(name)
        expected = []
        for split in task.validation_splits:
            gold = open_split(task, "demo", split).read().labels
            most_frequent = [task.file_labels.index(task.most_common)] * len(gold)
            for metric in task.metrics:
                score = {"matthews_correlation": matthews_corrcoef, "accuracy": accuracy_score, "f1": f1_score}[metric]
                expected.append(score(gold, most_frequent))
        assert majority_score(task, "demo") == pytest.approx(sum(expected) / len(expected), abs=1e-6), name
    assert majority_score(get_task("cola"), "demo") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--suite.seeds=[1,1]",), "--suite.seeds: got [1, 1], allowed: one or more different numbers"),
        (("--suite.name=..",), "--suite.name: got '..', allowed"),
        (("--suite.name=a/b",), "--suite.name: got 'a/b', allowed"),
        (("--suite.majority=[stsb]",), "--suite.majority: stsb has scores"),
        (("--suite.majority=[ax]",), "--suite.majority: got 'ax', allowed: cola, sst2,"),
        (("--suite.left_out=[wnil]",), "Did you mean 'wnli'?"),
        (("--suite.tasks=[colla]",), "Did you mean 'cola'?"),
        (
            ("--data.custom.text=text",),
            "data.task: 'mnli' is a task of GLUE, and data.custom describes one of your own",
        ),
        (("--suite.recipes=wrong/{task}.yaml",), "there is no such key. Did you mean 'model.learning_rate'?"),
        (("--suite.taskss=[cola]",), "--suite.taskss: there is no such flag. Did you mean '--suite.tasks'?"),
    ],
)
def test_bad_input_is_one_message(arguments: tuple[str, ...], message: str, folder: Path) -> None:
    done = suite(folder, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert " finished: " not in done.stdout


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--data.task=cola"], "--data.task contradicts suite.tasks"),
        (["--name=mine"], "--name contradicts suite.name"),
        (["--seed_everything", "7"], "--seed_everything contradicts suite.seeds (1, 2, 3)"),
        (["--suite.models=[a/b]", "--model.name_or_path=c"], "--model.name_or_path contradicts suite.models (a/b)"),
        (["--suite.init_from={rte: mnli}", "--model.init_from=run"], "--model.init_from contradicts suite.init_from"),
    ],
)
def test_a_flag_that_every_training_would_replace(given: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}"):
        suite_document(given)
