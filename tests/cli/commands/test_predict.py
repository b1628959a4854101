"""`glue-lit predict` of texts, files and standard input, against what the trainer's own `predict` writes."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import pandas
import pytest
import torch
import warm
from command_line import glue_lit

from glue_lit.cli.commands import predict_texts
from glue_lit.data.sources import open_split
from glue_lit.runs.prediction_record import read_prediction_record
from glue_lit.runs.run import Run
from glue_lit.tasks.glue import get_task
from glue_lit.training.callbacks.prediction_writer import prediction_lines


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A run of a task on pairs, of one on single texts, and of a regression; their dev splits predicted."""
    root = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for task in ("mnli", "sst2", "stsb"):
            settings = {
                "data.task": task, "data.source": "demo", "model.name_or_path": tiny_model, "trainer.max_epochs": 1,
                "model.learning_rate": 3e-3, "data.train_limit": 64, "data.validation_limit": 50, "trainer.accelerator": "cpu",
                "trainer.precision": "32-true",
            }  # fmt: skip
            assert glue_lit(patch, "fit", *(f"--{key}={value}" for key, value in settings.items())) == 0
            split = get_task(task).monitored_split
            predict = ("predict", "--ckpt_path=best", f"--data.predict_split={split}", f"--data.task={task}")
            assert glue_lit(patch, *predict, "--data.validation_limit=null") == 0
    return {task: Run(root / "lightning_logs" / task / "version_0") for task in ("mnli", "sst2", "stsb")}


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def same(found: Sequence[dict[str, Any]], expected: Sequence[dict[str, Any]]) -> None:
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert one["idx"] == other["idx"]
        if "score" in other:
            assert one["score"] == pytest.approx(other["score"], abs=1e-5)
        else:
            assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("task", ["mnli", "sst2", "stsb"])
def test_a_file_is_predicted_as_the_split_is(
    trained: dict[str, Run], task: str, devices: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    monkeypatch.setattr("torch.set_num_threads", lambda number: None)
    monkeypatch.setattr("glue_lit.data.texts_to_predict.CHUNK", 20)
    spec, run = get_task(task), trained[task]
    split = str(spec.monitored_split)
    rows = open_split(spec, "demo", split).read()
    path = tmp_path / "rows.jsonl"
    texts = [rows.texts_a] if rows.texts_b is None else [rows.texts_a, rows.texts_b]
    path.write_text(
        "".join(json.dumps(dict(zip(spec.text_columns, row, strict=True))) + "\n" for row in zip(*texts, strict=True))
    )
    assert glue_lit(monkeypatch, "predict", "--run", run.path, "--file", path, "--devices", devices) == 0
    written = run.predictions / "rows.jsonl.jsonl"
    assert f"{written} ({len(rows):,} rows)" in capsys.readouterr().out.replace("\n", "")
    same(lines_of(written), lines_of(run.predictions / f"{split}.jsonl"))


def test_one_text_is_predicted(
    trained: dict[str, Run], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained["mnli"]
    rows = open_split(get_task("mnli"), "demo", "validation_matched").read()
    assert rows.texts_b is not None
    pair = ("--text", rows.texts_a[3], "--text_pair", rows.texts_b[3])
    assert glue_lit(monkeypatch, "predict", "--run", run.path, *pair) == 0
    found = json.loads(capsys.readouterr().out)
    same([found | {"idx": 3}], lines_of(run.predictions / "validation_matched.jsonl")[3:4])
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert glue_lit(monkeypatch, "predict", "--run", run.path, *pair) == 0
    table = capsys.readouterr().out
    assert f"{found['probabilities'][found['label']]:.4f}" in table
    assert table.index(found["label"]) == min(table.index(name) for name in found["probabilities"])


def test_each_of_several_texts_is_predicted(
    trained: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained["mnli"]
    rows = open_split(get_task("mnli"), "demo", "validation_matched").read()
    texts = rows.texts_at([3, 4])
    pairs = [word for first, second in texts for word in (f"--text={first}", f"--text_pair={second}")]
    expected = lines_of(run.predictions / "validation_matched.jsonl")[3:5]
    assert glue_lit(monkeypatch, "predict", "--run", run.path, *pairs, "--with_texts") == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["idx"], line["premise"], line["hypothesis"]) for line in found] == [(0, *texts[0]), (1, *texts[1])]
    same([line | {"idx": n} for n, line in enumerate(found, start=3)], expected)
    assert glue_lit(monkeypatch, "predict", "--run", run.path, *pairs, "--output", tmp_path / "two.csv") == 0
    assert "two.csv (2 rows)" in capsys.readouterr().out.replace("\n", "")
    assert (tmp_path / "two.csv").read_text().startswith("idx,label,probability_entailment,probability_neutral,")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert glue_lit(monkeypatch, "predict", "--run", trained["stsb"].path, *pairs) == 0
    assert capsys.readouterr().out.count("score") == 1  # a table with a row for each pair


def test_a_file_is_written_as_its_ending_says(
    trained: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    texts = ["=SUM(A1)", 'say "hi", or\nnot', "plain"]
    Path("in.jsonl").write_text("".join(json.dumps({"no": n, "label": text}) + "\n" for n, text in enumerate(texts)))
    flags = ("--file", "in.jsonl", "--columns", "label", "--id", "no", "--with_texts")
    for ending in ("jsonl", "csv", "parquet"):
        assert glue_lit(monkeypatch, "predict", "--run", trained["sst2"].path, *flags, "--output", f"out.{ending}") == 0
    lines = lines_of(Path("out.jsonl"))
    assert [(line["row"], line["id"], line["text_label"]) for line in lines] == [
        (n + 1, str(n), text) for n, text in enumerate(texts)
    ]
    for table in (pandas.read_csv("out.csv", dtype={"id": str}), pandas.read_parquet("out.parquet")):
        of_lines = [
            {**line, **{f"probability_{name}": p for name, p in line["probabilities"].items()}} for line in lines
        ]
        assert table.to_dict("records") == [
            {name: value for name, value in line.items() if name != "probabilities"} for line in of_lines
        ]


@contextlib.contextmanager
def predicting_standard_input(checkpoint: Path, folder: Path) -> Iterator[tuple[warm.Program, TextIO, TextIO]]:
    """`predict --file -`, with pipes to its standard input and from its standard output."""
    pipes = [folder / name for name in ("stdin", "stdout")]
    for pipe in pipes:
        os.mkfifo(pipe)
    program = warm.start(
        "-m", "glue_lit", "predict", "--ckpt_path", checkpoint, "--file", "-", stdin=pipes[0], stdout=pipes[1]
    )
    with pipes[0].open("w", buffering=1) as questions, pipes[1].open() as answers:
        yield program, questions, answers


def test_standard_input_is_predicted_line_by_line(trained: dict[str, Run], tmp_path: Path) -> None:
    predictions = []
    with predicting_standard_input(trained["sst2"].checkpoint("best"), tmp_path) as (program, questions, answers):
        for line in ("a fine film", '{"sentence": "a fine film"}', "<b>dull</b>"):
            questions.write(line + "\n")
            predictions.append(json.loads(answers.readline()))  # comes before the next line is written
        questions.close()
        assert program.wait(60).returncode == 0
    assert [prediction["idx"] for prediction in predictions] == [0, 1, 2]
    assert predictions[0]["probabilities"] == predictions[1]["probabilities"]


WRONG = [
    (["--text", "a", "--text_pair", "b"], "sst2", "task sst2 takes sentence: leave --text_pair out"),
    (["--text", "a"], "mnli", "takes premise and hypothesis: pass the second text as `--text_pair TEXT`"),
    (["--text_pair", "a"], "mnli", "the first text is missing"),
    (["--text", "a", "--file", "b.csv"], "sst2", "give only one of them"),
    (["--text", "a", "--columns", "x"], "sst2", "--columns goes with --file"),
    (["--text", "a", "--id", "x"], "sst2", "--id goes with --file"),
    (["--text", "a", "--output", "x.xlsx"], "sst2", "x.xlsx: its name ends with '.xlsx'. Allowed: .csv, .tsv, .jsonl,"),
    (["--file", "rows.csv", "--columns", "text", "--output", "x"], "sst2", "--output: x: its name has no ending. Allowed:"),
    (["--file", "rows.csv", "--columns", "text", "--id", "labels"], "sst2", "no column 'labels'. Did you mean 'label'?"),
    (["--file", "rows.txt", "--id", "labels"], "sst2", "--id: rows.txt has no columns"),
    (["--text", "a", "--text", "b", "--text_pair", "c"], "mnli", "--text_pair: got 1 for 2 of --text"),
    (["--with_texts", "--ckpt_path", "best"], "sst2", "--with_texts goes with --text or --file"),
    (["--text", "--fine"], "sst2", "--text needs a value; one that begins with a dash is written --text=VALUE"),
    (["--text", "caf\udce9"], "sst2", "--text: not UTF-8"),
    (["--text", "two", "words"], "sst2", "got 'words', which belongs to no flag"),
    (["--file", "rows.csv", "more.csv"], "sst2", "got 'more.csv', which belongs to no flag. One file at a time"),
    (["--file", "rows.csv", "--text_pair", "a"], "sst2", "the flag goes with --text"),
    (["--file", "rows.csv", "--columns", "text", "--output", "./rows.csv"], "sst2", "./rows.csv is the file that is read"),
    (["--file", "rows.csv", "--columns", "text", "--output", "."], "sst2", "--output: . is a folder"),
    (["--file", "surrogate.jsonl", "--columns", "text"], "sst2", "surrogate.jsonl, line 1: column 'text' holds half"),
    (["--text", "a", "--devices", "0"], "sst2", "--devices: got 0, allowed: 1 to"),
    (["--text", "a", "--ouput=x.csv"], "sst2", "--ouput=x.csv does not go with --text or --file. Did you mean '--output'?"),
    (["--text", "a", "--data.source", "x"], "sst2", "--data.source does not go with --text"),
    (["--file", "no.csv"], "sst2", "no.csv: there is no such file"),
    (["--file", "rows.xlsx"], "sst2", "Allowed: .csv"),
    (["--file", "rows.csv"], "sst2", "no column 'sentence'. The columns are: 'text'"),
    (["--file", "rows.csv", "--columns", "text", "label"], "sst2", "--columns: got 2 ('text', 'label'), task sst2 takes se"),
    (["--file", "rows.csv", "--columns=text, label"], "stsb", "takes sentence1 and sentence2. Names are separated by blanks: "
     "`--columns text label`."),
    (["--file", "bad.jsonl", "--columns", "text"], "sst2", "bad.jsonl, line 5001: not JSON"),
    (["--calibrate", "--text", "a", "--text_pair", "b"], "stsb", "task stsb has no probabilities"),
    (["--calibrate", "--output", "x"], "sst2", "--output goes with --text or --file"),
    (["--output", "x"], "sst2", "--output goes with --text or --file"),
    (["--columns", "x"], "sst2", "--columns goes with --text or --file"),
    (["--json"], "sst2", "--json goes with --text or --file"),
    (["--devices", "2", "--calibrate"], "sst2", "for a split it is `--trainer.devices`"),
]  # fmt: skip


@pytest.mark.parametrize(("flags", "task", "message"), WRONG)
def test_bad_input_is_one_message(
    trained: dict[str, Run], flags: list[str], task: str, message: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text("text,label\na,b\n")
    Path("rows.xlsx").write_text("PK")
    Path("surrogate.jsonl").write_text('{"text": "\\ud800"}\n')
    Path("bad.jsonl").write_text('{"text": "a"}\n' * 5000 + "{\n")
    before = set(trained[task].path.rglob("*"))
    assert glue_lit(monkeypatch, "predict", "--run", trained[task].path, *flags) in (1, 2)
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert set(trained[task].path.rglob("*")) == before
    assert Path("rows.csv").read_text() == "text,label\na,b\n"


def test_a_failed_prediction_leaves_the_earlier_file(
    trained: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out.jsonl").write_text("before")
    (tmp_path / "rows.txt").write_bytes(b"good\n" * 5000 + b"\xff\n")
    arguments = (
        "predict",
        "--run",
        trained["sst2"].path,
        "--file",
        tmp_path / "rows.txt",
        "--output",
        tmp_path / "out.jsonl",
    )
    assert glue_lit(monkeypatch, *arguments) == 1
    assert (tmp_path / "out.jsonl").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "rows.txt"]


def test_calibrated_probabilities(
    trained: dict[str, Run], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained["mnli"]
    assert glue_lit(monkeypatch, "predict", "--run", run.path, "--calibrate", "--data.predict_split=test_matched") == 0
    said = capsys.readouterr().err
    record = json.loads((run.path / "calibration.json").read_text())
    assert f"temperature {record['temperature']:.4f}" in said
    assert f"{record['ece_before']:.4f} before, {record['ece_after']:.4f} after" in said
    assert record["rows"] == 50  # the run's own limit
    scaled = lines_of(run.predictions / "test_matched.jsonl")
    provenance = read_prediction_record(run.predictions / "test_matched.jsonl")
    assert provenance is not None
    assert not provenance["changed"]  # `submit` takes them
    assert provenance["temperature"] == pytest.approx(record["temperature"])
    assert glue_lit(monkeypatch, "predict", "--run", run.path, "--data.predict_split=test_matched") == 0
    for one, other in zip(lines_of(run.predictions / "test_matched.jsonl"), scaled, strict=True):
        powers = {name: p ** (1 / record["temperature"]) for name, p in one["probabilities"].items()}
        expected = {name: power / sum(powers.values()) for name, power in powers.items()}
        assert other["probabilities"] == pytest.approx(expected, abs=1e-6)
        assert other["label"] == one["label"]
    (run.path / "calibration.json").write_text(json.dumps(record | {"checkpoint": "of others", "temperature": 9.0}))
    pair = ("--text", "a", "--text_pair", "b")
    assert glue_lit(monkeypatch, "predict", "--run", run.path, "--calibrate", *pair) == 0  # fitted anew
    assert json.loads((run.path / "calibration.json").read_text()) == record


def test_fitting_a_temperature_leaves_written_predictions_unchanged(
    trained: dict[str, Run], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained["sst2"]
    own = (run.predictions / "validation.jsonl").read_bytes()
    assert glue_lit(monkeypatch, "predict", "--run", run.path, "--calibrate", "--text", "fine") == 0
    assert (run.predictions / "validation.jsonl").read_bytes() == own
    record = json.loads((run.path / "calibration.json").read_text())
    gold = [line for line in lines_of(run.predictions / "validation.jsonl") if "gold" in line][:]
    assert record["rows"] == 50 < len(gold)
    for temperature in (0, -1.5, float("nan"), "hot", None):  # whoever wrote that, it is not used
        (run.path / "calibration.json").write_text(json.dumps(record | {"temperature": temperature}))
        assert glue_lit(monkeypatch, "predict", "--run", run.path, "--calibrate", "--text", "fine") == 0
        assert json.loads((run.path / "calibration.json").read_text()) == record
    capsys.readouterr()
    validation = ("--calibrate", "--data.predict_split=validation", "--data.validation_limit=null")
    assert glue_lit(monkeypatch, "predict", "--run", run.path, *validation) == 0
    assert "on the rows that the temperature was fitted on" in capsys.readouterr().out
    (run.predictions / "validation.jsonl").write_bytes(own)  # which other tests compare with


def test_unreadable_validation_rows_are_reported(
    trained: dict[str, Run], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained["sst2"]
    (run.path / "calibration.json").unlink(missing_ok=True)
    config = run.config.read_text()
    run.config.write_text(config.replace("source: demo", "source: /nowhere"))
    try:
        assert glue_lit(monkeypatch, "predict", "--run", run.path, "--calibrate", "--text", "fine") == 1
    finally:
        run.config.write_text(config)
    error = capsys.readouterr().err
    assert "--calibrate: the dev rows cannot be read. data.source: there is no file or folder '/nowhere'" in error
    assert not (run.path / "calibration.json").exists()


def test_predictions_that_are_not_finite_are_refused(
    trained: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = torch.load(trained["sst2"].checkpoint("best"), weights_only=True)
    saved["state_dict"]["model.classifier.bias"].fill_(float("nan"))
    torch.save(saved, tmp_path / "nan.ckpt")
    assert glue_lit(monkeypatch, "predict", "--ckpt_path", tmp_path / "nan.ckpt", "--text", "a") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "nan.ckpt gives outputs that are not numbers (NaN)" in err


def test_a_terminal_shows_a_progress_bar(trained: dict[str, Run], tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("one\n" * 50)
    master, terminal = pty.openpty()
    paths = ("--file", tmp_path / "rows.txt", "--output", tmp_path / "out.jsonl")
    program = warm.start(
        "-m", "glue_lit", "predict", "--run", trained["sst2"].path, *paths, stdout=Path(os.ttyname(terminal))
    )
    done = program.wait()
    assert done.returncode == 0, done.stderr
    shown = os.read(master, 65536)
    os.close(terminal)
    os.close(master)
    assert b"50 rows" in shown
    assert len(lines_of(tmp_path / "out.jsonl")) == 50


@pytest.mark.parametrize("way", ["ctrl-c", "reader gone"])
def test_an_interrupt_ends_predict_while_standard_input_is_open(
    trained: dict[str, Run], way: str, tmp_path: Path
) -> None:
    with predicting_standard_input(trained["sst2"].checkpoint("best"), tmp_path) as (program, questions, answers):
        questions.write("one\n")
        assert answers.readline()
        if way == "ctrl-c":
            program.send_signal(signal.SIGINT)
        else:
            answers.close()
            questions.write("two\n")
        done = program.wait(60)
    assert (done.returncode, done.stderr) == (130 if way == "ctrl-c" else 0, "")


def test_a_full_standard_output_is_reported(
    trained: dict[str, Run], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert glue_lit(monkeypatch, "predict", "--run", trained["sst2"].path, "--text", "a") == 1
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()
    assert "Cannot write to standard output (No space left on device)." in capsys.readouterr().err


def test_help_lists_own_and_trainer_flags(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert glue_lit(monkeypatch, "predict", "--help") == 0
    text = capsys.readouterr().out
    assert "--text_pair" in text
    assert "--data.predict_split" in text


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_leaves_no_unfinished_file(
    number: signal.Signals, status: int, trained: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The signal arrives while the first chunk is being predicted; the file of before stays."""
    (tmp_path / "texts.csv").write_text("sentence\n" + "good\n" * 20)
    (tmp_path / "out.jsonl").write_text("of before")

    def interrupted(*arguments: Any) -> Any:
        os.kill(os.getpid(), number)
        return prediction_lines(*arguments)

    monkeypatch.setattr(predict_texts, "prediction_lines", interrupted)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # otherwise it would end the tests
    try:
        options = ("--file", tmp_path / "texts.csv", "--output", tmp_path / "out.jsonl")
        assert glue_lit(monkeypatch, "predict", "--run", trained["sst2"].path, *options) == status
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
    assert f"Stopped after 0 rows. Nothing was written to {tmp_path / 'out.jsonl'}." in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "texts.csv"]
    assert (tmp_path / "out.jsonl").read_text() == "of before"


@pytest.mark.slow
def test_a_million_lines_in_bounded_memory(trained: dict[str, Run], tmp_path: Path) -> None:
    used = []
    for count in (50_000, 1_000_000):
        lines = subprocess.Popen(["bash", "-c", f"yes good | head -{count}"], stdout=subprocess.PIPE)
        answers = tmp_path / "answers.jsonl"
        with answers.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "glue_lit", "predict", "--run", trained["sst2"].path, "--file", "-"],
                stdin=lines.stdout, stdout=file,
            )  # fmt: skip
            _, status, usage = os.wait4(process.pid, 0)  # of this process alone
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        assert lines.wait() == 0
        assert lines.stdout is not None
        lines.stdout.close()
        with answers.open("rb") as file:
            assert sum(1 for _ in file) == count
        used.append(usage.ru_maxrss)  # KiB
    assert used[1] < used[0] + 50_000
