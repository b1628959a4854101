"""Control characters in data never reach the terminal."""

import json
import math
from datetime import date
from pathlib import Path

import pytest

from glue_lit.__main__ import main
from glue_lit.system.console import count_of, note, print_json, print_list, print_table, say, size_in_words
from glue_lit.system.printable import printable_lines

NASTY = "red \x1b[31m\x1b]0;title\x07 \x9b5m \u202egnp.exe [bold]x[/bold]"
SHOWN = r"red \x1b[31m\x1b]0;title\x07 \x9b5m \u202egnp.exe [bold]x[/bold]"


def test_line_breaks_are_kept() -> None:
    assert printable_lines("a\nb\tc\r\u2028é 漢字 👍") == "a\nb\\tc\\r\\u2028é 漢字 👍"


def test_control_characters_are_escaped_everywhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    say(NASTY)
    note(NASTY)
    print_list("t", ("a",), [(NASTY,)])
    print_table(NASTY, (NASTY,), [(NASTY,)])
    out, err = capsys.readouterr()
    assert out.count(SHOWN) == 5
    assert SHOWN in err
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(out + err)


def test_json_has_absolute_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    print_json({"run": Path("a/b"), "predictions": (Path("c"), tmp_path / "d"), "day": date(2024, 1, 2), "x": math.nan})
    expected = {"run": f"{tmp_path}/a/b", "predictions": [f"{tmp_path}/c", f"{tmp_path}/d"]}
    assert json.loads(capsys.readouterr().out) == expected | {"day": "2024-01-02", "x": None}


def test_texts_and_errors_from_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "CoLA").mkdir()
    for name in ("train", "dev"):
        (tmp_path / "CoLA" / f"{name}.tsv").write_text(f"a\t1\t\t{NASTY}\n", encoding="utf-8")
    monkeypatch.setenv("COLUMNS", "200")
    arguments = ["glue-lit", "show", "--data.task", "cola", "--data.source", str(tmp_path)]
    monkeypatch.setattr("sys.argv", arguments)
    main()
    assert SHOWN in capsys.readouterr().out
    (tmp_path / "CoLA" / "train.tsv").write_text(f"a\t{NASTY}\t\tx\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        main()
    printed = capsys.readouterr().err
    assert "train.tsv, line 1" in printed
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(printed)


@pytest.mark.parametrize("columns", ["0", "1", "5", "20"])
def test_a_narrow_terminal_shows_every_column(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    print_table("t", ("a", "b", "c", "d", "e"), [("1", "2", "3", "4", "5")])
    out = capsys.readouterr().out
    assert [cell for cell in out if cell in "12345"] == ["1", "2", "3", "4", "5"]


def test_a_number_agrees_with_its_noun() -> None:
    assert [count_of(number, "figure") for number in (0, 1, 2, 5463)] == [
        "0 figures", "1 figure", "2 figures", "5,463 figures"
    ]  # fmt: skip


def test_sizes_are_in_mb_or_gb() -> None:
    assert [size_in_words(count) for count in (735_177, 99_000_000, 1_340_000_000)] == ["0.7 MB", "99.0 MB", "1.3 GB"]
