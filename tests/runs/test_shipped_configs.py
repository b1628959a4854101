"""Configurations by name, in and outside of the checkout."""

import re
from pathlib import Path

import pytest

from glue_lit.errors import UsageError
from glue_lit.runs.config_file import check_config
from glue_lit.runs.shipped_configs import find_config, shipped_configs, shipped_name

REPOSITORY = Path(__file__).resolve().parents[2]
NAMES = {path.relative_to(REPOSITORY / "configs").as_posix()[:-5] for path in (REPOSITORY / "configs").rglob("*.yaml")}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_configuration_of_the_repository_is_shipped_by_its_name() -> None:
    assert set(shipped_configs()) == NAMES
    for name in NAMES:
        for given in (name, f"configs/{name}.yaml"):
            assert Path(find_config(given)).read_text() == (REPOSITORY / "configs" / f"{name}.yaml").read_text(), given


def test_the_name_of_a_shipped_file_is_found_again_elsewhere() -> None:
    for name in NAMES:
        assert shipped_name(find_config(name)) == name
    for other in ("configs/cola.yaml", "/tmp/cola.yaml", "--config", "cola", ""):
        assert shipped_name(other) == other


def test_a_file_wins_over_the_name_of_a_shipped_one() -> None:
    Path("rte").mkdir()
    Path("cola").write_text("data: {}")
    assert find_config("cola") == "cola"
    assert Path(find_config("rte")).name == "rte.yaml"  # a folder is no file
    Path("configs").mkdir()  # the user's own, which has no such file
    assert find_config("configs/mrpc.yaml") == "configs/mrpc.yaml"
    for name in ("", "colla", "mrpc.yaml", "../configs/mrpc", "recipes", "/cola"):
        assert find_config(name) == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("colla", "'colla'. Did you mean 'cola'? glue-lit ships ax, base, cola, custom, "),
        ("colla", "qqp, quickstart, recipes/, rte, sst2, stsb, suite/, tune/, wnli."),
        ("suite/gleu", "Did you mean 'suite/glue'? glue-lit ships suite/all-minilm-l6-v2, suite/glue."),
        ("recipes/roberta", "glue-lit ships recipes/all-minilm-l6-v2/, recipes/bert-base-cased/, "),
        ("configs/suite/x.yaml", "glue-lit ships suite/all-minilm-l6-v2, suite/glue."),
    ],
)
def test_a_wrong_name_lists_the_shipped_ones(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=r"^--config: there is no file ") as error:
        check_config(name)
    assert message in str(error.value)


def test_every_configuration_that_a_message_or_a_comment_names_is_found_everywhere() -> None:
    found = 0
    for path in (*(REPOSITORY / "src").rglob("*.py"), *(REPOSITORY / "configs").rglob("*.yaml")):
        text = re.sub(r'"\s*\n\s*f?"', "", path.read_text(encoding="utf-8"))
        for name in re.findall(r"--config ([a-z][\w/.-]*)", text):
            assert Path(find_config(name)).is_file(), f"{path}: {name}"
            found += 1
    assert found > 50
