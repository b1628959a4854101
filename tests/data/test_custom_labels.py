import re
from collections import Counter

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from glue_lit.data.custom_labels import check_and_complete, complete_from_labels
from glue_lit.data.label_column import LabelColumn
from glue_lit.data.rows import Label
from glue_lit.errors import DataError, GlueLitError, UsageError
from glue_lit.tasks.custom import CustomTask, resolve_task


def column(*labels: str | None) -> LabelColumn:
    return LabelColumn(labels, range(2, len(labels) + 2), "rows.csv, line {}".format)


def classes(rows: LabelColumn, labels: list[str]) -> list[Label]:
    return rows.parse(CustomTask(text="text", kind="classification", labels=labels))


def scores(rows: LabelColumn, decimal_comma: bool = False) -> list[Label]:
    return rows.parse(CustomTask(text="text", kind="regression", decimal_comma=decimal_comma))


def completed(*labels: str, **settings: object) -> CustomTask:
    return complete_from_labels(CustomTask(text="text", **settings), column(*labels))  # type: ignore[arg-type]


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
        (["2E65", "2E66"], "classification", ["2E65", "2E66"]),
        ([f"2E{n}" for n in range(60, 90)] * 8, "classification", [f"2E{n}" for n in range(60, 90)]),
        (["2E65", "1A00", "BA00"], "classification", ["1A00", "2E65", "BA00"]),
        (["0x1F", "0x2F"], "classification", ["0x1F", "0x2F"]),
        (["1_000", "2_000"], "classification", ["1_000", "2_000"]),
        ([f"{n:02}" for n in range(30)] * 8, "classification", [f"{n:02}" for n in range(30)]),
        (["0.5", "1e-05", "2.5E-7", "3"], "regression", None),
        (["-0", "0", "1"], "classification", ["0", "1"]),
        (["cafe\u0301", "caf\u00e9", "tea"], "classification", ["caf\u00e9", "tea"]),
    ],
)
def test_the_kind_of_task_follows_from_the_labels(labels: list[str], kind: str, found: list[str] | None) -> None:
    task = completed(*labels)
    assert (task.kind, task.labels) == (kind, found)
    assert task.is_complete
    assert task.metrics == (
        ["pearson", "spearmanr"] if found is None else ["accuracy", "f1" if len(found) == 2 else "macro_f1"]
    )


def test_labels_in_order() -> None:
    """Numbers by value, other labels as they are listed; rows have the number of their label."""
    for labels, found in ((["10", "9", "2.5", "9"], ["2.5", "9", "10"]), (["-1", "0", "-0"], ["-1", "0"])):
        task = completed(*labels, kind="ordinal")
        assert (task.kind, task.labels, task.class_weights) == ("ordinal", found, None)
        assert task.metrics == ["quadratic_weighted_kappa", "accuracy", "mae", "spearmanr"]
    task = completed("good", "bad", "fair", kind="ordinal", labels=["bad", "fair", "good"])
    spec = resolve_task("ratings", task)
    assert (spec.levels, spec.labels, spec.num_labels, spec.kind) == (("bad", "fair", "good"), (), 1, "regression")
    assert spec.cut_points == (0.5, 1.5)
    assert column("good", None, "bad").parse(task) == [2, None, 0]
    assert check_and_complete(task) == task


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        (["good", "bad"], {}, r"got ordinal, and 'bad' is no number, .*--data\.custom\.labels '\[bad, good\]'"),
        (["1", "2", "many"], {}, "'many' is no number"),
        (["1", "2"], {"class_weights": "balanced"}, "class_weights: an ordinal task is trained on the numbers"),
        (["1", "2"], {"positive": "2"}, "positive is for two labels; this task has labels in order"),
        (
            ["1", "2"],
            {"metrics": ["auroc"]},
            r"'auroc' is not a metric for labels in order \(ordinal\)\..* Allowed: accuracy",
        ),
        (["1", "1"], {}, "has only one label"),
        (["1", "3"], {"labels": ["1", "2"]}, "line 3: label '3' is not one of the task's"),
    ],
)
def test_what_has_no_order_is_refused(labels: list[str], settings: dict[str, object], message: str) -> None:
    with pytest.raises(GlueLitError, match=message):
        completed(*labels, kind="ordinal", **settings)


def test_settings_of_the_user_win_over_the_data() -> None:
    task = completed("1", "2", "3", kind="regression", metrics=["spearmanr"])
    assert (task.kind, task.labels, task.metrics) == ("regression", None, ["spearmanr"])
    task = completed("b", "a", labels=["b", "a", "c"], label_names=["B", "A", "C"], metrics=["macro_f1"])
    assert (task.labels, task.label_names, task.metrics) == (["b", "a", "c"], ["B", "A", "C"], ["macro_f1"])
    assert completed("1.5", "2", "1.5", kind="classification").labels == ["1.5", "2"]


def test_completing_twice_changes_nothing() -> None:
    task = completed("b", "a", "b", class_weights="balanced")
    assert complete_from_labels(task, column("b", "a", "b")) == task


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
    (["a", "a"], {}, DataError, "has only one label, 'a'"),
    ([f"id{n}" for n in range(50)], {}, DataError, "50 different labels in 50 rows ('id0', 'id1', 'id10' ...)"),
    (["a", "b"], {"kind": "regression"}, DataError, "line 2: 'a' is not a number"),
    (["1", "2_5"], {"kind": "regression"}, DataError, "line 3: '2_5' is not a number"),
    (["1", "inf"], {"kind": "regression"}, DataError, "line 3: 'inf' is not a number"),
    (["1", "2.5"], {"label_names": ["a", "b"]}, UsageError, "a regression task has no labels"),
    (["1", "2.5"], {"class_weights": "balanced"}, UsageError, "a regression task has no labels"),
    (
        ["a", "b"],
        {"labels": ["a", "B"]},
        DataError,
        "line 3: label 'b' is not one of the task's. Its labels are: a, B.",
    ),
    (["a", "b"], {"labels": ["a", "b", "a"]}, UsageError, "given twice"),
    (["a", "b"], {"label_names": ["x", "x"]}, UsageError, "given twice"),
    (["a", "b"], {"label_names": ["x"]}, UsageError, "1 names for 2 labels (a, b)"),
    (
        ["a", "b"],
        {"metrics": ["pearson"]},
        UsageError,
        "'pearson' is not a metric for 2 labels. Did you mean 'precision'? Allowed: accuracy, ",
    ),
    (
        ["a", "b", "c"],
        {"metrics": ["f1"]},
        UsageError,
        "not a metric for 3 labels, since it describes one. Allowed: macro_f1",
    ),
    (["1", "2.5"], {"metrics": ["accuracy"]}, UsageError, "not a metric for regression. Allowed: pearson, spearmanr"),
    (["a", "b"], {"positive": "c"}, UsageError, "data.custom.positive: 'c' is not a label. Allowed: a, b."),
    (
        ["a", "b", "c"],
        {"positive": "c"},
        UsageError,
        "data.custom.positive is for two labels; this task has 3 labels (a, b, c)",
    ),
    (["1", "2.5"], {"positive": "1"}, UsageError, "this task has a regression"),
    (["123", "2E65"], {}, DataError, "line 3: the label is '2E65', while 1 other rows have numbers"),
    (["1.5", "1e5"], {}, DataError, "say what they are: `--data.custom.kind classification`, or regression"),
    (["a", "b"], {"class_weights": [1.0]}, UsageError, "allowed: balanced, or 2 numbers from 0 up (a, b)"),
    (["a", "b"], {"class_weights": [1.0, -1.0]}, UsageError, "allowed: balanced"),
]


@pytest.mark.parametrize(("labels", "settings", "kind", "message"), WRONG)
def test_bad_input_is_one_message(
    labels: list[str], settings: dict[str, object], kind: type[GlueLitError], message: str
) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        completed(*labels, **settings)


def test_decimal_commas_where_no_comma_separates() -> None:
    rows = [f"{n // 10},{n % 10}" for n in range(50)]
    german = LabelColumn(rows, range(2, 52), "rows.csv, line {}".format, separator=";")
    task = complete_from_labels(CustomTask(text="text"), german)
    assert (task.kind, task.labels, task.decimal_comma) == ("regression", None, True)
    assert scores(german, decimal_comma=True) == [n / 10 for n in range(50)]
    with pytest.raises(DataError, match=r"50 different labels.*if numbers, `--data.custom.decimal_comma true`"):
        complete_from_labels(CustomTask(text="text"), column(*rows))
    assert complete_from_labels(CustomTask(text="text", kind="classification"), german).labels is not None
    with pytest.raises(DataError, match=r"the label is '3,5', while 1 other rows have numbers"):
        complete_from_labels(
            CustomTask(text="text"), LabelColumn(["3,5", "2.5"], [2, 3], "line {}".format, separator=";")
        )


def test_the_order_of_the_data_sets_own_classes() -> None:
    names = ("not_equivalent", "equivalent", "unsure")
    rows = LabelColumn(["equivalent", "not_equivalent"] * 5, range(10), "row {}".format, names)
    assert complete_from_labels(CustomTask(text="text"), rows).labels == ["not_equivalent", "equivalent"]
    task = complete_from_labels(CustomTask(text="text", labels=["equivalent", "not_equivalent"]), rows)
    assert (task.labels, task.positive) == (["equivalent", "not_equivalent"], "not_equivalent")


@pytest.mark.parametrize(
    ("settings", "positive"),
    [
        ({}, "b"),
        ({"positive": "a"}, "a"),
        ({"positive": " a "}, "a"),
        ({"positive": "ham", "label_names": ["ham", "spam"]}, "a"),
        ({"positive": "b", "label_names": ["b", "a"]}, "b"),  # labels are tried before names
        ({"labels": ["b", "a"]}, "a"),
    ],
)
def test_the_positive_label(settings: dict[str, object], positive: str) -> None:
    task = completed("a", "b", **settings)
    assert task.positive == positive
    assert resolve_task("mine", task).positive == (task.labels or []).index(positive)
    assert complete_from_labels(task, column("a", "b")) == check_and_complete(task) == task


def test_settings_of_an_older_run_keep_their_meaning() -> None:
    before = CustomTask(text="text", kind="classification", labels=["no", "yes"], metrics=["f1"])
    assert resolve_task("mine", before).positive_label == "yes"
    assert check_and_complete(before).positive == "yes"
    both = CustomTask(text="text", kind="classification", labels=["-0", "0", "1"], metrics=["accuracy"])
    assert check_and_complete(both).labels == ["-0", "0", "1"]
    assert classes(column("0", "-0", "1"), ["-0", "0", "1"]) == [1, 0, 2]
    forms = ["cafe\u0301", "caf\u00e9"]
    assert classes(column(*forms), forms) == [0, 1]
    assert classes(column(*forms), [forms[0], "tea"]) == [0, 0]
    assert check_and_complete(
        CustomTask(text="text", kind="classification", labels=[forms[0], "x"], metrics=["f1"])
    ).labels == [
        forms[0],
        "x",
    ]


def test_listed_labels_are_normalised_like_those_of_the_rows() -> None:
    task = completed("caf\u00e9", "-0", labels=["0.0", "cafe\u0301"])
    assert task.labels == ["0", "caf\u00e9"]


def test_hidden_labels_stay_hidden() -> None:
    assert classes(column("b", None, "a"), ["a", "b"]) == [1, None, 0]
    assert scores(column("1e2", None, "-3")) == [100.0, None, -3.0]
