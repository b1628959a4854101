"""Batches that an accelerator cuts from its own tokens equal those of the processor, to the bit, and cost it no wait.

The accelerator is simulated; it is registered for a whole process, so `resident_batches` cuts all of them, once.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import warm
from command_line import glue_lit

from glue_lit.data.batch_layout import lay_out

ON_HOST = ("more than fits", "on the processor")
PACKED = ("without padding", "of all lengths", "some windows without padding")
CUT_THERE = (
    "padded", "padded on the left", "padded on the left to a multiple", "padded to a multiple", "padded to chosen lengths",
    "by tokens", "scores in both orders", "shots", "two splits, cut", "several labels", "one of three devices", "windows",
    "windows on the left", "more than fits, but asked for", "with workers", "in small pieces", *PACKED,
)  # fmt: skip


@pytest.fixture(scope="module")
def found(tiny_model: Path, session_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the program found, by case."""
    folder = tmp_path_factory.mktemp("resident")
    program = Path(__file__).with_name("resident_batches.py")
    done = warm.start(program, tiny_model, folder, GLUE_LIT_CACHE=str(session_cache)).wait(600)
    assert done.returncode == 0, done.stderr
    cases = json.loads((folder / "found.json").read_text())
    assert cases.keys() == {*ON_HOST, *CUT_THERE}
    return cases


def case_of(found: Any, name: str) -> Any:
    assert "failed" not in found[name], found[name]["failed"]
    return found[name]


@pytest.mark.parametrize("name", CUT_THERE)
def test_batches_cut_on_the_device_equal_those_of_the_processor(found: Any, name: str) -> None:
    case = case_of(found, name)
    assert case["devices"] == ["sim"]
    assert case["batches"] >= 4
    assert case["differ"] == 0
    assert (case["left"] > 0) == ("left" in name)
    assert (case["fillers"] > 0) == ("devices" in name)
    assert case["aligned"]  # to 16 bytes, or compiled code would copy them
    assert case["again"]  # after the memory was released


@pytest.mark.parametrize("name", CUT_THERE)
def test_the_host_sends_a_table_of_the_rows_and_waits_for_nothing(found: Any, name: str) -> None:
    """All small batches of a loader are cut at once. Those without padding have a mask each, in three operators."""
    case = case_of(found, name)
    assert case["waits"] == 0
    at_once = 1 if "pieces" not in name else case["batches"] / case["loaders"]
    assert case["operators"] <= 30 * case["loaders"] * at_once + 3 * case["batches"] * (name in PACKED)
    assert 0 < case["sent"] <= 80 * case["rows"]


@pytest.mark.parametrize("name", ON_HOST)
def test_tokens_that_take_too_much_memory_stay_on_the_processor(found: Any, name: str) -> None:
    """Its batches are sent from pinned memory, without a wait."""
    case = case_of(found, name)
    assert case["devices"] == ["cpu"]
    assert (case["differ"], case["operators"], case["sent"]) == (0, 0, 0)
    assert case["pinned"]


def test_tokens_on_a_device_are_refused_on_a_processor_before_data_are_read(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["fit", "--data.source", "missing", "--model.name_or_path", str(tiny_model), "--trainer.accelerator", "cpu"]
    assert glue_lit(monkeypatch, *words, "--data.tokens_on_device", "true") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "data.tokens_on_device: got true, which needs a GPU; this is computed on cpu" in said
    assert "Allowed here: auto, false." in said


@pytest.mark.parametrize(("left", "first"), [(False, [0, 4, 8, 10]), (True, [1, 4, 8, 11])])
def test_batches_follow_one_another_from_even_places(left: bool, first: list[int]) -> None:
    layout = lay_out(np.array([2, 3, 2, 1]), np.array([1, 1, 2]), np.array([3, 3, 2]), left)
    assert (layout.begins, layout.tokens, layout.longest) == ([0, 4, 8], [3, 3, 4], [3, 3, 2])
    assert (layout.rows, layout.size, layout.first.tolist()) == ([0, 1, 2, 4], 12, first)
