"""Everything on an accelerator: each option gives there what it gives on the processor.

The accelerator is simulated (`device_tensors`). It is registered for a whole process, so all fits are run by one program
of its own (`accelerated_fits`), once, and the tests look at what it found.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import warm
from accelerated_cases import CASES, RESUMED

HERE = Path(__file__).parent
# Largest differences of weights and of scores. What rounds to half precision rounds otherwise where kernels differ, and
# a correlation of nearly equal predictions magnifies a difference in their last digit.
ALLOWED = {
    "regression": (1e-6, 1e-2),
    "bfloat16": (1e-2, 1e-2),
    "bfloat16 weights": (2e-2, 1e-2),
    "scaled float16": (1e-2, 1e-2),
    "dropout": (0.1, 0.1),  # other masks: PyTorch's on an accelerator, ours on a processor
}


@pytest.fixture(scope="module")
def found(tiny_model: Path, session_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the program found, by the name of each case."""
    folder = tmp_path_factory.mktemp("accelerated")
    # transformers' threads, which load weights, know nothing of the simulation
    environment = {"HF_DEACTIVATE_ASYNC_LOAD": "1", "GLUE_LIT_CACHE": str(session_cache)}
    done = warm.run(HERE / "accelerated_fits.py", tiny_model, folder, **environment)
    assert done.returncode == 0, done.stderr
    return dict(json.loads((folder / "found.json").read_text()))


def result(found: dict[str, Any], name: str) -> dict[str, Any]:
    assert "failed" not in found[name], found[name]["failed"]
    return dict(found[name])


@pytest.mark.parametrize("name", CASES)
def test_an_option_gives_what_it_gives_on_the_processor(found: dict[str, Any], name: str) -> None:
    """The weights after the fit, and the scores of `validate`, `test` and the logits of `predict` by its checkpoint."""
    case = result(found, name)
    of_weights, of_scores = ALLOWED.get(name, (1e-6, 1e-6))
    assert case["device"] == "sim"
    assert case["moved"] > 1e-4  # so that there is something to compare
    assert case["weights"] <= of_weights
    for what in ("scores", "validate", "test", "predict"):
        assert case[what] is None or case[what] <= of_scores, what
    assert (case["test"] is not None) is name.startswith("own data")  # GLUE's test rows have no labels
    assert case["skipped"] == [name == "non-finite"] * 2


@pytest.mark.parametrize("name", RESUMED)
def test_a_fit_goes_on_exactly_in_the_middle_of_an_epoch(found: dict[str, Any], name: str) -> None:
    case = result(found, f"{name}, resumed")
    assert case == {"weights": 0.0, "steps": 8, "device": "sim"}


def test_texts_and_an_export_give_what_the_processor_gives(found: dict[str, Any]) -> None:
    texts = result(found, "texts")
    assert texts["waits"] > 0  # they were predicted on the accelerator
    assert texts["predict"] < 1e-6
    assert result(found, "export")["predict"] < 1e-6


@pytest.mark.parametrize(("phase", "most"), [("training step", 8.5), ("validation batch", 8.0)])
def test_the_host_waits_no_more_than_it_did(found: dict[str, Any], phase: str, most: float) -> None:
    """A value that is read holds up everything behind it; each of these has its reason, and a new one needs one."""
    waits = {f"{operator} in {place}": count for at, operator, place, count in found["waits"] if at == phase}
    assert waits
    assert sum(waits.values()) / found["phases"][phase] <= most, waits
