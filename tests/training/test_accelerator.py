"""Each option gives the same results on an accelerator as on the processor.

The accelerator is simulated (`device_tensors`). It is registered for a whole process, so all fits are run by one program
of its own (`accelerated_fits`), once, and the tests look at what it found.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import warm
from accelerated_cases import CASES, QUICK, QUICK_RESUMED, RESUMED

TESTS = Path(__file__).parents[1]
# Largest differences of weights and of scores. Other kernels round to half precision differently, and a correlation of
# nearly equal predictions magnifies a difference in their last digit.
ALLOWED = {
    "regression": (1e-6, 1e-2),
    "loss by class": (1e-6, 1e-2),  # regression, too
    "decoder": (1e-6, 1e-5),  # its logits are larger
    "bfloat16": (1e-2, 1e-2),
    "bfloat16 weights": (2e-2, 1e-2),
    "frozen in bfloat16": (1e-2, 1e-2),
    "scaled float16": (1e-2, 1e-2),
    "muon": (1e-3, 1e-3),  # computes in bfloat16
    "dropout": (0.1, 0.1),  # other masks: PyTorch's on an accelerator, ours on a processor
}


Found = Callable[[str], Any]


def marked(names: Iterable[str], quick: Iterable[str]) -> list[Any]:
    """The names, with a mark on the slow ones."""
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in names]


@pytest.fixture(scope="module")
def found(tiny_model: Path, session_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Results of the program by case; the quick cases run together, and so do the slow ones."""
    found: dict[str, Any] = {}

    def run(names: Iterable[str], resumed: Iterable[str]) -> None:
        folder = tmp_path_factory.mktemp("accelerated")
        # transformers loads weights in threads, to which the simulation does not extend
        environment = {"HF_DEACTIVATE_ASYNC_LOAD": "1", "GLUE_LIT_CACHE": str(session_cache)}
        cases = [*names, *(f"{name}, resumed" for name in resumed)]
        done = warm.start(TESTS / "accelerated_fits.py", tiny_model, folder, *cases, **environment).wait(1200)
        assert done.returncode == 0, done.stderr
        found.update(json.loads((folder / "found.json").read_text()))

    def of(name: str) -> Any:
        if "plain" not in found:
            run(QUICK, QUICK_RESUMED)
        if name not in found:  # the others start from the plain one's checkpoint, too
            run(["plain", *(n for n in CASES if n not in QUICK)], [n for n in RESUMED if n not in QUICK_RESUMED])
        assert "failed" not in found[name], found[name]["failed"]
        return found[name]

    return of


@pytest.mark.parametrize("name", marked(CASES, QUICK))
def test_each_option_agrees_with_the_processor(found: Found, name: str) -> None:
    """The weights after the fit, and the scores of `validate`, `test` and the logits of `predict` by its checkpoint."""
    case = found(name)
    of_weights, of_scores = ALLOWED.get(name, (1e-6, 1e-6))
    assert case["device"] == "sim"
    assert case["moved"] > 1e-4  # so that there is something to compare
    assert case["weights"] <= of_weights
    for what in ("scores", "validate", "test", "predict"):
        assert case[what] is None or case[what] <= of_scores, what
    assert (case["test"] is not None) is name.startswith("own data")  # GLUE's test rows have no labels
    assert case["skipped"] == [name == "non-finite"] * 2
    assert (case["parts"] is not None) is name.endswith("batches in parts")


@pytest.mark.parametrize("name", marked(RESUMED, QUICK_RESUMED))
def test_a_fit_is_resumed_exactly_in_the_middle_of_an_epoch(found: Found, name: str) -> None:
    case = found(f"{name}, resumed")
    assert case == {"weights": 0.0, "steps": 8, "device": "sim"}


def test_a_step_that_is_not_finite_stops_the_fit_with_the_weights_before_it(found: Found) -> None:
    """The device skips it and all later ones by itself; the host learns of it before the validation."""
    case = found("stopped")
    there, here = case["messages"]
    assert there == here
    assert "diverged at step 2: the loss is nan, the gradient's norm nan, at learning rate 0.0" in there
    assert "(idx in train): " in there
    assert case["steps"] == 2
    assert case["weights"] < 1e-6


def test_texts_and_exports_agree_with_the_processor(found: Found) -> None:
    texts = found("texts")
    assert texts["waits"] == 3  # one a chunk, however many batches it has
    assert texts["predict"] < 1e-6
    assert found("export")["predict"] < 1e-6


# Waits in a training step. The curves get a point every two steps, at which all of its values are read at once.
# float16's scaler reads whether to take the step. Optimizers other than fused Adam and AdamW cannot skip a step by
# themselves, so the host reads whether to take it.
STEP = {"scaled float16": 2.5, "sgd": 1.5, "muon": 1.5}
CHECKPOINT = {"scaled float16": 3}  # torch's scaler saves its scale and a count as numbers


@pytest.mark.parametrize("name", marked(CASES, QUICK))
def test_the_host_waits_for_the_device_only_at_points_of_the_curves(found: Found, name: str) -> None:
    """A value that is read delays everything behind it."""
    waits, phases = found(name)["waits"], found(name)["phases"]

    def in_phase(phase: str) -> list[Any]:
        return [wait for wait in waits if wait[0] == phase]

    assert phases["training step"] >= 2
    steps = in_phase("training step")
    # the last steps of an epoch may come after its last point, and are read before the validation
    assert sum(count for *_, count in steps) <= STEP.get(name, 0.5) * phases["training step"] + 1, steps
    assert phases["validation batch"] >= 2
    assert in_phase("validation batch") == []
    assert in_phase("test batch") == []
    # all tensors of a checkpoint are copied at once, with the checks of steps after the last point of the curves
    assert phases["checkpoint"] >= 4
    saved = in_phase("checkpoint")
    assert sum(count for *_, count in saved) == CHECKPOINT.get(name, 1) * phases["checkpoint"], saved
    # the metrics of a split are read at once, and so are its rows for TensorBoard's pages
    read = [count for _, what, place, count in waits if (what, place) == ("synchronize", "to_host (host_copies.py)")]
    splits = 2 if name == "three labels, two splits" else 1
    ends = 2 * phases["end of a validation"] + phases.get("end of a test", 0)
    if name == "windows":  # their logits are read before they are pooled into those of documents
        ends += phases["end of a validation"] + phases.get("end of a test", 0)
    assert sum(read) - phases["checkpoint"] <= splits * ends, waits
    others = [wait for wait in waits if "metrics" in wait[2] or "evaluated" in wait[2]]
    assert [wait for wait in others if not wait[2].startswith("_apply")] == []  # which moves a module
    predictions = in_phase("prediction batch")  # Lightning moves those that it returns to the processor
    assert sum(count for *_, count in predictions) == phases["prediction batch"], predictions
