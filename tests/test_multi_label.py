"""A task with any number of labels a row, through all that a user does with it."""

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
import warm
from command_line import glue_lit
from sklearn.metrics import f1_score
from sklearn.preprocessing import MultiLabelBinarizer

from glue_lit import Predictor

LABELS = ["insult", "spam", "threat", "toxic"]
TEXTS = ["toxic spam and more", "nothing at all", "a threat, an insult"]
Command = Callable[..., int]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rows as an annotation tool writes them, some without any label."""
    place, draw = tmp_path_factory.mktemp("multi-label"), random.Random(0)
    for name, count in (("train", 48), ("test", 17)):
        with (place / f"{name}.jsonl").open("w") as file:
            for number in range(count):
                labels = [label for label in LABELS if draw.random() < 0.35]
                text = " ".join([*labels, *draw.choices("abcdefgh", k=draw.randint(2, 9))])
                file.write(json.dumps({"id": f"c{number}", "text": text, "labels": labels}) + "\n")
    return place


@pytest.fixture
def command(place: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`glue-lit` in the directory that all tests share."""
    monkeypatch.chdir(place)
    return lambda *arguments: glue_lit(monkeypatch, *arguments)


def fit(model: Path, *more: str) -> list[str]:
    return [
        "fit", "--data.task=comments", "--data.source=train.jsonl", "--data.custom.text=text",
        "--data.custom.label=labels", "--data.custom.test_file=test.jsonl", "--data.custom.validation_fraction=0.25",
        f"--model.name_or_path={model}", "--model.learning_rate=0.003", "--model.schedule=constant",
        "--trainer.accelerator=cpu", "--trainer.precision=32-true", "--trainer.devices=1", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def run(tiny_model: Path, place: Path) -> Path:
    """A fit of four epochs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert glue_lit(patch, *fit(tiny_model, "--trainer.max_epochs=4", "--data.custom.class_weights=balanced")) == 0
    return place / "lightning_logs" / "comments" / "version_0"


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def as_matrix(sets: list[list[str]]) -> Any:
    return MultiLabelBinarizer(classes=LABELS).fit_transform(sets)


def test_its_scores_are_those_of_scikit_learn(run: Path, command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    record = json.loads((run / "metrics.json").read_text())
    assert (record["monitor"], record["mode"]) == ("val/micro_f1", "max")
    assert list(record["metrics"]) == ["val/micro_f1", "val/macro_f1", "val/loss"]
    assert command("predict", f"--run={run}", "--data.predict_split=validation") == 0
    assert command("test", f"--run={run}", "--json") == 0
    tested = json.loads(capsys.readouterr().out.split("{", 1)[1].join(["{", ""]))["metrics"]
    for scores, prefix, split in ((record["metrics"], "val", "validation"), (tested, "test", "test")):
        rows = lines_of(run / "predictions" / f"{split}.jsonl")
        assert len(rows) == {"validation": 12, "test": 17}[split]
        gold, found = (as_matrix([row[key] for row in rows]) for key in ("gold", "labels"))
        for average in ("micro", "macro"):
            expected = f1_score(gold, found, average=average, zero_division=0)
            assert scores[f"{prefix}/{average}_f1"] == pytest.approx(expected, abs=1e-6)
        probabilities = np.array([[row["probabilities"][label] for label in LABELS] for row in rows])
        loss = -np.where(gold == 1, np.log(probabilities), np.log1p(-probabilities)).mean()
        assert scores[f"{prefix}/loss"] == pytest.approx(loss, abs=1e-5)
        for row in rows:
            above = [label for label, p in row["probabilities"].items() if p >= 0.5]
            assert row["labels"] == sorted(above, key=lambda label: -row["probabilities"][label])


def test_a_resumed_fit_is_an_uninterrupted_one_and_a_run_keeps_its_labels(
    run: Path, tiny_model: Path, place: Path, command: Command
) -> None:
    weighted = "--data.custom.class_weights=balanced"
    assert command(*fit(tiny_model, "--trainer.max_epochs=2", "--name=cut", weighted)) == 0
    cut = place / "lightning_logs" / "comments" / "version_1"
    assert command("fit", f"--run={cut}", "--ckpt_path=last", "--trainer.max_epochs=4") == 0
    whole, resumed = (torch.load(one / "checkpoints" / "last.ckpt", weights_only=True) for one in (run, cut))
    assert whole["state_dict"].keys() == resumed["state_dict"].keys()
    assert all(torch.equal(value, resumed["state_dict"][name]) for name, value in whole["state_dict"].items())
    custom = whole["hyper_parameters"]["custom"]
    assert (custom["kind"], custom["labels"]) == ("multi_label", LABELS)


def test_texts_and_files_get_all_probabilities_and_the_labels_above_the_threshold(
    run: Path, place: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("predict", f"--run={run}", *(f"--text={text}" for text in TEXTS)) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    predictor = Predictor(run / "checkpoints" / "best.ckpt")
    logits = torch.cat([found for found, _ in predictor.logits([(rows_of(TEXTS), None)])])
    for record, row in zip(records, logits.double().sigmoid().tolist(), strict=True):
        assert list(record) == ["idx", "labels", "probabilities"]
        assert list(record["probabilities"].values()) == pytest.approx(row, abs=1e-6)
    for ending in ("tsv", "jsonl", "parquet"):
        assert command("predict", f"--run={run}", "--file=test.jsonl", "--id=id", f"--output=found.{ending}") == 0
    rows = lines_of(place / "found.jsonl")
    with (place / "found.tsv").open(newline="") as file:
        table = list(csv.DictReader(file, delimiter="\t"))
    assert [row["labels"] for row in table] == [";".join(row["labels"]) for row in rows]
    frame = pandas.read_parquet(place / "found.parquet")
    assert [list(labels) for labels in frame["labels"]] == [row["labels"] for row in rows]
    for label in LABELS:
        expected = pytest.approx([row["probabilities"][label] for row in rows])
        assert frame[f"probability_{label}"].tolist() == expected
        assert [float(row[f"probability_{label}"]) for row in table] == expected


def rows_of(texts: list[str]) -> Any:
    from glue_lit.data.rows import Rows

    return Rows(texts, None, [None] * len(texts))


def test_an_export_gives_the_same_probabilities_in_a_pipeline(
    run: Path, place: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import pipeline

    assert command("export", f"--run={run}", "--output=exported") == 0
    config = json.loads((place / "exported" / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    assert config["id2label"] == {str(number): label for number, label in enumerate(LABELS)}
    assert config["thresholds"] == dict.fromkeys(LABELS, 0.5)
    assert "top_k=None" in (place / "exported" / "README.md").read_text()
    capsys.readouterr()
    assert command("predict", f"--run={run}", *(f"--text={text}" for text in TEXTS)) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = pipeline("text-classification", str(place / "exported"), device="cpu")(TEXTS, top_k=None)
    for record, of_text in zip(records, found, strict=True):
        assert record["probabilities"] == pytest.approx({one["label"]: one["score"] for one in of_text}, abs=1e-5)
    flags = ["--model.name_or_path=exported", "--data.source=train.jsonl", "--data.custom.text=text", "--json"]
    own = ["--data.task=comments", "--data.custom.label=labels", "--data.custom.validation_fraction=0.25"]
    capsys.readouterr()
    assert command("validate", *flags, *own, "--trainer.precision=32-true", "--trainer.accelerator=cpu") == 0
    scores = json.loads(capsys.readouterr().out)["metrics"]
    assert scores == pytest.approx(json.loads((run / "metrics.json").read_text())["metrics"], abs=1e-6)


def test_what_a_multi_label_task_cannot_do_is_refused_in_a_line(
    tiny_model: Path, run: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, message in (
        (fit(tiny_model, "--data.shots=4"), "`--data.train_limit 16` trains on as many rows."),
        (["submit", f"--run={run}"], "comments"),
    ):
        capsys.readouterr()
        assert command(*words) == 2
        said = capsys.readouterr().err
        assert message in said
        assert "Traceback" not in said


@pytest.mark.slow
def test_an_onnx_export_gives_the_same_logits(run: Path, place: Path, command: Command) -> None:
    pytest.importorskip("onnxruntime")
    assert command("export", f"--run={run}", "--output=onnx", "--format=onnx", "--quantize=int8") == 0
    assert r"with 8\-bit weights" in (place / "onnx" / "README.md").read_text()


@pytest.mark.slow
def test_settings_are_searched_and_trained_as_a_suite(tiny_model: Path, place: Path, command: Command) -> None:
    own = [flag for flag in fit(tiny_model)[1:] if "learning_rate" not in flag]  # tune searches it
    assert command("tune", *own, "--tune.trials=2") == 0
    scores = (place / "lightning_logs/tune/comments/trials.csv").read_text().splitlines()[1:]
    assert len(scores) == 2
    assert command("suite", *own, "--trainer.max_epochs=1", "--suite.seeds=[1,2]") == 0
    results = json.loads((place / "lightning_logs/suite/comments/results.json").read_text())
    assert "micro_f1" in json.dumps(results)


@pytest.mark.slow
def test_two_processes_train_and_score_each_row_once(run: Path, tiny_model: Path, place: Path) -> None:
    script = place / "glue-lit.py"
    script.write_text("from glue_lit.__main__ import main\nmain()\n")
    two = ["--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.max_epochs=2", "--name=two"]
    done = warm.run(script, *fit(tiny_model, *two), folder=place)
    assert done.returncode == 0, done.stderr
    (found,) = (p.parent for p in place.glob("lightning_logs/comments/*/config.yaml") if "two" in p.read_text())
    record = json.loads((found / "metrics.json").read_text())["metrics"]
    for world in ("1", "2"):
        strategy = "ddp" if world == "2" else "auto"
        flags = [f"--run={found}", f"--trainer.devices={world}", f"--trainer.strategy={strategy}"]
        assert warm.run(script, "test", *flags, folder=place).returncode == 0
        rows = lines_of(found / "predictions" / "test.jsonl")
        assert [row["idx"] for row in rows] == list(range(17))
        done = warm.run(script, "validate", *flags, "--json", folder=place)
        scores = json.loads(done.stdout[done.stdout.index("{") :])["metrics"]
        assert scores == pytest.approx(record, abs=1e-5)
