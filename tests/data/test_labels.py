import re
from collections import Counter

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from glue_lit.custom import CustomTask
from glue_lit.data.labels import Labelled, class_numbers, complete, label_of, numbers
from glue_lit.errors import DataError, GlueLitError, UsageError


def labelled(*labels: str | None) -> Labelled:
    return Labelled(labels, range(2, len(labels) + 2), "rows.csv, line {}".format)


def completed(*labels: str, **settings: object) -> CustomTask:
    return complete(CustomTask(text="text", **settings), labelled(*labels))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (None, None),
        ("", None),
        ("  ", None),
        (" a b ", "a b"),
        (1, "1"),
        (1.0, "1"),
        ("1.00", "1"),
        ("-2.0", "-2"),
        (2.5, "2.5"),
        ("1.0.0", "1.0.0"),
        (True, "true"),
        ("True", "True"),
    ],
)
def test_a_label_is_the_same_from_every_format(value: str | float | None, label: str | None) -> None:
    assert label_of(value) == label


@pytest.mark.parametrize(
    ("labels", "kind", "found"),
    [
        (["b", "a", "b"], "classification", ["a", "b"]),
        (["10", "9", "9"], "classification", ["9", "10"]),
        (["-1", "1"], "classification", ["-1", "1"]),
        (["1", "2.5"], "regression", None),
        ([str(n) for n in range(20)], "classification", [str(n) for n in range(20)]),
        ([str(n) for n in range(21)], "regression", None),
        (["true", "false"], "classification", ["false", "true"]),
    ],
)
def test_what_the_labels_look_like(labels: list[str], kind: str, found: list[str] | None) -> None:
    task = completed(*labels)
    assert (task.kind, task.labels) == (kind, found)
    assert task.is_complete
    assert task.metrics == (
        ["pearson", "spearmanr"] if found is None else ["accuracy", "f1" if len(found) == 2 else "macro_f1"]
    )


def test_what_the_user_says_counts() -> None:
    task = completed("1", "2", "3", kind="regression", metrics=["spearmanr"])
    assert (task.kind, task.labels, task.metrics) == ("regression", None, ["spearmanr"])
    task = completed("b", "a", labels=["b", "a", "c"], label_names=["B", "A", "C"], metrics=["macro_f1"])
    assert (task.labels, task.label_names, task.metrics) == (["b", "a", "c"], ["B", "A", "C"], ["macro_f1"])
    assert completed("1.5", "2", "1.5", kind="classification").labels == ["1.5", "2"]


def test_completing_twice_changes_nothing() -> None:
    task = completed("b", "a", "b", class_weights="balanced")
    assert complete(task, labelled("b", "a", "b")) == task


def test_balanced_weights_are_scikit_learns() -> None:
    labels = ["x"] * 70 + ["y"] * 25 + ["z"] * 5
    expected = compute_class_weight("balanced", classes=np.array(["x", "y", "z"]), y=np.array(labels))
    weights = completed(*labels, class_weights="balanced").class_weights
    assert weights == pytest.approx(expected, abs=1e-6)
    counts = Counter(labels)
    assert sum(w * counts[c] for w, c in zip(weights, "xyz", strict=True)) == pytest.approx(100, abs=1e-3)  # type: ignore[arg-type]


def test_a_class_without_rows_has_weight_one() -> None:
    assert completed("a", "b", labels=["a", "b", "c"], class_weights="balanced").class_weights[2] == 1  # type: ignore[index]


WRONG: list[tuple[list[str], dict[str, object], type[GlueLitError], str]] = [
    (["1", "2", "n/a"], {}, DataError, "rows.csv, line 4: the label is 'n/a', while 2 other rows have numbers"),
    (["a", "a"], {}, DataError, "has one label only, 'a'"),
    ([f"id{n}" for n in range(50)], {}, DataError, "50 different labels in 50 rows ('id0', 'id1', 'id10' ...)"),
    (["a", "b"], {"kind": "regression"}, DataError, "line 2: 'a' is no number"),
    (["1", "2_5"], {"kind": "regression"}, DataError, "line 3: '2_5' is no number"),
    (["1", "inf"], {"kind": "regression"}, DataError, "line 3: 'inf' is no number"),
    (["1", "2.5"], {"label_names": ["a", "b"]}, UsageError, "a regression task has no labels"),
    (["1", "2.5"], {"class_weights": "balanced"}, UsageError, "a regression task has no labels"),
    (["a", "b"], {"labels": ["a", "B"]}, DataError, "line 3: label 'b' is none of the task's. Its labels are: a, B."),
    (["a", "b"], {"labels": ["a", "b", "a"]}, UsageError, "there twice"),
    (["a", "b"], {"label_names": ["x", "x"]}, UsageError, "there twice"),
    (["a", "b"], {"label_names": ["x"]}, UsageError, "1 names for 2 labels (a, b)"),
    (["a", "b"], {"metrics": ["pearson"]}, UsageError, "'pearson' is no metric for 2 labels. Allowed: accuracy, f1"),
    (["a", "b", "c"], {"metrics": ["f1"]}, UsageError, "no metric for 3 labels. Allowed: accuracy, macro_f1"),
    (["1", "2.5"], {"metrics": ["accuracy"]}, UsageError, "no metric for regression. Allowed: pearson, spearmanr"),
    (["a", "b"], {"class_weights": [1.0]}, UsageError, "allowed: balanced, or 2 numbers from 0 up (a, b)"),
    (["a", "b"], {"class_weights": [1.0, -1.0]}, UsageError, "allowed: balanced"),
]


@pytest.mark.parametrize(("labels", "settings", "kind", "message"), WRONG)
def test_what_is_wrong_is_said(
    labels: list[str], settings: dict[str, object], kind: type[GlueLitError], message: str
) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        completed(*labels, **settings)


def test_hidden_labels_stay_hidden() -> None:
    assert class_numbers(labelled("b", None, "a"), ["a", "b"]) == [1, None, 0]
    assert numbers(labelled("1e2", None, "-3")) == [100.0, None, -3.0]
