import json
import sys
from pathlib import Path

import pytest

from glue_lit.__main__ import main
from glue_lit.data.sources import open_split
from glue_lit.tasks.glue import TASKS


def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(sys, "argv", ["glue-lit", "show", *arguments])
    main()
    return capsys.readouterr().out


@pytest.mark.parametrize("task", sorted(TASKS))
def test_shown_rows_are_those_of_the_task(
    task: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(monkeypatch, capsys, "--data.task", task, "--data.source", "demo", "-n", "3", "--seed", "1")
    spec = TASKS[task]
    rows = open_split(spec, "demo", next(iter(spec.files))).read()
    assert f"3 of {len(rows):,} rows" in text
    lines = [line.split("│")[1:-1] for line in text.splitlines() if line.startswith("│")]
    assert len(lines) == 3
    for cells in lines:
        idx, line, first, *_, label = (cell.strip() for cell in cells)
        assert rows.numbers is not None
        assert int(line) == rows.numbers[int(idx)]
        assert first == rows.texts_a[int(idx)].strip()
        gold = rows.labels[int(idx)]
        expected = "(hidden)" if gold is None else f"{gold:g}" if spec.is_regression else spec.labels[int(gold)]
        assert label == expected


@pytest.mark.parametrize(("task", "split"), [("stsb", "train"), ("rte", "train"), ("rte", "test")])
def test_json_has_texts_and_labels_of_the_source(
    task: str, split: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--data.task", task, "--data.source", "demo", "--split", split, "-n", "4", "--json")
    spec = TASKS[task]
    rows = open_split(spec, "demo", split).read()
    for row in json.loads(shown(monkeypatch, capsys, *arguments)):
        assert row["sentence1"] == rows.texts_a[row["idx"]]
        gold = rows.labels[row["idx"]]
        assert row["label"] == (gold if gold is None or spec.is_regression else spec.labels[int(gold)])


def test_a_seed_draws_the_same_rows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--data.source", "demo", "--seed", "3")
    assert shown(monkeypatch, capsys, *arguments) == shown(monkeypatch, capsys, *arguments)
    assert shown(monkeypatch, capsys, *arguments) != shown(monkeypatch, capsys, "--data.source", "demo", "--seed", "4")


def test_texts_are_shown_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # rich would take [bold red] for markup
    (tmp_path / "CoLA").mkdir()
    (tmp_path / "CoLA" / "train.tsv").write_text('x\t1\t\tThe [bold red]cat[/] sat, "so\n')
    assert 'The [bold red]cat[/] sat, "so' in shown(monkeypatch, capsys, "--data.source", str(tmp_path))


def test_task_and_source_from_a_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text("data:\n  task: rte\n  source: demo\n")
    assert shown(monkeypatch, capsys, "--config", str(tmp_path / "c.yaml")).startswith("rte, train: 10 of ")


def test_an_empty_source_is_a_folder_and_not_the_hub(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["glue-lit", "show", "--data.source", ""])
    with pytest.raises(SystemExit):
        main()
    assert "data.source: . has no folder CoLA" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "message"),
    [
        *((f"{{custom: {custom}}}", "data.custom") for custom in
          ("[1]", "abc", "{1: 2}", "{text: 5}", "{text: t, labels: {a: b}}")),
        # and not the Hub in its place
        *((data, "c.yaml, line 1: data is not a section") for data in ("[1]", "[]", "0", "abc")),
        *((data, "c.yaml: data") for data in ("{source: [demo]}", "{task: [3], source: demo}", "{task: {a: b}}")),
    ],
)  # fmt: skip
def test_a_config_that_describes_no_data(
    data: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text(f"data: {data}\n")
    monkeypatch.setattr(sys, "argv", ["glue-lit", "show", "--config", str(tmp_path / "c.yaml")])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert message in (said := capsys.readouterr().err)
    assert "GLUE_LIT_DEBUG" not in said


def test_rows_of_own_data_show_line_and_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["key,text,label", *(f'k{n},"text\nover lines {n}",{"ab"[n % 2]}' for n in range(20))]
    (tmp_path / "own.csv").write_text("\n".join(lines) + "\n")
    arguments = ["--data.task", "own", "--data.source", str(tmp_path / "own.csv"), "--data.custom.text", "text",
                 "--data.custom.id", "key", "--split", "validation", "-n", "2"]  # fmt: skip
    for row in json.loads(shown(monkeypatch, capsys, *arguments, "--json")):
        assert row["id"] == f"k{row['text'].split()[-1]}"
        assert row["row"] == 2 + 2 * int(row["id"][1:])  # each row is two lines, after the header
    assert [word for word in shown(monkeypatch, capsys, *arguments).split("label")[0].split() if word.isalpha()][
        -4:
    ] == ["idx", "line", "id", "text"]


def test_rows_of_own_data_are_shown_with_any_setting_of_a_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `data.custom` in a configuration, by flags."""
    (tmp_path / "own.csv").write_text("text,stars\n" + "".join(f"room {n},{n % 3}\n" for n in range(30)))
    arguments = ["--data.task", "own", "--data.source", str(tmp_path / "own.csv"), "--data.custom.text", "text",
                 "--data.custom.label", "stars", "--split", "validation", "-n", "90", "--json"]  # fmt: skip
    more = ["--data.custom.labels", "0", "1", "2", "--data.custom.label_names=[bad, so so, good]",
            "--data.custom.class_weights", "1", "2.5", "1", "--data.custom.kind=classification"]  # fmt: skip
    rows = {}
    for share, seed in ((0.2, 1), (0.5, 1), (0.5, 2)):
        split = [f"--data.custom.validation_fraction={share}", f"--data.custom.split_seed={seed}"]
        found = json.loads(shown(monkeypatch, capsys, *arguments, *more, *split))
        assert all(row["label"] == ("bad", "so so", "good")[int(row["text"].split()[1]) % 3] for row in found)
        rows[share, seed] = {row["text"] for row in found}
    assert [len(found) for found in rows.values()] == [6, 15, 15]
    assert rows[0.5, 1] != rows[0.5, 2]
    monkeypatch.setattr(sys, "argv", ["glue-lit", "show", *arguments, "--data.custom.decimal_comma", "maybe"])
    with pytest.raises(SystemExit):
        main()
    assert "data.custom.decimal_comma: got 'maybe', allowed: true, false." in capsys.readouterr().err
