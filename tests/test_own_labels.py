"""Labels and columns that YAML or JSON take for something else, through all that a user does with them."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import glue_lit

from glue_lit.training.classifier import SequenceClassifier

LABELS = [
    "2E65", "2E66", "1e5", "yes", "no", "on", "null", "~", "0x1F", "1_000", "12:30:45", "2024-01-01", ".inf", "NaN", "=",
    "<<", "0o7", "#1", "True", "- a", "007x",
]  # fmt: skip
Command = Callable[..., int]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own-labels")


@pytest.fixture
def command(place: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`glue-lit` in the directory that all tests share."""
    monkeypatch.chdir(place)
    return lambda *arguments: glue_lit(monkeypatch, *arguments)


def fit(model: Path, source: str, *more: str) -> list[str]:
    return [
        "fit", "--data.task=codes", f"--data.source={source}", f"--model.name_or_path={model}", "--trainer.max_epochs=2",
        "--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.precision=32-true", "--data.custom.text=1",
        "--data.custom.label=yes", *more,
    ]  # fmt: skip


def write(path: Path, labels: list[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["1", "yes"])
        writer.writerows([f"text {n} about {label.encode().hex()}", label] for n, label in enumerate(labels * 4))


def values_of(run: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8")))["data"]["custom"]


@pytest.fixture(scope="module")
def run(tiny_model: Path, place: Path) -> Path:
    """A fit on all of them."""
    write(place / "codes.csv", LABELS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert glue_lit(patch, *fit(tiny_model, "codes.csv")) == 0
    return place / "lightning_logs" / "codes" / "version_0"


def test_a_run_keeps_every_label_and_column(run: Path) -> None:
    record = json.loads((run / "metrics.json").read_text())
    for custom in (values_of(run), record["config"]["data"]["custom"]):
        assert (custom["text"], custom["label"], custom["kind"]) == (["1"], "yes", "classification")
        assert custom["labels"] == sorted(LABELS)
    assert set(record["predicted"]["validation"]) == set(LABELS)
    classifier = SequenceClassifier.load_from_checkpoint(run / "checkpoints" / "best.ckpt", weights_only=True)
    assert list(classifier.task.labels) == sorted(LABELS)
    assert {type(label) for label in classifier.hparams["custom"]["labels"]} == {str}


def test_a_run_with_odd_labels_is_scored_predicted_reported_and_resumed(
    run: Path, command: Command, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = json.loads((run / "metrics.json").read_text())["metrics"]
    outside = shutil.copy(run / "checkpoints" / "best.ckpt", place / "outside.ckpt")
    for which in (("--run", run), ("--ckpt_path", outside)):
        capsys.readouterr()
        assert command("validate", *which, "--json") == 0
        assert json.loads(capsys.readouterr().out)["metrics"] == pytest.approx(scores)
    assert command("predict", "--run", run, "--data.predict_split=validation") == 0
    lines = [json.loads(line) for line in (run / "predictions" / "validation.jsonl").read_text().splitlines()]
    assert {line["gold"] for line in lines} == set(LABELS)
    assert set(lines[0]["probabilities"]) == set(LABELS)
    assert command("report", run) == 0
    assert command("fit", "--run", run, "--ckpt_path=last", "--trainer.max_epochs=3") == 0
    assert values_of(run)["labels"] == sorted(LABELS)


def test_an_export_keeps_odd_labels(run: Path, command: Command, place: Path) -> None:
    assert command("export", "--run", run, "--output", "exported") == 0
    names = json.loads((place / "exported" / "config.json").read_text())["id2label"]
    assert [names[str(number)] for number in range(len(LABELS))] == sorted(LABELS)
    settings = {"data": {"task": "codes", "source": "codes.csv", "custom": values_of(run)}}
    (place / "codes.yaml").write_text(json.dumps(settings))  # JSON is YAML
    assert (
        command("validate", "--model.name_or_path=exported", "--config=codes.yaml", "--trainer.precision=32-true") == 0
    )


@pytest.mark.parametrize("labels", [["no", "yes"], ["0", "1"], ["null", "~"], ["1e5", "#x"], ["on", "off"]])
@pytest.mark.parametrize("how", ["flag", "flag as JSON", "file", "file, bare", "environment", "section"])
def test_listed_labels_are_texts(
    labels: list[str], how: str, tiny_model: Path, command: Command, place: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Read by the command's own parser, and printed as a configuration."""
    labels = (
        labels if how not in ("flag", "file, bare", "environment", "section") or "#x" not in labels else ["1e5", "x"]
    )
    flags, bare = [], f"[{', '.join(labels)}]"
    if how.startswith("flag"):
        flags = [
            "--data.custom.labels",
            bare if how == "flag" else json.dumps(labels),
            f"--data.custom.positive={labels[0]}",
        ]
    elif how == "environment":
        monkeypatch.setenv("GLUE_LIT_FIT__DATA__CUSTOM__LABELS", bare)
        monkeypatch.setenv("GLUE_LIT_FIT__DATA__CUSTOM__POSITIVE", labels[0])
    elif how == "section":
        flags = [f"--data.custom={{labels: {bare}, positive: {json.dumps(labels[0])}}}"]
    else:
        said = bare if how == "file, bare" else json.dumps(labels)
        text = f"data:\n  custom:\n    labels: {said}\n    positive: {json.dumps(labels[0])}\n    text: 1\n    label: yes\n"
        (place / "listed.yaml").write_text(text)
        flags = ["--config=listed.yaml"]
    assert command("fit", *flags, "--print_config") == 0
    custom = yaml.safe_load(capsys.readouterr().out)["data"]["custom"]
    assert custom["labels"] == labels
    if labels[0] != "null" or how in ("file", "file, bare", "section"):  # --data.custom.positive=null is the default
        assert custom["positive"] == labels[0]
    if how.startswith("file"):
        assert (custom["text"], custom["label"]) == ("1", "yes")


def test_every_command_uses_the_positive_label(
    tiny_model: Path, command: Command, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(place / "two.csv", ["no", "yes", "no"] * 4)
    assert command(*fit(tiny_model, "two.csv", "--data.custom.positive=no", "--data.task=two")) == 0
    out = capsys.readouterr().out
    assert "F1 is of the label no; `--data.custom.positive LABEL` chooses the other one" in out
    assert "F1 is for the label no." in out
    run = place / "lightning_logs" / "two" / "version_0"
    record = json.loads((run / "metrics.json").read_text())
    assert record["positive"] == record["config"]["data"]["custom"]["positive"] == values_of(run)["positive"] == "no"
    counts = record["predicted"]["validation"]
    assert command("validate", "--run", run, "--json") == 0
    assert json.loads(capsys.readouterr().out)["positive"] == "no"
    assert command("predict", "--run", run, "--data.predict_split=validation") == 0
    lines = [json.loads(line) for line in (run / "predictions" / "validation.jsonl").read_text().splitlines()]
    right = sum(line["gold"] == line["label"] == "no" for line in lines)
    both = sum(line["gold"] == "no" for line in lines) + counts["no"]
    assert record["metrics"]["val/f1"] == pytest.approx(2 * right / both if both else 0.0)
    assert command("report", run) == 0
    page = (run / "report" / "report.html").read_text()
    assert "F1 of no" in page
    assert f"{record['metrics']['val/f1']:.3f}" in page
