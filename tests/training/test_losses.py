"""Losses against PyTorch's own and against their definitions."""

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Categorical, kl_divergence

from glue_lit.training.losses import ClassWeights, r_drop, task_loss, twice, weighted_loss

LOGITS = torch.randn(12, 3, generator=torch.Generator().manual_seed(1))
OTHERS = torch.randn(12, 3, generator=torch.Generator().manual_seed(2))
LABELS = torch.arange(12) % 3


def test_the_tasks_loss() -> None:
    torch.testing.assert_close(task_loss(LOGITS, LABELS, False), F.cross_entropy(LOGITS, LABELS))
    scores = torch.linspace(0, 5, 12)
    torch.testing.assert_close(task_loss(LOGITS[:, :1], scores, True), ((LOGITS[:, 0] - scores) ** 2).mean())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weights_and_smoothed_labels(smoothing: float) -> None:
    weights = torch.tensor([0.5, 1.0, 3.0])
    targets = F.one_hot(LABELS, 3) * (1 - smoothing) + smoothing / 3
    each = -(targets * LOGITS.log_softmax(dim=1)).sum(dim=1)
    torch.testing.assert_close(weighted_loss(LOGITS, LABELS, None, smoothing), each.mean())
    torch.testing.assert_close(weighted_loss(LOGITS, LABELS, weights, smoothing), (each * weights[LABELS]).mean())
    halves = [weighted_loss(LOGITS[half], LABELS[half], weights, smoothing) for half in (slice(0, 6), slice(6, 12))]
    torch.testing.assert_close(torch.stack(halves).mean(), weighted_loss(LOGITS, LABELS, weights, smoothing))


def test_class_weights_go_with_the_model_and_keep_their_digits() -> None:
    weights = ClassWeights([0.7, 1.0, 3.3])
    assert not weights.state_dict()  # older checkpoints have none
    assert weights.to("meta").values.device.type == "meta"
    for precision in (torch.bfloat16, torch.float64):
        assert torch.equal(ClassWeights([0.7, 1.0, 3.3]).to(precision).values, torch.tensor([0.7, 1.0, 3.3]))


def test_r_drop_is_the_mean_of_both_divergences() -> None:
    one, other = Categorical(logits=LOGITS), Categorical(logits=OTHERS)
    expected = (kl_divergence(one, other) + kl_divergence(other, one)).mean() / 2
    torch.testing.assert_close(r_drop(LOGITS, OTHERS, False), expected)
    assert float(r_drop(LOGITS, LOGITS, False)) == 0
    torch.testing.assert_close(r_drop(LOGITS[:, :1], OTHERS[:, :1], True), ((LOGITS - OTHERS)[:, 0] ** 2).mean())


def test_each_row_a_second_time() -> None:
    batch = {"input_ids": torch.arange(6).view(2, 3), "labels": torch.tensor([0, 1])}
    assert twice(batch)["input_ids"].tolist() == [[0, 1, 2], [3, 4, 5], [0, 1, 2], [3, 4, 5]]
    assert twice(batch)["labels"].tolist() == [0, 1, 0, 1]
