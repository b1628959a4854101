"""The labels of multi-label tasks: from every form in which data write them, to batches."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Sequence, Value
from sklearn.preprocessing import MultiLabelBinarizer

from glue_lit.data.custom_task import complete_task, describe_task
from glue_lit.data.hub import HubTable
from glue_lit.data.label_arrays import LabelArrays
from glue_lit.data.label_tensors import dense_labels
from glue_lit.data.rows import Rows
from glue_lit.data.splits import TaskSplits
from glue_lit.errors import DataError, GlueLitError, UsageError
from glue_lit.tasks.custom import CustomTask

SETS: list[list[str]] = [
    ["toxic", "spam"],
    [],
    ["spam"],
    ["insult", "toxic", "spam"],
    ["toxic"],
    ["insult"],
    [],
    ["spam"],
]
LABELS = ["insult", "spam", "toxic"]
TEXTS = [f"text number {number}" for number in range(len(SETS))]
OWN = ["toxic", "spam", "insult"]  # the order of the columns


def write_jsonl(folder: Path, sets: list[Any] = SETS) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": f"text number {n}", "label": s}) + "\n" for n, s in enumerate(sets)))
    return path


def write_separated(folder: Path, separator: str = ";", sets: list[Any] = SETS) -> Path:
    path = folder / "rows.csv"
    joined = [separator.join(labels) if isinstance(labels, list) else labels for labels in sets]
    pandas.DataFrame({"text": [f"text number {n}" for n in range(len(sets))], "label": joined}).to_csv(
        path, index=False
    )
    return path


def write_columns(folder: Path) -> Path:
    path = folder / "columns.csv"
    columns = {label: [int(label in labels) for labels in SETS] for label in OWN}
    pandas.DataFrame({"text": TEXTS} | columns).to_csv(path, index=False)
    return path


def write_parquet(folder: Path) -> Path:
    path = folder / "rows.parquet"
    pandas.DataFrame({"text": TEXTS, "label": SETS}).to_parquet(path)
    return path


def write_booleans(folder: Path) -> Path:
    path = folder / "booleans.parquet"
    pandas.DataFrame({"text": TEXTS} | {name: [name in s for s in SETS] for name in OWN}).to_parquet(path)
    return path


def write_class_numbers(folder: Path) -> Path:
    """As data sets on the Hub have them: a list of numbers, and their names in the schema."""
    path = folder / "numbers.parquet"
    features = Features({"text": Value("string"), "label": Sequence(ClassLabel(names=OWN))})
    Dataset.from_dict({"text": TEXTS, "label": SETS}, features=features).to_parquet(path)
    return path


def completed(path: Path, **settings: Any) -> CustomTask:
    return complete_task("own", CustomTask(text="text", **settings), str(path))


def splits_of(path: Path, model: Path, cache: Path, **settings: Any) -> TaskSplits:
    custom = {"text": "text", "validation_fraction": 0.3} | settings
    return TaskSplits(
        {"task": "own", "tokenizer": str(model), "source": str(path), "custom": custom, "cache_dir": str(cache)}
    )


@pytest.mark.parametrize(
    ("write", "settings", "labels"),
    [
        (write_jsonl, {}, LABELS),
        (write_parquet, {}, LABELS),
        (write_class_numbers, {}, OWN),
        (write_separated, {"kind": "multi_label"}, LABELS),
        (write_columns, {"label": OWN}, OWN),
        (write_booleans, {"label": OWN}, OWN),
    ],
)
def test_every_form_gives_the_same_labels(
    tmp_path: Path, tiny_model: Path, write: Callable[[Path], Path], settings: dict[str, Any], labels: list[str]
) -> None:
    splits = splits_of(write(tmp_path), tiny_model, tmp_path / "cache", test_file=str(write(tmp_path)), **settings)
    assert (splits.task.kind, splits.custom.labels) == ("multi_label", labels)
    dataset = splits.dataset("test")
    expected = MultiLabelBinarizer(classes=splits.custom.labels).fit_transform(SETS)
    batch = dataset[list(range(len(SETS)))]
    assert batch["labels"].dtype == torch.float32
    np.testing.assert_array_equal(batch["labels"].numpy(), expected)
    jsonl = splits_of(write_jsonl(tmp_path), tiny_model, tmp_path / "cache", test_file=str(write_jsonl(tmp_path)))
    assert dataset.store.digest == jsonl.dataset("test").store.digest


def test_lists_of_class_numbers_of_a_data_set_are_read_by_their_names() -> None:
    features = Features({"text": Value("string"), "label": Sequence(ClassLabel(names=OWN))})
    table = HubTable(Dataset.from_dict({"text": TEXTS, "label": SETS}, features=features), "me/comments:train")
    table.list_columns = ("label",)
    assert [value for _, (value,) in table.rows(["label"])] == [tuple(labels) for labels in SETS]


def test_fillers_and_rows_that_are_unlabelled_are_all_minus_one(tmp_path: Path, tiny_model: Path) -> None:
    test = write_jsonl(tmp_path, [["spam"], None, []])
    train = write_parquet(tmp_path)
    dataset = splits_of(train, tiny_model, tmp_path / "cache", test_file=str(test)).dataset("test")
    assert dataset.store.labelled.tolist() == [True, False, True]
    batch = dataset[[0, 1, 2, -1]]
    assert batch["labels"].tolist() == [[0, 1, 0], [-1, -1, -1], [0, 0, 0], [-1, -1, -1]]
    assert batch["idx"].tolist() == [0, 1, 2, -1]


@pytest.mark.parametrize("separator", [";", "|", ",", "/"])
def test_the_separator_is_read_from_the_data_and_said(tmp_path: Path, separator: str) -> None:
    given = {"label_separator": "/"} if separator == "/" else {}
    path = write_separated(tmp_path, separator)
    custom = completed(path, kind="multi_label", **given)
    assert (custom.labels, custom.label_separator) == (LABELS, separator)
    assert f"Labels are separated by {separator!r} (data.custom.label_separator)" in list(
        describe_task(custom, str(path))
    )


def test_other_separators_belong_to_the_names(tmp_path: Path) -> None:
    path = write_separated(tmp_path, "; ", [["Oil, gas", "Coal"], ["Coal"], ["Oil, gas"], []])
    custom = completed(path, kind="multi_label")
    assert custom.labels == ["Coal", "Oil, gas"]
    assert any("and , belongs to their names" in line for line in describe_task(custom, str(path)))


def test_a_separator_at_the_end_is_no_label(tmp_path: Path) -> None:
    assert completed(write_separated(tmp_path, sets=["a;b;", "a;", "b", ""]), kind="multi_label").labels == ["a", "b"]


def test_one_column_of_texts_is_never_taken_for_several_labels(tmp_path: Path) -> None:
    assert completed(write_separated(tmp_path, sets=["a;b", "a", "a;b", "a"])).kind == "classification"


@pytest.mark.parametrize(
    ("sets", "settings", "message"),
    [
        ([["a"], ["a", "a"], ["b"]], {}, r"rows.jsonl, line 2: label 'a' is given twice. Keep one."),
        ([["a"], ["b", ""]], {}, r"rows.jsonl, line 2: there is an empty label in \('b', ''\)"),
        ([["a"], ["b", None]], {}, r"rows.jsonl, line 2: there is an empty label"),
        ([["a"], ["b", ["c"]]], {}, r"rows.jsonl, line 2: column 'label' holds a list"),
        ([["a"], [{"name": "b"}]], {}, r"rows.jsonl, line 2: column 'label' holds a dict"),
        ([["a"], None, ["b"]], {}, r"rows.jsonl, line 2: no value in label, so its labels are not known. Write \[\]"),
        ([["a"], ["b"]], {"labels": ["a", "c"]}, r"line 2: label 'b' is not one of the task's.* Its labels are: a, c."),
        ([["a"], ["a"]], {}, r"only one label, 'a', and a multi-label task needs two"),
        ([[], []], {}, r"no row has a label in label"),
        ([["a"], ["b"]], {"kind": "classification"}, r"line 1: column 'label' holds a list.*kind multi_label"),
        ([["a"], ["b"]], {"positive": "a"}, r"data.custom.positive is for two labels; this task has any number"),
        ([["a"], ["b"]], {"class_weights": [1.0]}, r"class_weights: got \[1.0\], allowed: balanced, or 2 numbers"),
    ],
)
def test_wrong_lists_are_refused(tmp_path: Path, sets: list[Any], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(GlueLitError, match=message):
        completed(write_jsonl(tmp_path, sets), **settings)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["a;b", "a;a"], r"rows.csv, line 3: label 'a' is given twice"),
        (["a;b", "a;;b"], r"rows.csv, line 3: there is an empty label in 'a;;b'. Take it out."),
        (["a;b", "['a', 'b']"], r"rows.csv, line 3: \"\['a', 'b'\]\" is a list written as text.*JSONL"),
    ],
)
def test_wrong_texts_are_refused(tmp_path: Path, sets: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        completed(write_separated(tmp_path, sets=sets), kind="multi_label")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("2", r"rows.csv, line 3: column 'b' is '2'. Allowed in the column of a label: 0, 1, false, true."),
        ("", r"rows.csv, line 3: column 'b' is 'empty'"),
        ("yes", r"rows.csv, line 3: column 'b' is 'yes'"),
    ],
)
def test_wrong_columns_are_refused(tmp_path: Path, value: str, message: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"text,a,b\none,0,1\ntwo,1,{value}\n")
    with pytest.raises(DataError, match=message):
        completed(path, label=["a", "b"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label": ["a", "b"], "kind": "classification"}, "allowed with data.custom.kind classification: one column"),
        (
            {"label": ["a", "b"], "labels": ["b", "a"]},
            "data.custom.labels: the labels are the columns a, b. Leave it out",
        ),
        ({"label": ["a", "text"]}, "Allowed: text columns, and a different label column"),
        ({"label": ["a", "c"]}, "there is no column 'c'"),
        ({"label": "a", "label_separator": ";"}, "label_separator: it separates the labels of one column"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,a,b\none,0,1\ntwo,1,0\n")
    with pytest.raises((UsageError, DataError), match=message):
        completed(path, **settings)


def test_a_test_file_without_any_label_is_not_scored(tmp_path: Path, tiny_model: Path) -> None:
    train = write_separated(tmp_path)
    for name, text in (("empty.csv", "text,label\none,\ntwo,\n"), ("none.csv", "text\none\ntwo\n")):
        (tmp_path / name).write_text(text)
        splits = splits_of(train, tiny_model, tmp_path / name[:-4], kind="multi_label", test_file=str(tmp_path / name))
        assert not splits.dataset("test").store.labelled.any()
        assert (splits.dataset("test")[[0, 1]]["labels"] == -1).all()


def test_balanced_weights_are_the_rows_without_a_label_over_those_with_it(tmp_path: Path) -> None:
    custom = completed(write_jsonl(tmp_path), class_weights="balanced")
    counts = {label: sum(label in labels for labels in SETS) for label in LABELS}
    assert custom.class_weights == [
        pytest.approx((len(SETS) - counts[label]) / counts[label], abs=1e-6) for label in LABELS
    ]
    of_all = completed(write_jsonl(tmp_path, [["a"], ["a", "b"], ["a"]]), class_weights="balanced")
    assert of_all.class_weights == [1.0, 2.0]


def test_held_out_rows_keep_the_labels_shares_and_both_orders_double_the_sets(tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "rows.jsonl"
    sets = [["a"] if n % 3 else ["a", "b"] if n % 2 else [] for n in range(60)]
    path.write_text(
        "".join(json.dumps({"one": f"a {n}", "two": f"b {n}", "label": s}) + "\n" for n, s in enumerate(sets))
    )
    settings = {
        "task": "own", "tokenizer": str(tiny_model), "source": str(path), "cache_dir": str(tmp_path / "cache"),
        "custom": {"text": ["one", "two"], "label": "label", "validation_fraction": 0.2}, "both_orders": True,
    }  # fmt: skip
    splits = TaskSplits(settings)
    train, validation = splits.dataset("train"), splits.dataset("validation")
    assert (len(train), len(validation)) == (96, 12)
    found = validation[list(range(12))]["labels"].sum(dim=0).tolist()
    assert found == [sum("a" in s for s in sets) / 5, sum("b" in s for s in sets) / 5]
    both = train[list(range(96))]["labels"]
    torch.testing.assert_close(both[:48], both[48:])


def test_findings_name_rows_without_labels_rare_labels_and_contradictions(tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [("one", ["a", "b"]), ("one", ["a"]), ("two", []), ("two", []), ("three", ["b", "rare"]), ("four", ["a"])]
    path.write_text("".join(json.dumps({"text": text, "label": labels}) + "\n" for text, labels in rows))
    splits = splits_of(path, tiny_model, tmp_path / "cache", validation_file=str(path))
    splits.load("fit")
    found = {finding.what: (finding.count, finding.example) for finding in splits.findings("fit")}
    assert found["training rows without any label"] == ("2 of 6 rows (33%)", "rows.jsonl, line 3")
    assert found["labels with one training row"] == ("1 of 3 labels", "'rare' (rows.jsonl, line 5)")
    assert found["equal texts, different labels"] == (
        "1 text, 2 rows", "rows.jsonl, line 1: 'a', 'b', line 2: 'a'"
    )  # fmt: skip


def test_the_hash_of_the_rows_depends_on_the_labels_alone() -> None:
    texts = ["one", "two", "three"]
    rows = Rows(texts, None, [(0, 2), (), None])
    assert rows.digest(["a", "b", "c"]) == Rows(texts, None, [(1, 2), (), None]).digest(["b", "a", "c"])
    assert rows.digest(["a", "b", "c"]) != Rows(texts, None, [(0, 1), (), None]).digest(["a", "b", "c"])
    assert rows.digest(["a", "b", "c"]) != Rows(texts, None, [(0, 2), (), ()]).digest(["a", "b", "c"])
    assert rows.digest(["a", "b", "c"]) != Rows(texts, None, [(0,), (2,), None]).digest(["a", "b", "c"])


def test_memory_grows_with_the_labels_that_rows_have() -> None:
    """10,000 labels and 20,000 rows with two labels each: 0.6 MB, where a matrix would take 800."""
    rows, labels = 20_000, 10_000
    sets = [tuple(sorted({number % labels, number * 7 % labels})) for number in range(rows)]
    tracemalloc.start()
    arrays = LabelArrays(is_regression=False)
    for start in range(0, rows, 1000):
        arrays.add(sets[start : start + 1000])
    found = {name: torch.from_numpy(array) for name, array in arrays.arrays().items()}
    dense = dense_labels(
        torch.tensor([5, 19_999]), found["labels"][[5, 19_999]], found["label_indices"], found["label_offsets"], labels
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
    assert sum(tensor.numel() * tensor.element_size() for tensor in found.values()) <= rows * (2 * 4 + 8 + 8) + 8
    assert [tuple(row.nonzero().flatten().tolist()) for row in dense] == [sets[5], sets[19_999]]
