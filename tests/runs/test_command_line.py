"""Splitting a command line into flags and values."""

from pathlib import Path

import pytest

from glue_lit.errors import UsageError
from glue_lit.runs.command_line import Argument, CommandLine

WORDS = ["first", "--run", "RUN", "more", "--json", "-c", "a.yaml", "--data.task=a=b", "--x", "-1", "--last"]


def test_the_arguments_of_a_line_keep_all_its_words() -> None:
    line = CommandLine(WORDS)
    assert [word for argument in line.arguments for word in argument.words] == WORDS
    assert line.arguments == (
        Argument("", ("first",)),
        Argument("--run", ("RUN", "more")),
        Argument("--json"),
        Argument("-c", ("a.yaml",)),
        Argument("--data.task", ("a=b",), is_inline=True),
        Argument("--x", ("-1",)),
        Argument("--last"),
    )


def test_a_flag_can_be_removed_with_its_value() -> None:
    line = CommandLine(WORDS)
    run, rest = line.take("--run")
    assert run == "RUN"
    assert rest.words == ["first", "more", *WORDS[4:]]
    assert line.without("--json").words == [word for word in WORDS if word != "--json"]
    assert CommandLine(["--json", "word"]).without("--json").words == ["word"]
    assert line.take("--none") == (None, line)
    with pytest.raises(UsageError, match=r"^--last needs a value\.$"):
        line.take("--last")


def test_help_is_not_printed_as_json() -> None:
    assert CommandLine(["--json"]).asks_for_json
    for flag in ("-h", "--help", "--print_config", "--print_config=skip_default"):
        assert not CommandLine(["--json", flag]).asks_for_json


def test_configuration_files_can_be_replaced_and_removed() -> None:
    line = CommandLine(["--config=a.yaml", "--data.task", "cola", "-c", "b.yaml", "--config", "c.yaml"])
    replaced = line.with_config_files({"a.yaml": "kept/a.yaml", "b.yaml": None})
    assert replaced.words == ["--config", "kept/a.yaml", "--data.task", "cola", "--config", "c.yaml"]


@pytest.mark.parametrize(
    ("arguments", "files"),
    [
        ([], []),
        (["fit", "--config", "a.yaml"], ["a.yaml"]),
        (["fit", "--config=a.yaml", "-c", "b.yaml", "-c=c.yaml"], ["a.yaml", "b.yaml", "c.yaml"]),
        (["fit", "--data.task", "cola", "--config_x", "a"], []),
        (["fit", "--config"], []),  # the parser reports the missing value
        (["fit", "--config=a=b.yaml"], ["a=b.yaml"]),
    ],
)
def test_configuration_files_are_found_in_a_line(arguments: list[str], files: list[str]) -> None:
    assert CommandLine(arguments).config_files == files


def test_settings_come_from_flags_then_from_the_last_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("data:\n  task: cola\n  source: demo\n", encoding="utf-8")
    Path("b.yaml").write_text("data:\n  task: rte\n", encoding="utf-8")
    files = ["--config", "a.yaml", "--config", "b.yaml"]
    assert CommandLine(files).setting("data.task") == "rte"
    assert CommandLine(files).setting("data.source") == "demo"
    assert CommandLine([*files, "--data.task=mrpc"]).setting("data.task") == "mrpc"
    assert CommandLine(files).setting("data") is None
    assert CommandLine(files).setting("data.seed") is None


def test_messages_name_where_a_setting_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cola.yaml").write_text("seed_everything: 1\ndata:\n  task: cola\n  batch_size: 32\n", encoding="utf-8")
    Path("other.yaml").write_text("data:\n  batch_size: 8\n", encoding="utf-8")
    configs = ["fit", "--config", "cola.yaml", "--config", "other.yaml"]
    assert CommandLine(configs).where_set("data.task") == "data.task (cola.yaml, line 3)"
    assert (
        CommandLine(configs).where_set("data.batch_size") == "data.batch_size (other.yaml, line 2)"
    )  # the later file wins
    assert CommandLine([*configs, "--data.batch_size", "4"]).where_set("data.batch_size") == "--data.batch_size"
    assert CommandLine([*configs, "--data.batch_size=4"]).where_set("data.batch_size") == "--data.batch_size"
    assert CommandLine([*configs, "--data.batch_size_x=4"]).where_set("data.seed") == "data.seed"
    assert CommandLine([]).where_set("data.task") == "data.task"
