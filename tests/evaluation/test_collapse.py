"""What is said of a model that gives all rows one label."""

import math
from pathlib import Path

import numpy as np
import pytest
from conftest import write_events

from glue_lit.evaluation.collapse import collapsed_label, explain_collapse
from glue_lit.evaluation.predictions import Predictions
from glue_lit.tasks.custom import CustomTask, resolve_task
from glue_lit.tasks.glue import get_task

SST2 = get_task("sst2")
GUESSING = math.log(2)


def noisy(*means: float) -> list[float]:
    """Points of a curve around the means of the parts of a training, ten a part."""
    noise = np.random.default_rng(0).normal(scale=0.04, size=10 * len(means))  # of batches with 16 rows, ten a point
    return [float(mean + by) for mean, by in zip(np.repeat(means, 10), noise, strict=True)]


@pytest.mark.parametrize(
    ("losses", "every", "words"),
    [
        # measured with all-MiniLM-L6-v2, batches of 8
        ([0.889, 0.769, 1.097, 1.677, 1.058, 0.924, 0.748, 0.638, 0.573, 0.794], 10, "was 1.68 at its highest"),
        ([0.674, 0.653, 0.867, 0.728, 0.695, 0.744, 0.708, 0.7, 0.771, 0.715, 0.687, 0.75], 10, "was 0.87 at its highest"),
        ([0.686, 0.68], 10, "from 0.69 to 0.68 in 20 steps: it was trained too little"),
        ([0.695, 0.692, 0.693], 10, "from 0.69 to 0.69 in 30 steps: it was trained too little"),
        (noisy(0.69, 0.5, 0.4, 0.65, 0.7), 10, "rose to 0.7"),
        (noisy(0.69, 0.69, 0.69, 0.6, 0.5), 10, "in 500 steps: it was trained too little"),
        (noisy(0.69, 0.62, 0.61, 0.61), 10, "in 400 steps. Another --model.learning_rate"),
        (noisy(*[0.61] * 30), 10, "in 3,000 steps. Another"),
        ([1.2, 0.4, 0.5, 0.7, 0.9, 0.6, 0.5], 1, "in 7 steps: it was trained too little"),  # one batch a point: noise
        ([0.7], 1000, "in 1,000 steps. Another"),
    ],
)  # fmt: skip
def test_the_training_loss_tells_a_rate_that_is_too_high_from_too_few_steps(
    losses: list[float], every: int, words: str, tmp_path: Path
) -> None:
    write_events(
        tmp_path / "events.out.tfevents.1.host",
        {"train/loss": {(at + 1) * every: value for at, value in enumerate(losses)}},
    )
    said = explain_collapse(GUESSING, tmp_path, 3e-3)
    assert words in said
    assert ("--model.learning_rate 0.003 is too high. A lower one" in said) == ("highest" in words or "rose" in words)
    assert ("More --trainer.max_epochs" in said) == ("too little" in words)


def test_the_loss_of_weighted_classes_may_be_higher(tmp_path: Path) -> None:
    write_events(tmp_path / "events.out.tfevents.1.host", {"train/loss": {10: 1.3, 20: 1.2}})
    assert "too high" in explain_collapse(GUESSING, tmp_path, 2e-5)
    assert "too little" in explain_collapse(2 * GUESSING, tmp_path, 2e-5)


def test_without_a_curve_of_the_loss_only_the_steps_are_known(tmp_path: Path) -> None:
    for place in (None, tmp_path):
        assert explain_collapse(GUESSING, place, 2e-5).startswith("Another --model.learning_rate")
    for steps, words in ((1, "After 1 step, it was trained too little."), (500, "Another --model.learning_rate")):
        write_events(tmp_path / "events.out.tfevents.1.host", {"val/loss": {steps: 0.7}})
        assert explain_collapse(GUESSING, tmp_path, 2e-5).startswith(words)


@pytest.mark.parametrize(
    ("gold", "values", "label"),
    [
        ([0, 1, 0], [0, 0, 0], "the label negative"),
        ([0, 1, 0], [0, 1, 0], None),
        ([0, 0, 0], [0, 0, 0], None),  # all rows have that label, and the model is right
        ([1, 1], [0, 0], "the label negative"),
    ],
)
def test_a_model_has_collapsed_if_one_label_is_wrong_for_some_rows(
    gold: list[int], values: list[int], label: str | None
) -> None:
    rows = Predictions(np.arange(len(gold)), np.array(gold), np.array(values), None)
    assert collapsed_label(SST2, rows) == label
    assert collapsed_label(get_task("stsb"), rows) is None


@pytest.mark.parametrize(
    ("predicted", "words"),
    [
        ([], "no label"),
        ([3], "the label label3"),
        ([1, 2], "the labels label1, label2"),
        (list(range(11)), f"the labels {', '.join(f'label{at}' for at in range(8))} and 3 more"),
    ],
)
def test_a_multi_label_model_has_collapsed_if_all_rows_get_the_same_labels(predicted: list[int], words: str) -> None:
    labels = [f"label{at}" for at in range(12)]
    task = resolve_task("own", CustomTask("text", kind="multi_label", labels=labels, metrics=["micro_f1"]))
    gold = np.eye(12, dtype=np.int8)[:3]
    values = np.zeros((3, 12), dtype=np.int8)
    values[:, predicted] = 1
    assert collapsed_label(task, Predictions(np.arange(3), gold, values, None)) == words
    assert collapsed_label(task, Predictions(np.arange(3), gold, gold, None)) is None
    assert collapsed_label(task, Predictions(np.arange(3), values, values, None)) is None
