"""`glue-lit submit`: which runs it takes, what it predicts, what it says."""

import json
import os
import sys
import zipfile
from pathlib import Path

import pytest

from glue_lit.__main__ import main
from glue_lit.submission import ENTRIES
from glue_lit.tasks import TASKS


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def submit(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["glue-lit", "submit", *map(str, arguments)])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def make_run(task: str, version: int = 0, last_label: int = 0) -> Path:
    """A run with predictions of all test rows: the labels in turn, the last row's as wanted."""
    run = Path("lightning_logs", task, f"version_{version}")
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text(f"data:\n  task: {task}\n")
    (run / "checkpoints" / "best.ckpt").write_text("weights")
    os.utime(run / "checkpoints" / "best.ckpt", (1, 1))
    (run / "predictions").mkdir()
    for entry in ENTRIES.values():
        if entry.trained_as == task:
            labels = entry.task.labels
            name = f"{entry.split}.jsonl" if entry.task.name == task else f"{entry.task.name}-{entry.split}.jsonl"
            with (run / "predictions" / name).open("w") as file:
                for row in range(entry.rows):
                    last = row == entry.rows - 1
                    value = {"label": labels[last_label if last else row % len(labels)]} if labels else {"score": 1.5}
                    file.write(json.dumps({"idx": row} | value) + "\n")
    return run


def test_all_tasks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for task in dict.fromkeys(entry.trained_as for entry in ENTRIES.values()):
        make_run(task)
    make_run("cola", 1, last_label=1)  # the newest counts
    assert submit(monkeypatch, "--reuse") == 0
    out = capsys.readouterr().out
    assert "cola/version_1" in out
    with zipfile.ZipFile("submission.zip") as archive:
        assert archive.read("CoLA.tsv").decode().splitlines()[-1] == "1062\t1"
        assert archive.read("AX.tsv").decode().splitlines()[1:4] == ["0\tentailment", "1\tneutral", "2\tcontradiction"]
        assert archive.read("WNLI.tsv").decode().splitlines()[1:3] == ["0\t0", "1\t1"]
        assert archive.read("STS-B.tsv").decode().splitlines()[1] == "0\t1.500"
    assert submit(monkeypatch, "--check", "submission.zip") == 0
    assert "submission.zip is right: 11 files, 426,309 rows." in capsys.readouterr().out


def test_named_runs_and_filling(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, rte = make_run("cola"), make_run("cola", 1), make_run("rte")
    assert submit(monkeypatch, first, rte) == 1
    error = capsys.readouterr().err
    assert "no run of sst2, mrpc, qqp, stsb, mnli, qnli, wnli" in error
    assert "AX.tsv" in error
    assert "--fill_missing majority" in error
    assert not Path("submission.zip").exists()
    assert submit(monkeypatch, first, second) == 2
    assert "are both of task cola" in capsys.readouterr().err
    assert submit(monkeypatch, "--reuse", first, rte, "--fill_missing", "majority", "--output", "all.zip") == 0
    out = capsys.readouterr().out
    assert out.count("no run") == 9
    assert submit(monkeypatch, "--check", "all.zip") == 0


def test_a_wrong_zip(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile("some.zip", "w") as archive:
        archive.writestr("CoLA.tsv", "index\tprediction\n0\tyes\n")
    assert submit(monkeypatch, "--check", "some.zip") == 1
    out, err = capsys.readouterr()
    assert "CoLA.tsv: line 2: prediction 'yes', allowed: 0, 1" in out
    assert "AX.tsv: missing" in out
    assert "some.zip is no submission" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-run"], "there is no directory 'no-run'"),
        (["--chek", "a.zip"], "Did you mean '--check'?"),
        (["--check", "a.zip"], "a.zip: cannot be read"),
        (["--fill_missing", "zero"], "invalid choice: 'zero'"),
    ],
)
def test_what_is_wrong_is_said(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(monkeypatch, *arguments) in (1, 2)
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_run_of_a_task_of_ones_own(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run("cola")
    (run / "config.yaml").write_text("data:\n  task: reviews\n")
    assert submit(monkeypatch, run) == 2
    assert "is a run of reviews, which is none of GLUE's tasks" in capsys.readouterr().err


def official_test_rows(folder: Path) -> None:
    """GLUE's folder for WNLI and AX, with invented rows as many as the real ones."""
    wnli, ax = TASKS["wnli"].files, TASKS["ax"].files
    for file, rows in ((wnli["test"], 146), (ax["test"], 1104)):
        path = folder / file.path
        path.parent.mkdir(parents=True)
        header = "index\tsentence1\tsentence2"
        path.write_text("\n".join([header, *(f"{n}\tText {n} .\tIt is {n} ." for n in range(rows))]) + "\n")


def test_test_rows_are_predicted_first(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    official_test_rows(Path("glue"))
    settings = {
        "data.task": "wnli", "data.source": "demo", "model.name_or_path": tiny_model, "data.train_limit": 20,
        "data.validation_limit": 10, "data.test_limit": 5, "trainer.max_epochs": 1, "trainer.accelerator": "cpu",
    }  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["glue-lit", "fit", *(f"--{key}={value}" for key, value in settings.items())])
    main()
    capsys.readouterr()
    assert submit(monkeypatch, "--fill_missing=majority") == 2  # the demo corpus is not GLUE, whatever its size
    assert "was trained on the demo corpus" in capsys.readouterr().err
    assert submit(monkeypatch, "--fill_missing=majority", "--data.source", "nowhere") == 1
    assert "WNLI.tsv cannot be predicted. data.source: there is no folder 'nowhere'" in capsys.readouterr().err
    assert submit(monkeypatch, "--fill_missing=majority", "--data.source", "glue") == 0
    written = Path("lightning_logs/wnli/version_0/predictions/test.jsonl").read_text()
    predicted = [json.loads(line) for line in written.splitlines()]
    with zipfile.ZipFile("submission.zip") as archive:
        lines = archive.read("WNLI.tsv").decode().splitlines()
    numbers = {"not_entailment": "0", "entailment": "1"}
    assert lines[1:] == [f"{line['idx']}\t{numbers[line['label']]}" for line in predicted]
