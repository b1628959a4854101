"""Losses against PyTorch's own and against their definitions."""

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Bernoulli, Categorical, kl_divergence

from glue_lit.tasks.custom import CustomTask, resolve_task
from glue_lit.tasks.glue import get_task
from glue_lit.training.losses import TaskLoss, r_drop, r_drop_loss

LOGITS = torch.randn(12, 3, generator=torch.Generator().manual_seed(1))
OTHERS = torch.randn(12, 3, generator=torch.Generator().manual_seed(2))
LABELS = torch.arange(12) % 3


def weighted(*weights: float, smoothing: float = 0.0) -> TaskLoss:
    custom = CustomTask(
        text="text", kind="classification", labels=["a", "b", "c"], metrics=["accuracy"], class_weights=list(weights)
    )
    return TaskLoss(resolve_task("reviews", custom), smoothing)


def test_the_loss_of_a_task() -> None:
    classes, scores = TaskLoss(get_task("mnli")), TaskLoss(get_task("stsb"), smoothing=0.1)
    gold = torch.linspace(0, 5, 12)
    for loss in (classes, classes.plain):
        torch.testing.assert_close(loss(LOGITS, LABELS), F.cross_entropy(LOGITS, LABELS))
    for loss in (scores, scores.plain):  # scores have no classes to smooth
        torch.testing.assert_close(loss(LOGITS[:, :1], gold), ((LOGITS[:, 0] - gold) ** 2).mean())


def test_the_evaluation_loss_is_the_mean_over_labelled_rows() -> None:
    classes, scores = TaskLoss(get_task("mnli")), TaskLoss(get_task("stsb"))
    gold = torch.linspace(0, 5, 12)
    some = torch.arange(12) < 7
    assert torch.equal(classes.plain(LOGITS, LABELS.where(some, -1)), F.cross_entropy(LOGITS[some], LABELS[some]))
    torch.testing.assert_close(
        scores.plain(LOGITS[:, :1], gold.where(some, torch.nan)), F.mse_loss(LOGITS[some, 0], gold[some])
    )
    assert classes.plain(LOGITS, torch.full((12,), -1)).isnan()
    assert scores.plain(LOGITS[:, :1], torch.full((12,), torch.nan)).isnan()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_training_adds_class_weights_and_smoothed_labels(smoothing: float) -> None:
    targets = F.one_hot(LABELS, 3) * (1 - smoothing) + smoothing / 3
    each = -(targets * LOGITS.log_softmax(dim=1)).sum(dim=1)
    torch.testing.assert_close(TaskLoss(get_task("mnli"), smoothing)(LOGITS, LABELS), each.mean())
    loss = weighted(0.5, 1.0, 3.0, smoothing=smoothing)
    torch.testing.assert_close(loss(LOGITS, LABELS), (each * torch.tensor([0.5, 1.0, 3.0])[LABELS]).mean())
    torch.testing.assert_close(loss.plain(LOGITS, LABELS), F.cross_entropy(LOGITS, LABELS))
    halves = [loss(LOGITS[half], LABELS[half]) for half in (slice(0, 6), slice(6, 12))]
    torch.testing.assert_close(torch.stack(halves).mean(), loss(LOGITS, LABELS))


def test_class_weights_move_with_the_model_and_keep_their_digits() -> None:
    loss = weighted(0.7, 1.0, 3.3)
    assert not loss.state_dict()  # older checkpoints have none
    for precision in (torch.bfloat16, torch.float64):
        moved = loss.to(precision).weights
        assert moved is not None
        assert torch.equal(moved, torch.tensor([0.7, 1.0, 3.3]))
    moved = loss.to("meta").weights
    assert moved is not None
    assert moved.device.type == "meta"


def test_r_drop_is_the_mean_of_both_divergences() -> None:
    one, other = Categorical(logits=LOGITS), Categorical(logits=OTHERS)
    expected = (kl_divergence(one, other) + kl_divergence(other, one)).mean() / 2
    torch.testing.assert_close(r_drop(LOGITS, OTHERS), expected)
    assert float(r_drop(LOGITS, LOGITS)) == 0
    torch.testing.assert_close(
        r_drop(LOGITS[:, :1], OTHERS[:, :1], "regression"), ((LOGITS - OTHERS)[:, 0] ** 2).mean()
    )


def test_r_drop_passes_each_row_twice() -> None:
    batch = {"input_ids": torch.arange(6).view(2, 3), "labels": torch.tensor([0, 1])}
    passes = torch.randn(4, 2, generator=torch.Generator().manual_seed(3))

    def model(twice: dict[str, torch.Tensor]) -> torch.Tensor:
        assert twice["input_ids"].tolist() == [[0, 1, 2], [3, 4, 5], [0, 1, 2], [3, 4, 5]]
        return passes

    first, second = passes.chunk(2)
    mean = (F.cross_entropy(first, batch["labels"]) + F.cross_entropy(second, batch["labels"])) / 2
    found = r_drop_loss(model, TaskLoss(get_task("rte")), batch, 0.5)
    torch.testing.assert_close(found, mean + 0.5 * r_drop(first, second, False))


def of_sets(*weights: float, smoothing: float = 0.0) -> TaskLoss:
    labels = ["a", "b", "c"]
    custom = CustomTask(
        text="text", kind="multi_label", labels=labels, metrics=["micro_f1"], class_weights=list(weights) or None
    )
    return TaskLoss(resolve_task("reviews", custom), smoothing)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_a_multi_label_task_is_the_binary_cross_entropy_of_each_label(smoothing: float) -> None:
    gold = (OTHERS > 0).float()
    targets = gold * (1 - smoothing) + smoothing / 2
    weights = torch.tensor([2.0, 1.0, 0.5])
    for given in ((), (2.0, 1.0, 0.5)):
        loss = of_sets(*given, smoothing=smoothing)
        factor = weights if given else torch.ones(3)
        each = -(factor * targets * F.logsigmoid(LOGITS) + (1 - targets) * F.logsigmoid(-LOGITS))
        torch.testing.assert_close(loss(LOGITS, gold), each.mean())
        torch.testing.assert_close(loss.plain(LOGITS, gold), F.binary_cross_entropy(LOGITS.sigmoid(), gold))


def test_rows_that_are_unlabelled_have_no_part_in_the_loss_of_a_multi_label_task() -> None:
    gold = (OTHERS > 0).float()
    known = torch.arange(12) < 7
    loss, some = of_sets().plain, gold.where(known[:, None], -1)
    torch.testing.assert_close(loss(LOGITS, some), F.binary_cross_entropy(LOGITS[:7].sigmoid(), gold[:7]))
    assert loss(LOGITS, torch.full((12, 3), -1.0)).isnan()


def test_r_drop_of_a_multi_label_task_is_the_mean_over_the_labels() -> None:
    one, other = Bernoulli(logits=LOGITS), Bernoulli(logits=OTHERS)
    expected = (kl_divergence(one, other) + kl_divergence(other, one)).mean() / 2
    torch.testing.assert_close(r_drop(LOGITS, OTHERS, "multi_label"), expected)
