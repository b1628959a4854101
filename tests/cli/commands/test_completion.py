"""`glue-lit completion`: the script has every flag that `--help` lists."""

import argparse
import sys
from types import ModuleType

import pytest
from command_line import glue_lit

from glue_lit.cli.registry import COMMANDS


def test_without_shtab_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert glue_lit(monkeypatch, "completion", "bash") == 2
    assert capsys.readouterr().err == (
        "glue-lit: error: completion: shtab is not installed: `pip install 'glue-lit[completion]'`.\n"
    )


def test_every_command_has_its_flags_values_and_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[tuple[argparse.ArgumentParser, str]] = []
    shtab = ModuleType("shtab")
    shtab.FILE = {"bash": "files"}  # type: ignore[attr-defined]
    shtab.complete = lambda parser, shell: given.append((parser, shell)) or "the script"  # type: ignore[attr-defined,func-returns-value]
    monkeypatch.setitem(sys.modules, "shtab", shtab)
    monkeypatch.setenv("COLUMNS", "40")
    assert glue_lit(monkeypatch, "completion", "zsh") == 0
    assert capsys.readouterr().out == "the script\n"
    ((parser, shell),) = given
    assert shell == "zsh"
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    assert list(commands.choices) == list(COMMANDS)
    flags = {
        name: {flag: action for action in own._actions for flag in action.option_strings}
        for name, own in commands.choices.items()
    }
    assert {"--data.task", "--model.learning_rate", "--trainer.max_epochs", "--early_stopping"} <= set(flags["fit"])
    assert {"--text", "--file", "--data.predict_split", "--run"} <= set(flags["predict"])
    assert {"--tune.trials", "--engine.slots"} <= set(flags["tune"])
    assert {"--suite.tasks", "--suite.seeds"} <= set(flags["suite"])
    assert {"--check", "--fill_missing"} <= set(flags["submit"])
    assert flags["submit"]["--fill_missing"].choices == ["majority"]
    assert "cosine" in (flags["fit"]["--model.schedule"].choices or ())
    assert flags["fit"]["--model.learning_rate"].choices is None
    files = {flag for flag, action in flags["fit"].items() if getattr(action, "complete", None)}
    assert {"--config", "--ckpt_path", "--data.source", "--model.name_or_path", "--model.init_from"} <= files
    assert not files & {"--data.task", "--model.schedule"}
