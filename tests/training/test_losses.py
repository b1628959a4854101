"""Losses against PyTorch's own and against their definitions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Bernoulli, Categorical, kl_divergence

from glue_lit.tasks.custom import CustomTask, resolve_task
from glue_lit.tasks.glue import TaskSpec, get_task
from glue_lit.training.loss_choice import Choice
from glue_lit.training.losses import TaskLoss, binary_focal_loss, focal_loss, r_drop, r_drop_loss

LOGITS = torch.randn(12, 3, generator=torch.Generator().manual_seed(1))
OTHERS = torch.randn(12, 3, generator=torch.Generator().manual_seed(2))
LABELS = torch.arange(12) % 3


def weighted(*weights: float, smoothing: float = 0.0, choice: Choice = None) -> TaskLoss:
    custom = CustomTask(
        text="text", kind="classification", labels=["a", "b", "c"], metrics=["accuracy"], class_weights=list(weights)
    )
    return TaskLoss(resolve_task("reviews", custom), smoothing, choice)


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


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_the_focal_loss(gamma: float) -> None:
    """Against torchvision's formula, which is for two classes with one logit: here the difference of both."""
    logits, labels = LOGITS[:, :2].double(), LABELS % 2
    one, target = (logits[:, 1] - logits[:, 0]).numpy(), labels.numpy()
    p = 1 / (1 + np.exp(-one))
    p_t = p * target + (1 - p) * (1 - target)
    expected = -(target * np.log(p) + (1 - target) * np.log(1 - p)) * (1 - p_t) ** gamma
    torch.testing.assert_close(focal_loss(logits, labels, gamma), torch.from_numpy(expected))
    each = [-((1 - row[gold]) ** gamma) * row[gold].log() for row, gold in zip(LOGITS.softmax(1), LABELS, strict=True)]
    torch.testing.assert_close(focal_loss(LOGITS, LABELS, gamma), torch.stack(each))


def test_the_focal_loss_without_focus_is_the_cross_entropy_with_its_gradient() -> None:
    found, expected = LOGITS.clone().requires_grad_(), LOGITS.clone().requires_grad_()
    loss, plain = focal_loss(found, LABELS, 0.0).mean(), F.cross_entropy(expected, LABELS)
    torch.testing.assert_close(loss, plain)
    torch.testing.assert_close(*(torch.autograd.grad(one, of)[0] for one, of in ((loss, found), (plain, expected))))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_focal_loss_of_a_row_that_the_model_is_sure_of_has_a_gradient(gamma: float) -> None:
    logits = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([0, 0]), gamma)
    torch.testing.assert_close(loss.detach(), torch.tensor([0.0, 200.0]))
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    torch.testing.assert_close(gradient, torch.tensor([[0.0, 0.0], [-1.0, 1.0]]))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_focal_loss_of_each_label(gamma: float) -> None:
    """Against torchvision's formula; rows that have a label count by its weight, unlabelled rows not at all."""
    logits, labels = 4 * LOGITS.double(), (OTHERS > 0).double()
    x, target = logits.numpy(), labels.numpy()
    p = 1 / (1 + np.exp(-x))
    p_t = p * target + (1 - p) * (1 - target)
    expected = torch.from_numpy(-(target * np.log(p) + (1 - target) * np.log(1 - p)) * (1 - p_t) ** gamma)
    torch.testing.assert_close(binary_focal_loss(logits, labels, gamma), expected)
    task = TaskSpec("x", "", "", ("text",), ("a", "b", "c"), (), {}, {}, is_multi_label=True)
    weights, some = torch.tensor([0.5, 1.0, 3.0]), torch.arange(12) < 7
    loss = TaskLoss(replace(task, class_weights=tuple(weights.tolist())), 0.0, "focal", gamma)
    torch.testing.assert_close(loss(logits, labels), (expected * weights.where(labels == 1, 1)).mean())
    torch.testing.assert_close(loss.plain(logits, labels.where(some[:, None], -1)), expected[some].mean())
    sure = torch.tensor([[300.0, -300.0, 300.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(binary_focal_loss(sure, torch.tensor([[1.0, 0.0, 0.0]]), gamma).sum(), sure)
    torch.testing.assert_close(gradient, torch.tensor([[0.0, 0.0, 1.0]]))


def test_the_focal_loss_is_weighted_in_training_and_plain_in_evaluations() -> None:
    weights, some = torch.tensor([0.5, 1.0, 3.0]), torch.arange(12) < 7
    loss = weighted(*weights.tolist(), choice="focal")
    each = focal_loss(LOGITS, LABELS, 2.0)
    torch.testing.assert_close(loss(LOGITS, LABELS), (each * weights[LABELS]).mean())
    torch.testing.assert_close(loss.plain(LOGITS, LABELS.where(some, -1)), each[some].mean())
    assert loss.plain(LOGITS, torch.full((12,), -1)).isnan()


def test_the_loss_of_guessing() -> None:
    even = torch.zeros(3, 3)
    for loss in (weighted(1.0, 1.0, 1.0), weighted(1.0, 1.0, 1.0, choice="focal")):
        assert loss.guessing == pytest.approx(float(loss(even, torch.arange(3))))
    assert TaskLoss(get_task("stsb")).guessing is None


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
