"""Thresholds of labels: the best F1 by brute force, ties, labels without rows, the same decisions everywhere."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from glue_lit.evaluation.thresholds import cut_logits, describe_thresholds, fit_thresholds, scaled_thresholds
from glue_lit.tasks.custom import CustomTask, resolve_task


def columns(*logits: list[float]) -> np.ndarray:
    return np.array(logits, dtype=np.float32).T


def f1_at(logits: np.ndarray, gold: np.ndarray, thresholds: list[float]) -> list[float]:
    predicted = logits >= cut_logits(thresholds)
    return [float(f1_score(gold[:, at], predicted[:, at], zero_division=0)) for at in range(gold.shape[1])]


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_no_other_threshold_has_a_higher_f1(decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    gold = rng.integers(0, 2, (40, 5)) * (rng.random(5) < 0.8)
    logits = (rng.normal(size=(40, 5)) + gold).round(decimals).astype(np.float32)
    found = f1_at(logits, gold, fit_thresholds(logits, gold))
    for label in range(5):
        cuts = [*np.unique(logits[:, label]), 99]
        best = max(f1_score(gold[:, label], logits[:, label] >= cut, zero_division=0) for cut in cuts)
        assert found[label] == pytest.approx(best)


def test_the_order_of_rows_does_not_matter() -> None:
    rng = np.random.default_rng(4)
    gold, logits = rng.integers(0, 2, (60, 3)), rng.normal(size=(60, 3)).round(1).astype(np.float32)
    order = rng.permutation(60)
    assert fit_thresholds(logits, gold) == fit_thresholds(logits[order], gold[order])


def test_ties_and_labels_without_rows() -> None:
    logits = columns([3, 1, -1, -3], [3, 2, -2, -3], [4, 3, 2, 1], [-1, -2, -3, -4], [1, 1, 1, 1], [2, 2, -2, -2])
    gold = columns([1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1])
    cuts = np.log(1 / (1 / np.array(fit_thresholds(logits, gold)) - 1))
    # at 0.5 as good as anywhere; no row; between 4 and 3; between -2 and -3; all rows alike; below all rows
    assert cuts == pytest.approx([0, 0, 3.5, -2.5, 0, -3])


def test_of_equally_good_thresholds_the_one_nearest_a_half_is_taken() -> None:
    # F1 is 2/3 for the rows from 9 and for those from 3
    logits, gold = columns([9, 8, 7, 3, 1]), columns([1, 0, 0, 1, 0])
    assert f1_at(logits, gold, [0.9998]) == f1_at(logits, gold, [0.9]) == [pytest.approx(2 / 3)]
    assert np.log(1 / (1 / np.array(fit_thresholds(logits, gold)) - 1)) == pytest.approx(2)


def test_extreme_logits_keep_thresholds_between_0_and_1() -> None:
    (threshold,) = fit_thresholds(columns([500, 400, -400]), columns([1, 0, 0]))
    assert 0 < threshold < 1
    assert fit_thresholds(columns([np.nan, 1]), columns([1, 0])) == [0.5]


def test_a_temperature_leaves_the_labels_as_they_are() -> None:
    thresholds = [0.5, 0.1, 0.93]
    logits = np.linspace(-5, 5, 101).astype(np.float32)
    for temperature in (0.5, 3.0):
        scaled = scaled_thresholds(thresholds, temperature)
        assert scaled[0] == 0.5
        for old, new in zip(cut_logits(thresholds), cut_logits(scaled), strict=True):
            assert ((logits >= old) == (logits / temperature >= new)).all()


def test_what_is_said_of_them() -> None:
    labels = [f"label{number}" for number in range(12)]
    custom = CustomTask("text", kind="multi_label", labels=labels, metrics=["micro_f1"], thresholds="tuned")
    line = describe_thresholds(resolve_task("own", custom), [0.25] * 12)
    assert line.startswith("Thresholds are fitted on the rows of validation, which makes its scores too good by some")
    assert "label0 0.25, label1" in line
    assert line.endswith("label9 0.25 and those of 2 more.")
    assert describe_thresholds(resolve_task("own", CustomTask(**custom.settings() | {"thresholds": 0.3})), []) == ""
