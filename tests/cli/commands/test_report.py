"""`glue-lit report`: which runs it takes, what it writes, what it says."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import warm
import yaml

import glue_lit.outputs.report as command
from glue_lit.__main__ import main
from glue_lit.runs.locks import lock_run
from glue_lit.runs.prediction_record import write_prediction_record
from glue_lit.runs.run import Run
from glue_lit.tasks.glue import TASKS

WriteRun = Callable[..., Path]


def report(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["glue-lit", "report", *map(str, arguments)])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def rewrite(run: Path, **changes: object) -> None:
    """Change the record of a run."""
    path = run / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("task", sorted(set(TASKS) - {"ax"}))
def test_every_task_has_a_report(task: str, write_run: WriteRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(task)
    assert report(monkeypatch) == 0
    html = (run / "report" / "report.html").read_text(encoding="utf-8")
    assert f"{task}/version_0" in html
    assert "1 min 15 s" in html
    assert 'class="note"' not in html
    pictures = {path.stem for path in (run / "report").glob("*.png")}
    of_rows = {"scatter"} if TASKS[task].is_regression else {"confusion", "calibration"}
    assert pictures == {"learning", "loss", "slices"} | of_rows


@pytest.mark.usefixtures("forked_children")
def test_a_report_of_a_real_run(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Trained, predicted by the command itself, and scored as training scored it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    fit = ["fit", "--data.task=mnli", "--data.source=demo", f"--model.name_or_path={tiny_model}"]
    limits = [
        "--data.train_limit=64",
        "--trainer.max_epochs=1",
        "--trainer.accelerator=cpu",
        "--trainer.precision=32-true",
    ]
    assert warm.run("-m", "glue_lit", *fit, *limits).returncode == 0
    run = Path("lightning_logs/mnli/version_0")
    assert report(monkeypatch, run) == 0
    said = capfd.readouterr().out
    assert f"Predicting validation_matched with {run} (there are no predictions yet)" in said
    assert f"Report      {run}/report/report.html, and 5 figures (PNG)" in said
    assert report(monkeypatch, run, "--json") == 0
    numbers = json.loads(capfd.readouterr().out)  # nothing else is on standard output, and nothing is predicted again
    (found,) = numbers["runs"]
    metrics = json.loads((run / "metrics.json").read_text())["metrics"]
    assert found["scores"]["accuracy"]["value"] == pytest.approx(metrics["val_matched/accuracy"], abs=1e-9)
    assert found["reliability"]["log_loss"] == pytest.approx(metrics["val_matched/loss"], abs=1e-5)
    assert found["curves"]["val_matched/accuracy"]["values"] == [pytest.approx(metrics["val_matched/accuracy"])]
    assert len(found["notes"]) == 3
    assert found["notes"][0].startswith("In the data: train texts cut at 64 tokens: about ")
    assert sum(part["rows"] for part in found["slices"] if part["feature"] == "Genre") == found["rows"]
    best = run / "checkpoints" / "best.ckpt"
    best.write_bytes((run / "checkpoints" / "last.ckpt").read_bytes())
    assert report(monkeypatch, run) == 0
    assert "(its predictions are from another checkpoint)" in capfd.readouterr().out


def test_a_report_on_the_rows_of_qnli_needs_no_torch_and_takes_seconds(write_run: WriteRun, tmp_path: Path) -> None:
    (tmp_path / "QNLI").mkdir()
    pairs = [f"{row}\tWho has {row} of the things?\tNobody but {'me ' * (row % 50)}has them.\t" for row in range(5463)]
    rows = [pair + ("entailment" if row % 3 else "not_entailment") for row, pair in enumerate(pairs)]
    (tmp_path / "QNLI" / "dev.tsv").write_text("\n".join(["index\tquestion\tsentence\tlabel", *rows]) + "\n")
    run = write_run("qnli", source=str(tmp_path))
    script = (
        "import sys\n"
        f"sys.argv = ['glue-lit', 'report', {str(run)!r}]\n"
        "from glue_lit.__main__ import main\n"
        "main()\n"
        "print(sorted({'torch', 'tensorflow', 'transformers', 'datasets', 'lightning'} & set(sys.modules)))"
    )
    before = os.times()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
    after = os.times()  # seconds of processor; about 3.3, and more where the machine is busy
    assert after.children_user + after.children_system - before.children_user - before.children_system < 10
    assert (run / "report" / "report.html").stat().st_size < 2_000_000


def test_a_report_compares_two_runs(
    write_run: WriteRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weak, strong = write_run("sst2", 0, skill=0.2), write_run("sst2", 1, skill=0.95)
    assert report(monkeypatch, weak, strong) == 0
    said = capsys.readouterr().out
    assert re.search(
        r"Yes\. sst2/version_1 is better than sst2/version_0 by 0\.\d+ in Accuracy, more than chance", said
    )
    html = Path("report/report.html").read_text(encoding="utf-8")
    assert "exact test on the rows that only one run gets right: p = less than 0.001." in html
    assert "seed_everything" in html
    assert {"comparison.png", "confusion-1.png", "confusion-2.png"} <= {path.name for path in Path("report").iterdir()}
    assert report(monkeypatch, weak, strong, "--json") == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["comparison"]["mcnemar"]["p"] < 0.001
    assert numbers["differing"] == {"seed_everything": ["0", "1"]}
    # a report of one run in the same folder leaves no picture of two
    (Path("report") / "mine.png").write_text("kept")
    assert report(monkeypatch, weak, "--output", "report") == 0
    assert {path.name for path in Path("report").iterdir()} == {
        "report.html", "calibration.png", "confusion.png", "learning.png", "loss.png", "slices.png", "mine.png",
    }  # fmt: skip


def test_a_report_shows_the_names_of_runs(
    write_run: WriteRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = write_run("wnli", 0), write_run("wnli", 1)
    for run, names in ((one, "<b>bigger</b>"), (two, "")):
        settings = json.loads((run / "config.yaml").read_text())
        (run / "config.yaml").write_text(json.dumps(settings | {"name": names}))
    assert report(monkeypatch, one, two) == 0
    html = Path("report/report.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;bigger&lt;/b&gt;" in html
    assert "<b>bigger" not in html
    assert "wnli/version_1" in html
    assert "<th>Run</th>" in html  # which directory it is
    assert "wnli/version_0" in html
    assert "<b>bigger</b>" in capsys.readouterr().out


def test_a_report_compares_six_runs(write_run: WriteRun, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [write_run("wnli", version) for version in range(6)]
    assert report(monkeypatch, *runs) == 0
    assert "6 runs side by side" in Path("report/report.html").read_text(encoding="utf-8")


def test_the_report_of_another_split_has_its_own_folder(write_run: WriteRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run("mnli", split="validation_mismatched")
    assert report(monkeypatch, run, "--split", "validation_mismatched", "--slice", "pairID") == 0
    html = (run / "report-validation_mismatched" / "report.html").read_text(encoding="utf-8")
    assert "PairID" in html
    assert not (run / "report").exists()


def test_ax_is_sliced_by_its_linguistic_categories(
    write_run: WriteRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run("mnli")
    (tmp_path / "AX").mkdir()
    names = ("entailment", "neutral", "contradiction")
    rows = [f"{row}\tOne.\tTwo.\t{names[row % 3]}\t{'Negation;Disjunction' * (row % 2)}" for row in range(30)]
    (tmp_path / "AX" / "AX.tsv").write_text("\n".join(["index\tsentence1\tsentence2\tlabel\tLogic", *rows]) + "\n")
    path = run / "predictions" / "ax-test.jsonl"
    lines = [{"idx": row, "label": "neutral", "gold": names[row % 3]} for row in range(30)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_prediction_record(path, str(tmp_path), 30, run / "checkpoints" / "best.ckpt")
    assert report(monkeypatch, run, "--data.task", "ax") == 0
    html = (run / "report-ax" / "report.html").read_text(encoding="utf-8")
    assert all(f"<td>{group}</td>" in html for group in ("Negation", "Disjunction", "(none)"))


def test_markup_in_rows_is_escaped(write_run: WriteRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "SST-2").mkdir()
    rows = [f"<script>alert({row})</script>\t{row % 2}" for row in range(40)]
    (tmp_path / "SST-2" / "dev.tsv").write_text("\n".join(["sentence\tlabel", *rows]) + "\n")
    run = write_run("sst2", source=str(tmp_path))
    assert report(monkeypatch, run) == 0
    html = (run / "report" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in html
    assert "&lt;script&gt;alert(" in html


def test_edited_predictions_are_used_with_a_warning(
    write_run: WriteRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run("sst2")
    path = run / "predictions" / "validation.jsonl"
    path.write_text(path.read_text() + "\n")
    assert report(monkeypatch, run) == 0
    assert "validation.jsonl was changed after it was written, and is used as it is" in capsys.readouterr().out
    path.with_suffix(".provenance.json").unlink()
    assert report(monkeypatch, run) == 0
    assert "validation.jsonl does not say which checkpoint it is from" in capsys.readouterr().out


def test_missing_files_are_reported_and_their_sections_left_out(
    write_run: WriteRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run("cola")
    rewrite(run, metrics={"val/matthews_correlation": 0.999})
    (run / "checkpoints" / "best.ckpt").unlink()
    next(run.glob("*.tfevents.*")).write_bytes(b"not an event file, but long enough to be read")
    assert report(monkeypatch, run, "--data.source", "demo") == 0
    said = capsys.readouterr().out
    assert "metrics.json says Matthews correlation 0.9990, these predictions" in said
    assert "The run's best checkpoint is missing" in said
    assert "is damaged (at byte 0)" in said
    (run / "metrics.json").unlink()
    assert report(monkeypatch, run) == 0
    assert "The fit was not finished: there is no metrics.json" in capsys.readouterr().out
    (run / "metrics.json").write_text("[")
    assert report(monkeypatch, run) == 0
    assert "metrics.json cannot be read" in capsys.readouterr().out


def test_a_report_without_its_data_source(
    write_run: WriteRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "glue" / "SST-2"
    folder.mkdir(parents=True)
    (folder / "dev.tsv").write_text("sentence\tlabel\ngood\t1\nbad\t0\n")
    run = write_run("sst2", source=str(folder.parent))
    (folder / "dev.tsv").unlink()
    assert report(monkeypatch, run) == 0
    assert "The texts cannot be read: data.source: " in capsys.readouterr().out
    assert "(text not available)" in (run / "report" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["no_run"], 1, "report: there is no directory 'no_run'."),
        ([".", "--json"], 1, "report: . is not a run, it has no config.yaml."),
        (["--split", "dev"], 2, "--split: task rte has no split 'dev'. Allowed: train, validation, test."),
        (["--split", "train"], 1, "has no checkpoint"),
        (["--slice", "genre"], 1, "there is no column 'genre'"),
        (["--output", "lightning_logs/rte/version_0/config.yaml"], 2, "names a file. Allowed: a folder"),
        (
            ["--output", "page.html"],
            2,
            "page.html names a file. Allowed: a folder, which is created if missing, for report.html",
        ),
        (["--data.task", "axe"], 2, "there is no task 'axe'. Did you mean 'ax'?"),
        (["--jsn"], 2, "Did you mean '--json'?"),
        (["lightning_logs/rte/version_0"] * 7, 2, "got 7 runs, allowed: at most 6"),
        (["lightning_logs/rte/version_0", "lightning_logs/rte/../rte/version_0"], 2, "are the same run; name it once"),
    ],
)
def test_bad_input_is_one_message(
    arguments: list[str],
    status: int,
    message: str,
    write_run: WriteRun,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = write_run("rte")
    if "train" in arguments:
        (run / "checkpoints" / "best.ckpt").unlink()
    assert report(monkeypatch, *arguments) == status
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (run / "report").exists()


def test_runs_of_different_tasks_or_splits_are_not_compared(
    write_run: WriteRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rte, sst2 = write_run("rte"), write_run("sst2")
    assert report(monkeypatch, rte, sst2) == 2
    assert "is of task rte, " in capsys.readouterr().err
    (tmp_path / "RTE").mkdir()
    rows = [f"{row}\tOne.\tTwo.\t{'not_' * (row % 2)}entailment" for row in range(80)]
    (tmp_path / "RTE" / "dev.tsv").write_text("\n".join(["index\tsentence1\tsentence2\tlabel", *rows]) + "\n")
    other = write_run("rte", 1, source=str(tmp_path))
    assert report(monkeypatch, rte, other) == 1
    assert "have not predicted the same rows: their gold labels differ" in capsys.readouterr().err
    assert not Path("report").exists()


def test_runs_with_different_metrics_are_refused_before_they_are_predicted(
    write_run: WriteRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [write_run("rte"), write_run("rte", 1)]
    for run, metric in zip(runs, ("brier_score", "auroc"), strict=True):
        config = yaml.safe_load((run / "config.yaml").read_text())
        config["data"]["metrics"] = [metric]
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        (run / "predictions" / "validation.jsonl").unlink()  # predicting anew would fail: there are no weights
    assert report(monkeypatch, *runs) == 1
    assert "task rte has other labels or metrics in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"idx": 0}\n', "line 1: label is None, not a label of task rte"),
        (b'{"idx": 0, "label": "entailment"}\n', "none of its 1 rows has a gold label"),
        (
            b'{"idx": 0, "label": ["entailment"], "gold": "entailment"}\n',
            "label is ['entailment'], not a label of task",
        ),
    ],
)
def test_damaged_predictions_are_one_message(
    content: bytes,
    message: str,
    write_run: WriteRun,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = write_run("rte")
    path = run / "predictions" / "validation.jsonl"
    path.write_bytes(content)
    write_prediction_record(path, "demo", 1, run / "checkpoints" / "best.ckpt")
    assert report(monkeypatch, run) == 1
    assert message in capsys.readouterr().err


def test_a_run_in_training_is_not_predicted(
    write_run: WriteRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run("rte")
    lock = lock_run(Run(run))
    assert lock is not None
    assert report(monkeypatch, run) == 1
    assert f"{run} is being trained by another process. Wait for it" in capsys.readouterr().err


def test_a_failed_prediction_is_reported(
    write_run: WriteRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run("rte")
    (run / "predictions" / "validation.jsonl").unlink()
    assert report(monkeypatch, run) == 1
    error = capsys.readouterr().err
    assert f"glue-lit: error: validation cannot be predicted with {run}. " in error
    assert "best.ckpt" in error


def test_a_package_that_is_missing_is_named(
    write_run: WriteRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run("rte")
    monkeypatch.setattr(command, "_NEEDED", {"no_such_module": "matplotlib"})
    assert report(monkeypatch) == 2
    assert (
        "matplotlib is not installed. Install what a report needs: pip install 'glue-lit[report]'"
        in capsys.readouterr().err
    )
