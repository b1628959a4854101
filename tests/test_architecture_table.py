"""All architectures through all steps: what is recorded of each is what happens, and the page for users says it."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from architecture_table import NOT_TRIED, STEPS, examine, page, read
from tiny_folders import architectures

_PAGE = Path(__file__).resolve().parents[1] / "docs" / "architectures.md"
# Of an encoder, of a decoder without a padding token, of both in one; the rest takes too long for each change.
_QUICK = ("deberta-v2", "gpt2", "t5", "xlnet")
_QUICK_STEPS = tuple(step for step in STEPS if step != "onnx")  # half of the time; `test_export.py` has it


@pytest.fixture(autouse=True)
def quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # each fit sets its own, and this brings back what was there


def compare(kind: str, folder: Path, steps: Sequence[str]) -> None:
    recorded = read()[kind]
    steps = [step for step in steps if recorded[step] != NOT_TRIED]
    assert examine(kind, folder, steps) == {step: recorded[step] for step in steps}


@pytest.mark.parametrize("kind", _QUICK)
def test_recorded_outcomes_of_some_architectures(kind: str, tmp_path: Path) -> None:
    compare(kind, tmp_path, _QUICK_STEPS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", architectures())
def test_recorded_outcomes_of_an_architecture(kind: str, tmp_path: Path) -> None:
    compare(kind, tmp_path, STEPS)


def test_every_architecture_of_transformers_has_been_tried() -> None:
    found = read()
    assert sorted(found) == architectures()
    assert all(sorted(outcomes) == sorted(STEPS) for outcomes in found.values())
    assert not [kind for kind, outcomes in found.items() if any(o.startswith("crashes") for o in outcomes.values())]


def test_the_page_shows_the_recorded_outcomes() -> None:
    text = _PAGE.read_text(encoding="utf-8")
    assert text == page(read())
    assert all(f"| `{kind}` |" in text for kind in architectures())
    readme = _PAGE.parents[1].joinpath("README.md").read_text(encoding="utf-8")
    assert "(docs/architectures.md)" in readme
