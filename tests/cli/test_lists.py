"""A list is several words, or one word in brackets or with commas, in every command."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import glue_lit

from glue_lit.cli.engine_arguments import parse
from glue_lit.engine.suite import Suite


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.csv").write_text("a,b,y\n" + "one two,three,yes\nfour,five,no\n" * 5)


OWN = ("--data.task=own", "--data.source=own.csv", "--data.custom.label=y")


@pytest.mark.parametrize("words", [["a", "b"], ["[a, b]"], ["[a,b]"]], ids=str)
@pytest.mark.parametrize("command", ["show", "fit"])
def test_columns(
    command: str, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shows = "--json" if command == "show" else "--print_config"
    assert glue_lit(monkeypatch, command, *OWN, "--data.custom.text", *words, shows) == 0
    found: Any = yaml.safe_load(capsys.readouterr().out)  # JSON is YAML
    if command == "show":
        assert {(row["a"], row["b"]) for row in found} == {("one two", "three"), ("four", "five")}
    else:
        assert found["data"]["custom"]["text"] == ["a", "b"]


@pytest.mark.parametrize(
    ("words", "section", "expected"),
    [
        (["--data.custom.text", "no, really", "[x"], "data.custom.text", ["no, really", "[x"]),
        (["--data.custom.text", "a,b"], "data.custom.text", "a,b"),  # the name of one column
        (["--data.custom.labels", "no", "1e5"], "data.custom.labels", ["no", "1e5"]),
        (["--trainer.callbacks", "LearningRateMonitor", "RichProgressBar"], "trainer.callbacks", 2),
        (["--trainer.devices", "0", "1"], "trainer.devices", [0, 1]),
        (["--model.peft=peft.LoraConfig", "--model.peft.init_args.target_modules", "query", "value"],
         "model.peft.init_args.target_modules", ["query", "value"]),
    ],
)  # fmt: skip
def test_other_settings_of_fit(
    words: list[str], section: str, expected: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert glue_lit(monkeypatch, "fit", *words, "--print_config") == 0
    found = yaml.safe_load(capsys.readouterr().out)
    for key in section.split("."):
        found = found[key]
    assert (len(found) if isinstance(expected, int) else found) == expected


def test_a_second_word_of_another_flag_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert glue_lit(monkeypatch, "fit", "--data.task", "cola", "rte") == 2
    assert "got 'rte', which belongs to no flag" in capsys.readouterr().err


@pytest.mark.parametrize("tasks", [["cola", "rte"], ["cola,rte"], ["[cola, rte]"], ["[cola,", "rte]"]], ids=str)
@pytest.mark.parametrize("seeds", [["1", "2"], ["1,2"], ["[1,2]"]], ids=str)
def test_tasks_and_seeds_of_a_suite(tasks: list[str], seeds: list[str]) -> None:
    suite, _, rest = parse("suite", Suite, ["--suite.tasks", *tasks, "--suite.seeds", *seeds, "--data.task", "x"])
    assert (list(suite.tasks), list(suite.seeds)) == (["cola", "rte"], [1, 2])
    assert rest == ["--data.task", "x"]


def test_a_list_of_one_and_no_list() -> None:
    suite, _, _ = parse("suite", Suite, ["--suite.tasks", "cola", "--suite.seeds=7", "--suite.left_out", "wnli"])
    assert (list(suite.tasks), list(suite.seeds), list(suite.left_out)) == (["cola"], [7], ["wnli"])
    assert parse("suite", Suite, ["--suite.tasks=null"])[0].tasks == parse("suite", Suite, [])[0].tasks
