"""Paths in configuration files: the working directory first, then the folder of the file."""

from pathlib import Path

import pytest
import yaml

from glue_lit.runs.command_line import CommandLine
from glue_lit.runs.config_paths import find_beside, paths_beside, text_to_copy

TEXT = """# a search
tune: {trials: 2}
data:
  task: mine
  source: 'rows.csv'  # beside
  custom: {text: a, validation_file: dev/v.csv, test_file: here.csv}
model: {name_or_path: bert-base-cased, init_from: run}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A configuration in `mine`, seen from the folder above."""
    monkeypatch.chdir(tmp_path)
    for folder in ("mine/dev", "mine/run", "mine/bert-base-cased", "mine/hub", "mine/encoder"):
        Path(folder).mkdir(parents=True)
    for path in ("mine/rows.csv", "mine/dev/v.csv", "mine/here.csv", "here.csv", "mine/encoder/config.json"):
        Path(path).touch()
    Path("mine/x.yaml").write_text(TEXT)
    return "mine/x.yaml"


def test_what_exists_only_beside_the_file_is_taken_from_there(file: str, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    assert paths_beside(file) == {
        "data.source": str(mine / "rows.csv"),
        "data.custom.validation_file": str(mine / "dev" / "v.csv"),
        "model.init_from": str(mine / "run"),
    }
    line = CommandLine(["--config", file])
    assert line.setting("data.source") == str(mine / "rows.csv")
    assert line.setting("data.task") == "mine"
    Path("rows.csv").touch()
    assert line.setting("data.source") == "rows.csv"


def test_a_copy_means_the_same_on_the_same_lines(file: str, tmp_path: Path) -> None:
    copy = text_to_copy(file)
    settings = yaml.safe_load(copy)
    assert settings["data"]["source"] == str(tmp_path / "mine" / "rows.csv")
    assert settings["data"]["custom"]["validation_file"] == str(tmp_path / "mine" / "dev" / "v.csv")
    assert settings["data"]["custom"]["test_file"] == "here.csv"
    assert settings["model"]["init_from"] == str(tmp_path / "mine" / "run")
    original = yaml.safe_load(TEXT)
    for values in (settings, original):
        del values["data"]["source"], values["data"]["custom"]["validation_file"], values["model"]["init_from"]
    assert settings == original
    assert copy.splitlines()[4].endswith("  # beside")


@pytest.mark.usefixtures("file")
def test_names_are_no_paths(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    for name in ("hub", "demo", "", "nowhere", "owner/name"):
        assert find_beside(name, mine) == name
    assert find_beside("bert-base-cased", mine, "model.name_or_path") == "bert-base-cased"  # no model is in it
    assert find_beside("encoder", Path("mine"), "model.name_or_path") == str(mine / "encoder")
    assert find_beside(str(mine / "gone"), Path("mine")) == str(mine / "gone")


def test_a_file_that_is_not_valid_names_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("data: [")
    assert paths_beside(str(tmp_path / "x.yaml")) == paths_beside(str(tmp_path / "gone.yaml")) == {}
