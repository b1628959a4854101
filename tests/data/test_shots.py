"""`data.shots`: a few training rows of each label, drawn by the seed."""

from pathlib import Path
from typing import Any

import pytest
import torch

import glue_lit
from glue_lit import GLUEDataModule
from glue_lit.data.shots import draw_shots
from glue_lit.errors import UsageError

LABELS = torch.tensor([0] * 50 + [1] * 7 + [2] * 2 + [-1] * 5)


@pytest.mark.parametrize("shots", [1, 2, 5, 1000])
def test_each_label_has_as_many_rows_or_all_that_there_are(shots: int) -> None:
    chosen = draw_shots(LABELS, shots, seed=1)
    assert LABELS[chosen].bincount().tolist() == [min(shots, 50), min(shots, 7), min(shots, 2)]
    assert chosen.tolist() == sorted(set(chosen.tolist()))


def test_every_row_is_drawn_as_often_as_the_others_of_its_label() -> None:
    draws = torch.cat([draw_shots(LABELS, 1, seed) for seed in range(2000)]).bincount(minlength=64)
    assert draws[50:57].min() > 2000 / 7 - 5 * (2000 * 6 / 49) ** 0.5
    assert draws[57:59].min() > 1000 - 5 * 500**0.5
    assert draws[59:].sum() == 0


@pytest.mark.parametrize("at_once", [7, 1 << 18])
def test_shots_are_those_of_one_pass_over_all_rows_in_a_random_order(
    at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draw_shots.__module__ + "._AT_ONCE", at_once)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(3))
    expected = [order[LABELS[order] == label][:5] for label in range(3)]
    assert draw_shots(LABELS, 5, 3, tmp_path).tolist() == sorted(torch.cat(expected).tolist())


def data(tiny_model: Path, **settings: Any) -> GLUEDataModule:
    fixed: dict[str, Any] = {"task": "cola", "source": "demo", "batch_size": 3, "shots": 4}
    return GLUEDataModule(tokenizer=str(tiny_model), **fixed | settings)


def test_an_epoch_trains_on_the_shots_and_validates_on_all(tiny_model: Path) -> None:
    module, whole = data(tiny_model, seed=5), data(tiny_model, shots=None)
    seen = [batch["labels"] for batch in module.train_dataloader()]
    assert torch.cat(seen).bincount().tolist() == [4, 4]
    assert len(module.dataset("validation")) == len(whole.dataset("validation"))


def test_ratings_have_shots_of_each_label(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "ratings.csv"
    rows = [f"room {number},{1 + number % 3}\n" for number in range(40)]
    file.write_text("".join(["text,stars\n", *rows, "bad,5\n"]), encoding="utf-8")
    custom = {"text": "text", "label": "stars", "kind": "ordinal", "validation_file": str(file)}
    module = data(tiny_model, task="ratings", source=str(file), custom=custom)
    labels = torch.cat([batch["labels"] for batch in module.train_dataloader()])
    assert labels.long().bincount().tolist() == [4, 4, 4, 1]


def test_the_seed_decides_which(tiny_model: Path) -> None:
    first, again, other = (data(tiny_model, seed=seed).dataset("train").examples.tolist() for seed in (5, 5, 6))
    assert first == again != other


def test_pairs_in_both_orders_are_those_of_the_shots(tiny_model: Path) -> None:
    module = data(tiny_model, task="mrpc", both_orders=True)
    positions = module.dataset("train").examples
    assert torch.equal(positions[8:], positions[:8] + len(module.dataset("train").store) // 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "stsb"}, "data.shots: got 4, but stsb is a regression, .* `--data.train_limit 4`"),
        ({"train_limit": 9}, "data.shots: got 4, and data.train_limit 9: both .* Give one of them"),
        ({"shots": 0}, "data.shots: got 0, allowed: 1 to"),
    ],
)
def test_what_does_not_go_together_is_refused(tiny_model: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        data(tiny_model, **settings)


def test_balanced_weights_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "reviews.csv"
    file.write_text("text,label\n" + "a fine room,good\n" * 9 + "a dull room,bad\n" * 3, encoding="utf-8")
    custom = {"text": "text", "class_weights": "balanced"}
    message = r"got balanced, but with data\.shots"
    with pytest.raises(UsageError, match=message):
        data(tiny_model, task="reviews", source=str(file), custom=custom)
    settings = {f"data.custom.{name}": value for name, value in custom.items()} | {"data.shots": 2}
    with pytest.raises(UsageError, match=message):
        glue_lit.fit("reviews", tiny_model, source=file, settings=settings)


def test_a_fit_records_its_shots(tiny_model: Path, tmp_path: Path) -> None:
    settings = {
        "data.shots": 3, "data.validation_limit": 9, "trainer.max_epochs": 1, "trainer.accelerator": "cpu",
        "trainer.precision": "32-true", "trainer.default_root_dir": str(tmp_path),
    }  # fmt: skip
    fit = glue_lit.fit("cola", tiny_model, source="demo", settings=settings)
    assert fit.record["data"]["splits"]["train"]["rows"] == 6
    assert fit.run is not None
    assert "shots: 3" in (fit.run / "config.yaml").read_text(encoding="utf-8")
