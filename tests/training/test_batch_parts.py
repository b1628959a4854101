"""Batches that do not fit are computed in parts: the same steps, on a memory that holds a few tokens only."""

from pathlib import Path
from typing import Any

import pytest
import torch
from small_fit import SEED, CutError, Fit, SaveAndCut

from glue_lit.errors import UsageError
from glue_lit.system.library_warnings import filter_warnings
from glue_lit.system.system_errors import explain_system_error
from glue_lit.training.batch_parts import check_splitting


@pytest.fixture(autouse=True)
def quiet() -> None:
    filter_warnings()


FULL: list[type[RuntimeError]] = [torch.OutOfMemoryError]  # raised when memory is full; MPS has no class for it


def fit(folder: Path, tiny_model: Path, most: int | None, is_split: bool, *callbacks: Any, **settings: Any) -> Fit:
    """A fit on a memory that holds ``most`` tokens at once; the last of its batches of 4 rows has one."""
    model = {"dropout": 0.0, "adam_eps": 1e-6, "split_batches": is_split, **settings.pop("model", {})}
    options = {"max_epochs": 1, "precision": "32-true", "limit_val_batches": 0} | settings
    begun = Fit(folder, tiny_model, *callbacks, model=model, **options)
    torch.manual_seed(SEED)
    begun.model.build_model()

    def check(module: Any, arguments: Any, inputs: dict[str, Any]) -> None:
        if most is not None and module.training and inputs["input_ids"].numel() > most:
            raise FULL[-1](f"{'MPS backend ' * (len(FULL) - 1)}out of memory. Tried to allocate 2 GiB.")

    begun.model.model.register_forward_pre_hook(check, with_kwargs=True)
    return begun


def farthest(one: Fit, other: Fit) -> float:
    theirs = other.model.state_dict()
    return max(
        float((value.double() - theirs[name].double()).abs().max()) for name, value in one.model.state_dict().items()
    )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"accumulate_grad_batches": 3},
        {"model": {"r_drop": 1.0, "label_smoothing": 0.1}},
        {"model": {"peft": {"peft_type": "LORA", "r": 4}}},
    ],
    ids=str,
)
def test_the_steps_are_those_of_whole_batches(tmp_path: Path, tiny_model: Path, settings: dict[str, Any]) -> None:
    twice = 2 if "r_drop" in settings.get("model", {}) else 1
    split = fit(tmp_path / "split", tiny_model, 64 * twice, True, **settings).run()
    whole = fit(tmp_path / "whole", tiny_model, None, False, **settings).run()
    assert split.model.parts.batch_parts is not None
    assert 0 < (split.model.parts.batch_parts.tokens or 0) <= 64
    assert 0 < farthest(split, whole) < 1e-6
    losses = [[value for _, name, value in run.history.points if name == "train/loss"] for run in (split, whole)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_batches_that_fit_are_computed_whole(tmp_path: Path, tiny_model: Path) -> None:
    """To the last bit as without the setting."""
    model = {"dropout": 0.1}
    asked = fit(tmp_path / "asked", tiny_model, None, True, model=model, precision="bf16-mixed").run()
    plain = fit(tmp_path / "plain", tiny_model, None, False, model=model, precision="bf16-mixed").run()
    assert farthest(asked, plain) == 0.0


def test_a_resumed_fit_keeps_the_size_of_the_parts(tmp_path: Path, tiny_model: Path) -> None:
    whole = fit(tmp_path / "whole", tiny_model, 64, True).run()
    cut = tmp_path / "cut.ckpt"
    with pytest.raises(CutError):
        fit(tmp_path / "cut", tiny_model, 64, True, SaveAndCut("on_train_batch_end", 6, cut)).run()
    assert torch.load(cut, weights_only=True)["glue_lit"]["part_tokens"] <= 64
    assert farthest(fit(tmp_path / "resumed", tiny_model, 64, True).run(cut), whole) == 0.0


def test_memory_is_full_on_mps_too(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "FULL", [*FULL, RuntimeError])
    split = fit(tmp_path / "split", tiny_model, 64, True, max_steps=2).run()
    assert split.model.parts.batch_parts is not None
    assert split.model.parts.batch_parts.tokens is not None
    with pytest.raises(RuntimeError) as error:
        fit(tmp_path / "whole", tiny_model, 3, False, max_steps=2).run()
    assert (explain_system_error(error.value) or "").startswith("The GPU's memory is full (MPS backend out of memory.")


def test_a_row_that_does_not_fit_ends_the_fit(tmp_path: Path, tiny_model: Path) -> None:
    for is_split in (True, False):
        with pytest.raises(torch.OutOfMemoryError) as error:
            fit(tmp_path / str(is_split), tiny_model, 3, is_split).run()
        said = explain_system_error(error.value) or ""
        assert said.startswith(
            "The GPU's memory is full (out of memory. Tried to allocate 2 GiB.). Training takes less"
        )
        assert "--model.split_batches true" in said
        assert "--data.eval_batch_size" in said


def test_it_needs_a_gpu_and_no_scaled_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
    with pytest.raises(UsageError, match=r"model\.split_batches: got true, which needs a GPU"):
        check_splitting("32-true", "auto")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("cuda"))
    check_splitting("bf16-mixed", "auto")
    with pytest.raises(UsageError, match=r"allowed with trainer\.precision 16-mixed: false"):
        check_splitting("16-mixed", "gpu")
