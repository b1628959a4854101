"""The rows of an evaluation, in the order of the data and without fillers."""

from types import SimpleNamespace

import pytest
import torch

from glue_lit.tasks.glue import get_task
from glue_lit.training.tensorboard import evaluated
from glue_lit.training.tensorboard.evaluated import RowCollector, labelled_predictions

ONE = SimpleNamespace(world_size=1, lightning_module=SimpleNamespace(hparams={"windows": {"pooling": "max"}}))


def test_rows_come_in_order_once_and_without_fillers() -> None:
    rows = RowCollector()
    rows.add(
        "validation",
        torch.tensor([[0.0, 1.0], [1.0, 0.0]]),
        {"idx": torch.tensor([7, 2]), "labels": torch.tensor([1, 1])},
    )
    rows.add("validation", torch.tensor([[5.0, 5.0]]), {"idx": torch.tensor([-1]), "labels": torch.tensor([-1])})
    rows.add("validation", torch.tensor([[2.0, 0.0]]), {"idx": torch.tensor([4]), "labels": torch.tensor([-1])})
    ((split, found),) = rows.gather(ONE)
    assert split == "validation"
    assert found.idx.tolist() == [2, 4, 7]
    assert not list(rows.gather(ONE))
    predicted = labelled_predictions(get_task("rte"), found)
    assert predicted is not None
    assert predicted.idx.tolist() == [2, 7]
    assert predicted.values.tolist() == [0, 1]
    assert predicted.gold.tolist() == [1, 1]
    assert predicted.unlabelled == 1
    assert predicted.probabilities is not None
    assert predicted.probabilities.sum(axis=1).tolist() == [1.0, 1.0]


def test_many_rows_leave_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """In as many copies as it takes to keep within the limit, and with the same rows as ever."""
    copies: list[int] = []

    def counted(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        copies.append(len(tensors[0]))
        return tensors

    monkeypatch.setattr(evaluated, "to_host", counted)
    rows = RowCollector(most=10)
    for idx in (3, 0, 2, 1, 4):
        logits = torch.arange(4.0)[None] + idx
        rows.add(
            "test" if idx == 4 else "validation", logits, {"idx": torch.tensor([idx]), "labels": torch.tensor([1])}
        )
    assert copies == [3]
    (split, found), (other, last) = rows.gather(ONE)
    assert copies == [3, 1, 1]
    assert (split, found.idx.tolist(), found.logits[:, 0].tolist()) == ("validation", [0, 1, 2, 3], [0, 1, 2, 3])
    assert (other, last.idx.tolist()) == ("test", [4])


def test_rows_of_windows_are_those_of_their_documents() -> None:
    rows = RowCollector()
    of_windows = [(3, 5, [1.0, 4.0]), (0, 2, [0.0, 1.0]), (-1, -1, [9.0, 9.0]), (2, 5, [3.0, 2.0]), (1, 2, [2.0, 0.0])]
    for window, idx, logits in of_windows:
        batch = {"window": torch.tensor([window]), "idx": torch.tensor([idx]), "labels": torch.tensor([idx % 2])}
        rows.add("validation", torch.tensor([logits]), batch)
    ((_, found),) = rows.gather(ONE)
    assert found.idx.tolist() == [2, 5]
    assert found.logits.tolist() == [[2.0, 1.0], [3.0, 4.0]]
    assert found.labels.tolist() == [0, 1]


def test_without_a_label_there_is_nothing_to_compare() -> None:
    rows = RowCollector()
    rows.add("test", torch.tensor([[1.0]]), {"idx": torch.tensor([0]), "labels": torch.tensor([float("nan")])})
    ((_, found),) = rows.gather(ONE)
    assert labelled_predictions(get_task("stsb"), found) is None
