"""Multi-label from a fit to its predictions: tuned thresholds are kept, used and said everywhere."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import glue_lit
from sklearn.metrics import average_precision_score, f1_score

from glue_lit.data.custom_task import complete_task
from glue_lit.errors import RunError, UsageError
from glue_lit.evaluation.predictions import read_predictions
from glue_lit.evaluation.thresholds import cut_logits, fit_thresholds, scaled_thresholds
from glue_lit.outputs.hugging_face import load_trained, score, torch_logits
from glue_lit.outputs.predictor import Predictor
from glue_lit.runs.prediction_record import read_prediction_record
from glue_lit.runs.run import Run
from glue_lit.tasks.custom import CustomTask, parse_custom_task, resolve_task

LABELS = ["delivery", "praise", "price <b>"]
WORDS = {"delivery": "late", "praise": "great", "price <b>": "cheap"}


def write_rows(path: Path, rows: int, seed: int, unlabelled: int = 0) -> None:
    rng = np.random.default_rng(seed)
    with path.open("w") as file:
        for number in range(rows):
            labels = [label for label, rate in zip(LABELS, (0.2, 0.5, 0.3), strict=True) if rng.random() < rate]
            text = " ".join([WORDS[label] for label in labels if rng.random() < 0.8] + [str(seed * 1000 + number)])
            file.write(json.dumps({"text": text, "label": None if number < unlabelled else labels}) + "\n")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A fit with tuned thresholds."""
    folder = tmp_path_factory.mktemp("labels")
    write_rows(folder / "train.jsonl", 96, seed=1)
    write_rows(folder / "validation.jsonl", 50, seed=2)
    write_rows(folder / "test.jsonl", 20, seed=3, unlabelled=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert glue_lit(
            patch, "fit", "--data.task", "comments", "--data.source", str(folder), "--data.custom.text", "text",
            "--data.custom.thresholds", "tuned", "--data.custom.metrics", "[micro_f1, average_precision, samples_f1]",
            "--model.name_or_path", str(tiny_model), "--model.learning_rate", "5e-3", "--trainer.max_epochs", "2",
            "--data.batch_size", "16", "--trainer.precision", "32-true",
        ) == 0  # fmt: skip
    return folder / "lightning_logs" / "comments" / "version_0"


def saved_in(run: Path, name: str = "best.ckpt") -> Any:
    return torch.load(run / "checkpoints" / name, weights_only=True, mmap=True)


def commands(run: Path, patch: pytest.MonkeyPatch, *arguments: str) -> None:
    patch.chdir(run.parents[2])
    assert glue_lit(patch, *arguments, "--run", str(run), "--ckpt_path", "best") == 0


def test_the_checkpoint_keeps_the_thresholds_of_its_scores(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    thresholds = saved_in(run)["glue_lit"]["thresholds"]
    assert len(thresholds) == 3
    assert thresholds != [0.5] * 3
    record = json.loads((run / "metrics.json").read_text())
    assert record["thresholds"] == dict(zip(LABELS, thresholds, strict=True))
    commands(run, monkeypatch, "predict", "--data.predict_split", "validation")
    path = run / "predictions" / "validation.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    gold = np.array([[label in line["gold"] for label in LABELS] for line in lines], dtype=int)
    shares = np.array([[line["probabilities"][label] for label in LABELS] for line in lines])
    predicted = np.array([[label in line["labels"] for label in LABELS] for line in lines], dtype=int)
    assert (predicted == (shares >= thresholds)).all()
    assert record["metrics"]["val/micro_f1"] == pytest.approx(f1_score(gold, predicted, average="micro"))
    assert record["metrics"]["val/average_precision"] == pytest.approx(average_precision_score(gold, shares))
    logits = np.log(shares / (1 - shares)).astype(np.float32)
    assert cut_logits(fit_thresholds(logits, gold)) == pytest.approx(cut_logits(thresholds), abs=1e-5)
    read = read_predictions(path, task_of(run), read_prediction_record(path))
    assert (read.values == predicted).all()
    assert (read.gold == gold).all()
    assert read.thresholds is not None
    assert read.thresholds.tolist() == thresholds


def task_of(run: Path) -> Any:
    saved = saved_in(run)["hyper_parameters"]
    return resolve_task(saved["task"], parse_custom_task(saved["custom"]))


def test_a_validation_uses_the_thresholds_and_says_what_they_are_fitted_on(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands(run, monkeypatch, "validate", "--json")
    found = json.loads(capsys.readouterr().out)
    expected = json.loads((run / "metrics.json").read_text())["metrics"]
    assert found["metrics"] == pytest.approx(expected, abs=1e-6)
    commands(run, monkeypatch, "validate", "--data.validation_limit", "7")  # fewer rows change nothing
    output = " ".join(capsys.readouterr().out.split())
    assert "Thresholds are fitted on the rows of validation, which makes its scores too good by some:" in output
    for label, threshold in zip(LABELS, saved_in(run)["glue_lit"]["thresholds"], strict=True):
        assert f"{label} {threshold:.3g}" in output


def test_test_rows_are_predicted_with_the_same_thresholds(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands(run, monkeypatch, "test")
    lines = [json.loads(line) for line in (run / "predictions" / "test.jsonl").read_text().splitlines()]
    thresholds = saved_in(run)["glue_lit"]["thresholds"]
    for line in lines:
        above = [
            label for label, least in zip(LABELS, thresholds, strict=True) if line["probabilities"][label] >= least
        ]
        assert sorted(line["labels"]) == above
    assert ["gold" in line for line in lines] == [False] * 4 + [True] * 16


def test_an_export_keeps_the_thresholds_and_scores_the_same_with_them(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands(run, monkeypatch, "export", "--output", "exported")
    folder = run.parents[2] / "exported"
    thresholds = saved_in(run)["glue_lit"]["thresholds"]
    assert json.loads((folder / "config.json").read_text())["thresholds"] == dict(zip(LABELS, thresholds, strict=True))
    assert "`thresholds` in `config.json`" in (folder / "README.md").read_text()
    expected = json.loads((run / "metrics.json").read_text())["metrics"]
    own = ["--data.task=comments", f"--data.source={run.parents[2]}", "--data.custom.text=text",
           "--data.custom.metrics=[micro_f1, average_precision, samples_f1]"]  # fmt: skip
    for more in ([], ["--data.custom.thresholds=tuned"], ["--data.custom.thresholds=0.999"]):
        capsys.readouterr()
        monkeypatch.chdir(run.parents[2])
        flags = ["validate", "--model.name_or_path=exported", "--trainer.precision=32-true", "--json", *own, *more]
        assert glue_lit(monkeypatch, *flags) == 0
        found = json.loads(capsys.readouterr().out)["metrics"]
        assert (found == pytest.approx(expected, abs=1e-6)) is (more != ["--data.custom.thresholds=0.999"])
    commands(run, monkeypatch, "validate", "--json", "--data.custom.thresholds=0.999")
    assert json.loads(capsys.readouterr().out)["metrics"]["val/micro_f1"] == 0


def test_forms_of_an_export_are_compared_by_the_labels_that_the_run_predicts(run: Path) -> None:
    trained = load_trained(run / "checkpoints" / "best.ckpt", Run(run))
    found = score(trained, {"PyTorch": torch_logits(trained)})["PyTorch"]
    expected = json.loads((run / "metrics.json").read_text())["metrics"]
    assert found == {name.removeprefix("val/"): pytest.approx(value, abs=1e-6) for name, value in expected.items()}


def test_tensorboard_has_a_curve_for_each_label(run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run), {"tensors": 0})
    events.Reload()
    tags = events.Tags()["tensors"]
    assert [tag for tag in tags if tag in {f"val/{label}" for label in ("delivery", "praise")}]
    (text,) = events.Tensors("val/hard_rows/text_summary")[-1].tensor_proto.string_val
    assert b"<b>" not in text
    assert b"most certain mistake" in text


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.5, "data.custom.thresholds: got 1.5, allowed: tuned, or a number above 0 and below 1."),
        ("best", "data.custom.thresholds: got 'best', allowed: tuned"),
        (1, "data.custom.thresholds: got 1, allowed: tuned"),
    ],
)
def test_thresholds_that_are_not_allowed(value: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace(".", r"\.")):
        parse_custom_task({"text": "text", "thresholds": value})


def test_thresholds_are_refused_where_a_row_has_one_label(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\na,x\nb,y\nc,x\nd,y\n")
    with pytest.raises(UsageError, match=r"but the task is classification\. Thresholds are for rows with any number"):
        complete_task("own", CustomTask("text", thresholds=0.3), str(path))


def test_the_report_has_a_table_of_labels(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands(run, monkeypatch, "predict", "--data.predict_split", "validation")
    assert glue_lit(monkeypatch, "report", "--run", str(run)) == 0
    page = (run / "report" / "report.html").read_text()
    assert "price <b>" not in page
    text = " ".join(page.split())
    assert "All 3 labels, the most frequent first." in text
    assert "Thresholds are fitted on the rows of validation" in text
    assert text.count("<td>price &lt;b&gt;</td>") >= 2  # in the table of labels, and among the slices
    assert "Subset accuracy by group of rows" in text
    assert {path.name for path in (run / "report").glob("*.png")} >= {"labels.png", "calibration.png", "slices.png"}
    assert not (run / "report" / "confusion.png").exists()


def test_calibration_changes_probabilities_and_thresholds_but_no_label(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    path = run / "predictions" / "validation.jsonl"
    for flags in ((), ("--calibrate",)):
        commands(run, monkeypatch, "predict", "--data.predict_split", "validation", *flags)
        found.append([json.loads(line) for line in path.read_text().splitlines()])
    temperature = json.loads((run / "calibration.json").read_text())["temperature"]
    assert temperature != pytest.approx(1, abs=1e-3)
    for plain, scaled in zip(*found, strict=True):
        assert plain["labels"] == scaled["labels"]
        for label in LABELS:
            odds = [np.log(1 / one["probabilities"][label] - 1) for one in (plain, scaled)]
            assert odds[1] == pytest.approx(odds[0] / temperature, rel=1e-6)
    record = read_prediction_record(path)
    assert record is not None
    expected = scaled_thresholds(saved_in(run)["glue_lit"]["thresholds"], temperature)
    assert record["thresholds"] == pytest.approx(expected)
    texts = run.parents[2] / "texts.jsonl"
    for flags in ((), ("--calibrate",)):
        commands(run, monkeypatch, "predict", "--file", "validation.jsonl", "--output", str(texts), *flags)
        again = [json.loads(line)["labels"] for line in texts.read_text().splitlines()]
        assert again == [line["labels"] for line in found[0]]
    commands(run, monkeypatch, "predict", "--data.predict_split", "validation")


@pytest.mark.parametrize("damaged", [[0.5], [0.5, 1.0, 0.5], ["a", "b", "c"]])
def test_damaged_thresholds_of_a_checkpoint(run: Path, tmp_path: Path, damaged: list[Any]) -> None:
    saved = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    saved["glue_lit"]["thresholds"] = damaged
    torch.save(saved, tmp_path / "damaged.ckpt")
    with pytest.raises(RunError, match="its thresholds are not one number above 0 and below 1 for each label"):
        Predictor(tmp_path / "damaged.ckpt")
