"""Starts and recipes of a suite, beside the configuration file that names them or shipped."""

from pathlib import Path

import pytest

from glue_lit.engine.suite_files import find_recipes, find_starts, missing_recipes


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of configurations, seen from elsewhere."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for folder in ("mnli", "own", "encoder", "recipes"):
        (tmp_path / "mine" / folder).mkdir(parents=True)
    for file in ("first.yaml", "recipes/rte.yaml"):
        (tmp_path / "mine" / file).touch()
    return tmp_path / "mine"


def test_starts_are_found_beside_the_file_that_names_them(mine: Path) -> None:
    silver = "configs/recipes/all-minilm-l6-v2/silver.yaml"
    starts = {"rte": "mnli", "cola": "encoder", "stsb": "first.yaml", "mrpc": "gone.yaml", "qqp": "own", "qnli": silver}
    found = find_starts(starts, ["own", "rte"], mine)
    shipped = found.pop("qnli")
    assert found == {
        "rte": "mnli", "cola": str(mine / "encoder"), "stsb": str(mine / "first.yaml"), "mrpc": "gone.yaml", "qqp": "own",
    }  # fmt: skip
    assert Path(shipped).read_text().startswith("# ")
    assert find_starts(starts, [], None)["cola"] == "encoder"


def test_recipes_are_found_beside_the_file_or_shipped(mine: Path) -> None:
    pattern = "recipes/{task}.yaml"
    assert find_recipes(pattern, ["cola", "rte"], [], mine) == str(mine / pattern)
    assert find_recipes(pattern, ["cola"], [], mine) == pattern
    assert find_recipes(pattern, ["rte"], [], None) == pattern
    Path("recipes").mkdir()
    Path("recipes/cola.yaml").touch()
    assert find_recipes(pattern, ["cola", "rte"], [], mine) == pattern  # the working directory has one of them
    for shipped in ("configs/{task}.yaml", "configs/recipes/{model}/{task}.yaml", "recipes/{model}/{task}"):
        assert missing_recipes(shipped, ["rte", "wnli"], ["google-bert/bert-base-cased"]) == []
