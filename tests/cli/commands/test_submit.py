"""`glue-lit submit`: which runs it takes, what it predicts, what it says."""

import hashlib
import json
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from command_line import glue_lit

from glue_lit.__main__ import main
from glue_lit.outputs.submission import ENTRIES, filled_text
from glue_lit.runs.locks import lock_run
from glue_lit.runs.prediction_record import write_prediction_record
from glue_lit.runs.run import Run
from glue_lit.tasks.glue import TASKS


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def submit(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Exit status; a zip that an earlier call has written may be replaced."""
    arguments = arguments if "--check" in arguments else (*arguments, "--overwrite")
    return glue_lit(monkeypatch, "submit", *arguments)


def make_run(task: str, version: int = 0, last_label: int = 0, **record: object) -> Path:
    """A run with predictions of all test rows: the labels in turn, the last row's as wanted; and their records."""
    run = Path("lightning_logs", task, f"version_{version}")
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text(f"data:\n  task: {task}\n")
    best = run / "checkpoints" / "best.ckpt"
    best.write_text(f"weights of {task}")
    os.utime(best, (1, 1))
    (run / "predictions").mkdir()
    files = TASKS[task].submission.values()
    for entry in ENTRIES.values():
        if entry.name in files or entry.task.trained_as == task:
            labels = entry.task.labels
            name = f"{entry.split}.jsonl" if entry.name in files else f"{entry.task.name}-{entry.split}.jsonl"
            path = run / "predictions" / name
            with path.open("w") as file:
                for row in range(entry.rows):
                    last = row == entry.rows - 1
                    value = {"label": labels[last_label if last else row % len(labels)]} if labels else {"score": 1.5}
                    file.write(json.dumps({"idx": row} | value) + "\n")
            write_prediction_record(path, **{"source": "hub", "rows": entry.rows, "checkpoint": best} | record)  # type: ignore[arg-type]
    return run


def finish(run: Path, score: float | None, rows: int | None = None, source: str = "hub") -> None:
    """Give a run the score of a finished fit on the validation rows, by default on all."""
    task = TASKS[run.parent.name]
    spec = TASKS["mnli"] if "MNLI-m.tsv" in task.submission.values() else task
    split = str(spec.monitored_split)
    record = {"metrics": {spec.monitor: score, "val/loss": 0.1}, "source": source}
    record["data"] = {"splits": {split: {"rows": rows or spec.files[split].rows}}}
    (run / "metrics.json").write_text(json.dumps(record))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would have been predicted in a process of its own, as `task run why source`."""
    calls: list[str] = []

    def predict(task: str, run: Run, source: str | None) -> None:
        calls[-1] += f" {source}"

    monkeypatch.setattr("glue_lit.outputs.submit._predict", predict)
    monkeypatch.setattr(
        "glue_lit.cli.commands.submit._say_predicting",
        lambda task, run, why: calls.append(f"{task} {run.path} ({why})"),
    )
    return calls


def test_all_tasks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], asked: list[str]) -> None:
    for task in dict.fromkeys(entry.trained_as for entry in ENTRIES.values()):
        make_run(task)
    finish(make_run("cola", 1, last_label=1), 0.6)
    assert submit(monkeypatch) == 0
    assert asked == []  # all is there
    out = capsys.readouterr().out
    assert "cola/version_1" in out
    assert "cola/version_0" not in out
    with zipfile.ZipFile("submission.zip") as archive:
        assert archive.read("CoLA.tsv").decode().splitlines()[-1] == "1062\t1"
        assert archive.read("AX.tsv").decode().splitlines()[1:4] == ["0\tentailment", "1\tneutral", "2\tcontradiction"]
        assert archive.read("WNLI.tsv").decode().splitlines()[1:3] == ["0\t0", "1\t1"]
        assert archive.read("STS-B.tsv").decode().splitlines()[1] == "0\t1.500"
    assert submit(monkeypatch, "--check", "submission.zip") == 0
    out = capsys.readouterr().out
    assert "submission.zip is valid: 11 files, 426,309 rows." in out
    assert "0: 531, 1: 532" in out


def zipped_lines(name: str) -> list[str]:
    with zipfile.ZipFile("submission.zip") as archive:
        return archive.read(name).decode().splitlines()


def test_labels_are_matched_by_name_not_by_position(monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> None:
    run = make_run("rte")
    path = run / "predictions" / "test.jsonl"
    # as a model writes whose outputs are (not_entailment, entailment): the first probability is of another label
    names = [("entailment", "not_entailment")[n % 3 == 0] for n in range(3000)]
    path.write_text(
        "".join(
            json.dumps(
                {
                    "idx": n,
                    "label": name,
                    "probabilities": {"not_entailment": float(n % 3 == 0), "entailment": float(n % 3 > 0)},
                }
            )
            + "\n"
            for n, name in enumerate(names)
        )
    )
    write_prediction_record(path, "hub", 3000, run / "checkpoints" / "best.ckpt")
    assert submit(monkeypatch, run, "--fill_missing", "majority") == 0
    assert zipped_lines("RTE.tsv")[1:] == [f"{n}\t{name}" for n, name in enumerate(names)]


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({"source": "demo"}, "they are for the demo corpus"),
        ({"rows": 9}, "they are for 9 rows"),
        ({"checkpoint": None}, "they are from another checkpoint"),
    ],
)
def test_predictions_of_other_rows_are_made_again(
    record: dict[str, object], why: str, monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    run = make_run("wnli", **record)
    # the same number of rows as GLUE's, so that nothing else would tell
    assert submit(monkeypatch, "--fill_missing=majority", "--reuse") == 0
    assert asked == [f"wnli {run} ({why}) None"]


def test_predictions_of_an_older_checkpoint_are_made_again(monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> None:
    run = make_run("wnli")
    best = run / "checkpoints" / "best.ckpt"
    best.write_text("weights after more training")
    os.utime(best, (1, 1))  # no clock would tell
    assert submit(monkeypatch, run, "--fill_missing=majority") == 0
    assert asked == [f"wnli {run} (they are from another checkpoint) None"]


def test_predictions_without_a_record_are_made_again_unless_reused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], asked: list[str]
) -> None:
    run = make_run("wnli")
    path = run / "predictions" / "test.jsonl"
    path.with_suffix(".provenance.json").unlink()
    assert submit(monkeypatch, run, "--fill_missing=majority") == 0
    assert asked == [f"wnli {run} (test.jsonl does not say what it is for) None"]
    assert submit(monkeypatch, run, "--fill_missing=majority", "--reuse") == 0
    assert len(asked) == 1
    (run / "config.yaml").write_text("data:\n  task: wnli\n  source: demo\n")
    assert submit(monkeypatch, run, "--fill_missing=majority", "--reuse") == 2
    assert "was trained on the demo corpus" in capsys.readouterr().err


def test_edited_predictions_are_not_overwritten(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], asked: list[str]
) -> None:
    run = make_run("wnli")
    path = run / "predictions" / "test.jsonl"
    path.write_text(path.read_text().replace('"idx": 0, "label": "not_entailment"', '"idx": 0, "label": "entailment"'))
    assert submit(monkeypatch, run, "--fill_missing=majority") == 1
    assert "was changed after `test` wrote it. `--reuse` uses it as it is" in capsys.readouterr().err
    assert submit(monkeypatch, run, "--fill_missing=majority", "--reuse") == 0
    assert zipped_lines("WNLI.tsv")[1] == "0\t1"
    assert asked == []


def test_both_test_files_of_mnli_are_predicted_together(monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> None:
    run = make_run("mnli-mm", checkpoint=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("glue_lit.outputs.submit.entry_text", lambda entry, path: filled_text(entry))
        assert submit(patch, run, "--fill_missing=majority", "--data.source", "glue") == 0
    assert asked == [
        f"mnli {run} (they are from another checkpoint) glue",
        f"ax {run} (there are none) glue",
    ]


def test_the_best_run_of_each_task_is_taken_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], asked: list[str]
) -> None:
    for version, (score, more) in enumerate(
        [(0.55, {}), (0.61, {}), (0.9, {"rows": 100}), (0.95, {"source": "demo"}), (None, {}), (0.58, {})]
    ):
        finish(make_run("cola", version), score, **more)  # type: ignore[arg-type]
    finish(make_run("mnli", 0), 0.83)
    finish(make_run("mnli-mm", 0), 0.81)  # by its score on the matched rows, as mnli's
    finish(make_run("rte", 0), 0.7, rows=20)
    make_run("wnli", 0)
    assert submit(monkeypatch, "--fill_missing=majority") == 0
    lines = [line.split(maxsplit=4) for line in capsys.readouterr().out.splitlines() if " lightning_logs/" in line]
    logs = "lightning_logs"
    assert lines[:4] == [
        ["cola", f"{logs}/cola/version_1", "val/matthews_correlation", "0.6100", "best of 6"],
        ["mnli", f"{logs}/mnli/version_0", "val_matched/accuracy", "0.8300", "best of 2"],
        ["rte", f"{logs}/rte/version_0", "val/accuracy", "0.7000", "the only one, scored on other rows than GLUE's dev set"],
        ["wnli", f"{logs}/wnli/version_0", "val/accuracy", "-", "the only one, no score"],
    ]  # fmt: skip
    assert asked == []
    assert submit(monkeypatch, f"{logs}/cola/version_0", "--fill_missing=majority", "--json") == 0
    assert json.loads(capsys.readouterr().out)["runs"] == [
        {
            "task": "cola",
            "run": str(Path(logs, "cola/version_0").absolute()),
            "metric": "val/matthews_correlation",
            "score": 0.55,
        }
    ]


def test_a_zip_is_replaced_only_if_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], asked: list[str]
) -> None:
    make_run("wnli", checkpoint=None)
    Path("submission.zip").write_text("the one that was uploaded")
    assert glue_lit(monkeypatch, "submit", "--fill_missing=majority") == 2
    assert "--output: submission.zip exists. Name another file, or pass `--overwrite`." in capsys.readouterr().err
    assert Path("submission.zip").read_text() == "the one that was uploaded"
    assert asked == []  # nor is anything predicted
    assert glue_lit(monkeypatch, "submit", "--fill_missing=majority", "--overwrite") == 0
    assert zipped_lines("WNLI.tsv")[0] == "index\tprediction"


def test_runs_left_out_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], asked: list[str]
) -> None:
    first, second, third = make_run("wnli"), make_run("wnli", 1), make_run("wnli", 2)
    for run, time in ((first, 10), (second, 20), (third, 30)):
        os.utime(run / "config.yaml", (time, time))
    (third / "checkpoints" / "best.ckpt").unlink()
    lock = lock_run(Run(second))
    assert lock is not None
    try:
        assert submit(monkeypatch, "--fill_missing=majority") == 0
        out = capsys.readouterr().out
        assert f"{third} has no best checkpoint, so it is skipped." in out
        assert f"{second} is being trained, so it is skipped." in out
        assert re.search(f"wnli +{first} +val/accuracy +- +the only one", out)
        assert submit(monkeypatch, second, "--fill_missing=majority") == 1
        assert "is being trained by another process. Wait for it" in capsys.readouterr().err
    finally:
        os.close(lock)


def test_without_any_run_no_zip_is_written(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert submit(monkeypatch, "--fill_missing=majority") == 1
    assert "There is no run of a GLUE task with a checkpoint in lightning_logs." in capsys.readouterr().err
    assert not Path("submission.zip").exists()


def test_named_runs_are_used_and_missing_tasks_filled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, rte = make_run("cola"), make_run("cola", 1), make_run("rte")
    assert submit(monkeypatch, first, rte) == 1
    error = capsys.readouterr().err
    assert "no run of sst2, mrpc, qqp, stsb, mnli, qnli, wnli" in error
    assert "AX.tsv" in error
    assert "--fill_missing majority" in error
    assert not Path("submission.zip").exists()
    assert submit(monkeypatch, first, second) == 2
    assert "are both runs of cola" in capsys.readouterr().err
    assert submit(monkeypatch, first, rte, "--fill_missing", "majority", "--output", "all.zip") == 0
    out = capsys.readouterr().out
    assert out.count("no run") == 9
    assert submit(monkeypatch, "--check", "all.zip") == 0


def test_a_wrong_zip(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile("some.zip", "w") as archive:
        archive.writestr("CoLA.tsv", "index\tprediction\n0\tyes\n")
    assert submit(monkeypatch, "--check", "some.zip") == 1
    out, err = capsys.readouterr()
    assert "CoLA.tsv, line 2: prediction 'yes', allowed: 0, 1" in out
    assert "AX.tsv: missing" in out
    assert "some.zip is no submission" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-run"], "there is no directory 'no-run'"),
        (["--chek", "a.zip"], "Did you mean '--check'?"),
        (["--check", "a.zip"], "a.zip: cannot be read"),
        (["--fill_missing", "zero"], "invalid choice: 'zero'"),
        (["--check", "a.zip", "--reuse"], "--check only looks at a zip"),
        (["--check", "a.zip", "lightning_logs"], "--check only looks at a zip"),
        (["--output", "a.txt"], "--output: got 'a.txt', allowed: the name of a file that ends in .zip."),
        (["--output", "no.zip/x.zip"], "cannot write in "),
        (["no.zip"], "no.zip is no run directory. To check a zip: `--check no.zip`."),
        (["--data.source", "demo"], "the test rows of the demo corpus are not GLUE's"),
    ],
)
def test_bad_input_is_one_message(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("no.zip").touch()
    assert submit(monkeypatch, *arguments) in (1, 2)
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_run_of_an_own_task_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run("cola")
    (run / "config.yaml").write_text("data:\n  task: reviews\n")
    assert submit(monkeypatch, run) == 2
    assert "is a run of reviews, which is not a task of GLUE" in capsys.readouterr().err


def official_test_rows(folder: Path) -> None:
    """GLUE's folder for WNLI and AX, with invented rows as many as the real ones."""
    wnli, ax = TASKS["wnli"].files, TASKS["ax"].files
    for file, rows in ((wnli["test"], 146), (ax["test"], 1104)):
        path = folder / file.path
        path.parent.mkdir(parents=True)
        header = "index\tsentence1\tsentence2"
        path.write_text("\n".join([header, *(f"{n}\tText {n} .\tIt is {n} ." for n in range(rows))]) + "\n")


@pytest.mark.usefixtures("forked_children")
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
    # under a name of the user's own, where its predictions must be found all the same
    run = Path("lightning_logs/wnli/version_0").rename("kept")
    capsys.readouterr()
    assert submit(monkeypatch, run, "--fill_missing=majority") == 2
    assert "was trained on the demo corpus" in capsys.readouterr().err
    assert submit(monkeypatch, run, "--fill_missing=majority", "--data.source", "nowhere") == 1
    error = capsys.readouterr().err
    assert "wnli cannot be predicted with kept. data.source: there is no file or folder 'nowhere'" in error
    assert len(error.splitlines()) == 1
    assert submit(monkeypatch, run, "--fill_missing=majority", "--data.source", "glue") == 0
    written = (run / "predictions" / "test.jsonl").read_text()
    predicted = [json.loads(line) for line in written.splitlines()]
    numbers = {"not_entailment": "0", "entailment": "1"}
    assert zipped_lines("WNLI.tsv")[1:] == [f"{line['idx']}\t{numbers[line['label']]}" for line in predicted]
    record = json.loads((run / "predictions" / "test.provenance.json").read_text())
    assert (record["rows"], record["checkpoint"], record["task"]) == (146, "best.ckpt", "wnli")
    assert record["fingerprint"] == hashlib.sha256(Path("glue/WNLI/test.tsv").read_bytes()).hexdigest()
    (run / "checkpoints" / "last.ckpt").unlink()
    shutil.rmtree("glue")
    capsys.readouterr()
    assert submit(monkeypatch, run, "--fill_missing=majority") == 0  # the source is not needed any more
    assert "Predicting" not in capsys.readouterr().out


def test_json_lists_the_files_of_the_zip(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], asked: list[str]
) -> None:
    make_run("rte", 0)
    assert submit(monkeypatch, "--fill_missing", "majority", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["zip"] == str(Path("submission.zip").absolute())
    found = {entry["file"]: entry for entry in document["files"]}
    assert list(found) == list(ENTRIES)
    assert found["RTE.tsv"] == {
        "file": "RTE.tsv",
        "rows": 3000,
        "from": str(Path("lightning_logs/rte/version_0").absolute()),
    }
    assert submit(monkeypatch, "--check", "submission.zip", "--json") == 0
    found = {entry["file"]: entry for entry in json.loads(capsys.readouterr().out)["files"]}
    assert sum(found["RTE.tsv"]["predictions"].values()) == 3000
    Path("no.zip").write_bytes(b"no zip")
    assert submit(monkeypatch, "--check", "no.zip", "--json") == 1
    assert capsys.readouterr().out == ""
