from typing import Any

import pytest

from glue_lit.errors import UsageError
from glue_lit.tasks.custom import NO_TASK, CustomTask, parse_custom_task, resolve_task
from glue_lit.tasks.glue import TASKS

REVIEWS = CustomTask(text="review", label="stars", kind="classification", labels=["0", "1"], metrics=["accuracy"])


@pytest.mark.parametrize("name", TASKS)
def test_without_columns_a_task_is_one_of_glues(name: str) -> None:
    assert resolve_task(name, NO_TASK) is TASKS[name]


def test_an_own_task() -> None:
    task = resolve_task(
        "reviews", parse_custom_task(REVIEWS.settings() | {"label_names": ["bad", "good"], "class_weights": [1, 2]})
    )
    assert (task.name, task.text_columns, task.labels, task.file_labels) == (
        "reviews", ("review",), ("bad", "good"), ("0", "1")
    )  # fmt: skip
    assert task.monitor == "val/accuracy"
    assert task.class_weights == (1, 2)
    assert (task.validation_splits, task.test_splits) == (("validation",), ("test",))


def test_an_own_regression_task() -> None:
    task = resolve_task("stars", CustomTask(text=["a", "b"], kind="regression", metrics=["spearmanr", "pearson"]))
    assert task.is_regression
    assert task.num_labels == 1
    assert task.monitor == "val/spearmanr"


def test_the_metrics_of_the_positive_label_are_named_together() -> None:
    metrics = ["accuracy", "precision", "f1", "macro_f1"]
    custom = CustomTask(text="review", kind="classification", labels=["bad", "good"], metrics=metrics)
    assert resolve_task("reviews", custom).label_metrics == "Precision and F1"


def test_an_unknown_name_without_columns() -> None:
    with pytest.raises(UsageError, match=r"no task 'reviews'.*`--data.custom.text COLUMN`"):
        resolve_task("reviews", NO_TASK)


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b", "x" * 101, "ä"])
def test_a_name_must_be_valid_as_a_folder(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a task's name"):
        resolve_task(name, REVIEWS)


def test_names_of_glue_tasks_are_refused() -> None:
    with pytest.raises(UsageError, match="'cola' is a task of GLUE"):
        resolve_task("cola", REVIEWS)


def test_a_task_without_labels_yet_is_an_error() -> None:
    with pytest.raises(UsageError, match="not known yet"):
        resolve_task("reviews", CustomTask(text="review"))


@pytest.mark.parametrize(
    "values",
    [
        {"text": 5}, {"text": ["a", 1]}, {"label": [1]}, {"label": []}, {"label": None}, {"labels": "x"}, {"labels": {"a": 1}},
        {"kind": "x"}, {"metrics": 1}, {"class_weights": "x"}, {"class_weights": ["a"]}, {"test_file": []},
        {"split_seed": -1}, {"split_seed": 0.5}, {"validation_fraction": "x"},
    ],
)  # fmt: skip
def test_a_value_of_another_type_than_its_key_has(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"data.custom.{next(iter(values))}: got .*, allowed: "):
        parse_custom_task(values)


def test_values_that_describe_no_task_are_refused() -> None:
    with pytest.raises(UsageError, match=r"data.custom: got \[1\], allowed: keys"):
        parse_custom_task([1])  # type: ignore[arg-type]


def test_settings_are_of_the_right_types() -> None:
    assert parse_custom_task(REVIEWS.settings() | {"labels": ("0", 1), "class_weights": [1, 2.0]}).labels == ("0", 1)
