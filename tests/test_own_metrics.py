"""Metrics of the user's choice through all that a user does with a run, and the checkpoint that they pick."""

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from command_line import glue_lit
from huggingface_hub import ModelCard

from glue_lit.training.classifier import SequenceClassifier

ECE = {"class_path": "torchmetrics.classification.BinaryCalibrationError", "init_args": {"n_bins": 10}}
METRICS = f"[log_loss, f1(average=weighted), fbeta(beta=2, positive=ham), auroc, {json.dumps(ECE)}]"
LOGGED = ["log_loss", "weighted_f1", "fbeta_2_ham", "auroc", "BinaryCalibrationError"]
Command = Callable[..., int]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place, draw = tmp_path_factory.mktemp("own-metrics"), random.Random(0)
    with (place / "mail.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for _ in range(60):
            label = draw.choice(["ham", "spam"])
            writer.writerow([" ".join([label, *draw.choices("abcdefgh", k=5)]), label])
    return place


@pytest.fixture
def command(place: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`glue-lit` in the directory that all tests share."""
    monkeypatch.chdir(place)
    return lambda *arguments: glue_lit(monkeypatch, *arguments)


def fit(model: Path, *more: str) -> list[str]:
    return [
        "fit", "--data.task=mail", "--data.source=mail.csv", "--data.custom.text=text", f"--model.name_or_path={model}",
        "--data.custom.validation_fraction=0.3", "--trainer.max_epochs=2", "--trainer.accelerator=cpu",
        "--trainer.precision=32-true", "--trainer.devices=1", "--model.learning_rate=0.001", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def run(tiny_model: Path, place: Path) -> Path:
    """A finished fit that is picked by its log loss."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert glue_lit(patch, *fit(tiny_model, f"--data.custom.metrics={METRICS}", "--early_stopping=5")) == 0
    return place / "lightning_logs" / "mail" / "version_0"


def record_of(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "metrics.json").read_text()))


def test_a_fit_logs_them_and_keeps_the_lowest_log_loss(run: Path) -> None:
    record = record_of(run)
    assert list(record["metrics"]) == [f"val/{name}" for name in (*LOGGED, "loss")]
    assert (record["monitor"], record["mode"], record["positive"]) == ("val/log_loss", "min", None)
    assert record["metrics"]["val/log_loss"] == pytest.approx(record["metrics"]["val/loss"], abs=1e-6)
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    (best,) = (state for key, state in saved["callbacks"].items() if "BestCheckpoint" in key)
    (early,) = (state for key, state in saved["callbacks"].items() if "EarlyStop" in key)
    assert best["best_model_score"] == early["best_score"]
    assert float(best["best_model_score"]) == pytest.approx(record["metrics"]["val/log_loss"], abs=1e-6)
    custom = yaml.safe_load((run / "config.yaml").read_text())["data"]["custom"]
    assert custom["metrics"][2:] == ["fbeta(beta=2,positive=ham)", "auroc", ECE]


def test_a_run_is_resumed_evaluated_and_listed_with_them(
    run: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    before = record_of(run)["metrics"]
    assert command("validate", f"--run={run}", "--data.metrics+=cohen_kappa", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {name: found["metrics"][name] for name in before} == pytest.approx(before, abs=1e-6)
    assert -1 <= found["metrics"]["val/cohen_kappa"] <= 1
    low, high = found["intervals"]["val/log_loss"]
    assert low < before["val/log_loss"] < high
    assert command("runs", "--task=mail", "--json") == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["monitor"], listed["best"]) == ("val/log_loss", pytest.approx(before["val/log_loss"]))
    assert command("fit", f"--run={run}", "--ckpt_path=last", "--trainer.max_epochs=3") == 0
    assert list(record_of(run)["metrics"]) == list(before)
    assert record_of(run)["metrics"]["val/log_loss"] <= before["val/log_loss"] + 1e-6
    classifier = SequenceClassifier.load_from_checkpoint(run / "checkpoints" / "best.ckpt", weights_only=True)
    assert list(classifier.task.metrics) == LOGGED


def test_report_and_model_card_show_them(run: Path, command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("report", f"{run}", "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)["runs"]
    scores = record_of(run)["metrics"]
    for name in LOGGED:
        assert found["scores"][name]["value"] == pytest.approx(scores[f"val/{name}"], abs=1e-5)
    assert found["scores"]["log_loss"]["low"] < found["scores"]["log_loss"]["value"]
    assert found["scores"]["BinaryCalibrationError"]["low"] is None
    note = "BinaryCalibrationError has no interval: a metric of torchmetrics is not resampled."
    assert note in found["notes"]
    page = (run / "report" / "report.html").read_text()
    assert all(title in page for title in ("Log loss", "Weighted F1", "F2 of ham", "AUROC of spam", note))
    assert command("export", f"--run={run}", "--output=exported") == 0
    results = ModelCard.load(Path("exported") / "README.md").data.eval_results
    kinds = {result.metric_name: (result.metric_type, result.metric_args) for result in results or []}
    assert kinds["val/weighted_f1"] == ("f1", {"average": "weighted"})
    assert kinds["val/auroc"] == ("roc_auc", None)
    assert kinds["val/log_loss"] == ("log_loss", None)


def test_what_does_not_fit_is_refused_before_the_fit(
    tiny_model: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    for value, message in (
        ("auroq", "data.custom.metrics: 'auroq' is not a metric. Did you mean 'auroc'?"),
        ("f1(positive=sham)", "'sham' is not a label. Did you mean 'ham'? Allowed: ham, spam."),
        ("[{class_path: os.system}]", "class_path is 'os.system', allowed: a metric of torchmetrics.classification"),
    ):
        assert command(*fit(tiny_model, f"--data.custom.metrics={value}")) == 2
        said = capsys.readouterr().err
        assert message in said
        assert len(said.splitlines()) == 1, said
    assert command("fit", "--data.source=demo", f"--model.name_or_path={tiny_model}", "--data.metrics=pearson") == 2
    assert "data.metrics: 'pearson' is not a metric for 2 labels" in capsys.readouterr().err


def test_an_undefined_metric_is_a_line_and_picks_no_checkpoint(
    tiny_model: Path, place: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "one.csv").write_text("text,label\n" + "".join(f"ham {n},ham\n" for n in range(6)))
    more = ["--name=undefined", "--data.custom.validation_file=one.csv", "--data.custom.metrics=auroc,accuracy"]
    assert command(*fit(tiny_model, *more, "--trainer.max_epochs=1")) == 0
    said = capsys.readouterr().out
    assert "AUROC is undefined if a label never occurs among the gold labels, or has all of them." in said
    record = record_of(place / "lightning_logs" / "mail" / "version_1")
    assert record["metrics"]["val/auroc"] is None
    assert record["metrics"]["val/accuracy"] is not None
    capsys.readouterr()


def test_a_task_of_glue_has_more_metrics(
    tiny_model: Path, place: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(
        "fit", "--data.task=stsb", "--data.source=demo", f"--model.name_or_path={tiny_model}", "--data.metrics+=mae",
        "--data.metrics+=kendall", "--checkpoint.monitor=val/mae", "--trainer.max_epochs=1", "--trainer.accelerator=cpu",
        "--trainer.precision=32-true", "--data.train_limit=40",
    ) == 0  # fmt: skip
    record = record_of(place / "lightning_logs" / "stsb" / "version_0")
    assert list(record["metrics"]) == [f"val/{name}" for name in ("pearson", "spearmanr", "mae", "kendall", "loss")]
    assert (record["monitor"], record["mode"]) == ("val/mae", "min")
    capsys.readouterr()
    assert command("runs", "--task=stsb", "--json") == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["monitor"], listed["best"]) == ("val/mae", pytest.approx(record["metrics"]["val/mae"]))
