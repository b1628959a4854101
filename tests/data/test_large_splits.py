"""A split of more rows than are read at once: the tokens, labels, places, findings and errors of all rows together."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow
import pytest
import torch

from glue_lit.data import (
    custom_split,
    custom_task,
    file_digest,
    finding,
    label_column,
    large_arrays,
    row_digest,
    row_texts,
    stage_findings,
    tables,
)
from glue_lit.data.label_column import LabelColumn
from glue_lit.data.row_texts import PickedTexts
from glue_lit.data.rows import Rows
from glue_lit.data.splits import TaskSplits
from glue_lit.data.tables import open_table
from glue_lit.data.tokens import TokenStore
from glue_lit.errors import DataError
from glue_lit.tasks.custom import CustomTask

ROWS = 60
STORED = ("input_ids", "offsets", "labels", "token_type_ids", "numbers", "hashes", "cut", "used")


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let a part have seven rows, an array in memory fifty bytes, and a sort eleven rows."""

    def change() -> None:
        monkeypatch.setattr(custom_split, "_PART", 7)
        monkeypatch.setattr(custom_split, "_CHARACTERS", 300)
        monkeypatch.setattr(large_arrays, "_HELD", 50)
        monkeypatch.setattr(finding, "_SORTED", 11)

    return change


def frame() -> pandas.DataFrame:
    draw = random.Random(1)
    texts = ["".join(draw.choices("abcdé ", k=draw.randint(1, 90))) + str(row) for row in range(ROWS)]
    texts[40] = texts[3]  # with another label, and another second text
    return pandas.DataFrame(
        {
            "a": texts,
            "b": texts[::-1],
            "label": ["no", "yes", "yes"] * 20,
            "score": [f"{row / 7:.9f}" for row in range(ROWS)],
        }
    )


def write(suffix: str, folder: Path) -> Path:
    path = folder / f"rows.{suffix}"
    if suffix == "parquet":
        frame().to_parquet(path)
    elif suffix == "jsonl":
        frame().to_json(path, orient="records", lines=True)
    else:
        frame().to_csv(path, index=False)
    return path


def splits(source: Path, model: Path, cache: Path, **settings: Any) -> TaskSplits:
    custom = CustomTask(**{"text": "a", "label": "label", "validation_fraction": 0.2} | settings)
    return TaskSplits(
        {
            "task": "own",
            "source": str(source),
            "tokenizer": str(model),
            "cache_dir": str(cache),
            "custom": custom,
            "max_length": 40,
        }
    )


def same(one: TokenStore, other: TokenStore) -> bool:
    def equal(first: Any, second: Any) -> bool:
        return first is second is None or (first.dtype == second.dtype and torch.equal(first, second))

    return one.digest == other.digest and all(equal(getattr(one, name), getattr(other, name)) for name in STORED)


@pytest.mark.parametrize(
    ("suffix", "settings"),
    [("csv", {}), ("jsonl", {"text": ["a", "b"]}), ("parquet", {"label": "score", "text": ["a", "b"], "kind": "regression"})],
)  # fmt: skip
def test_parts_give_the_store_of_the_whole(
    suffix: str, settings: dict[str, Any], tmp_path: Path, tiny_model: Path, small_parts: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    source = write(suffix, tmp_path)
    whole = splits(source, tiny_model, tmp_path / "whole", **settings)
    names, found = ("train", "validation"), whole.findings("fit")
    expected = [whole.dataset(name).store for name in names]
    read = [whole.split(name).read() for name in names]
    assert len(expected[0]) + len(expected[1]) == ROWS
    assert expected[0].cut is not None
    assert len(expected[0].cut)
    small_parts()
    custom_split._chosen.clear()
    parts = splits(source, tiny_model, tmp_path / "parts", **settings)
    assert max(map(len, parts.split("train").parts())) <= 7
    assert [parts.split(name).read() for name in names] == read
    for _ in range(2):  # tokenised, then from the cache
        assert all(same(parts.dataset(name).store, store) for name, store in zip(names, expected, strict=True))
        assert parts.findings("fit") == found
        parts = splits(source, tiny_model, tmp_path / "parts", **settings)
    monkeypatch.setattr(large_arrays.tempfile, "TemporaryFile", full_disk)
    unwritten = splits(source, tiny_model, tmp_path / "full", **settings)
    assert all(same(unwritten.dataset(name).store, store) for name, store in zip(names, expected, strict=True))


def test_texts_and_findings_of_many_rows_are_kept(
    tmp_path: Path, tiny_model: Path, small_parts: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second start reads neither rows nor ids, and what it shows is the same."""
    rows = frame().assign(id=[f"é{row}" for row in range(ROWS)])
    rows.loc[[9, 30], "id"] = ["", "é17"]
    rows.to_csv(source := tmp_path / "rows.csv", index=False)
    task = {"text": ["a", "b"], "id": "id", "validation_file": str(source)}
    whole = splits(source, tiny_model, tmp_path / "whole", **task)
    expected, texts = whole.findings("fit"), whole.row_texts("validation")
    assert texts is not None
    shown = [(texts.texts_at(row), (texts.ids or ())[row]) for row in range(ROWS)]
    assert shown == list(zip(zip(rows["a"], rows["b"], strict=True), rows["id"], strict=True))
    assert [one.count for one in expected if one.what.endswith(" id")] == ["1 row"] * 4
    assert [one.example for one in expected if "another row's id" in one.what] == [
        "rows.csv, line 32: 'é17', as in line 19"
    ] * 2
    small_parts()
    for module in (row_texts, stage_findings):
        monkeypatch.setattr(module, "MANY_ROWS", ROWS)
    for start in range(2):
        again = splits(source, tiny_model, tmp_path / "parts", **task)
        if start:
            monkeypatch.setattr(custom_split, "_read_parts", lambda *_, **__: pytest.fail("read again"))
        assert again.findings("fit") == expected
        found = again.row_texts("validation")
        assert found is not None
        assert [(found.texts_at(row), (found.ids or ())[row]) for row in range(ROWS)] == shown
        assert PickedTexts(found, np.array([40, 3]))[:] == [shown[40][0], shown[3][0]]
        places = again.places("validation", [2, 5])
        assert places is not None
        assert places.ids == ["é2", "é5"]
    for path in (tmp_path / "parts").iterdir():
        path.write_bytes(path.read_bytes()[:100])  # damaged files are made anew
    monkeypatch.undo()
    again = splits(source, tiny_model, tmp_path / "parts", **task)
    assert again.findings("fit") == expected
    assert again.row_texts("validation") is not None
    with source.open("a") as file:
        file.write("text,text,yes,0.5,new\n")
    assert again.row_texts("validation") is None
    changed = splits(source, tiny_model, tmp_path / "parts", **task)
    assert next(one for one in changed.findings("fit") if "also" in one.what).count == "61 of 61 rows (100%)"


def test_a_file_of_which_rows_are_held_out_is_read_once_for_all_splits(
    tmp_path: Path, tiny_model: Path, small_parts: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the tokens of both splits, what is found in them, and the texts that are shown; labels are read before."""
    source, names = write("csv", tmp_path), ("train", "validation")
    expected = splits(source, tiny_model, tmp_path / "whole")
    stores, found = [expected.dataset(name).store for name in names], expected.findings("fit")
    shown = expected.split("validation").read().texts_a
    small_parts()
    monkeypatch.setattr(row_texts, "MANY_ROWS", 5)
    read, begun = custom_split._read_parts, []
    monkeypatch.setattr(custom_split, "_read_parts", lambda *a, **k: begun.append(a) or read(*a, **k))
    once = splits(source, tiny_model, tmp_path / "once")
    assert once.findings("fit") == found
    assert all(same(once.dataset(name).store, store) for name, store in zip(names, stores, strict=True))
    texts = once.row_texts("validation")
    assert texts is not None
    assert [texts.texts_at(row)[0] for row in range(len(texts))] == shown
    again = [store for store in stores if store.cut is not None and len(store.cut)]  # whose cut tokens are counted
    assert len(begun) == 1 + len(again)
    for name in names:  # what a start needs to know of all rows
        store = splits(source, tiny_model, tmp_path / "once").dataset(name).store
        assert store.is_labelled
        assert [found.tolist() for found in store.vocabulary() if found is not None] == [
            store.input_ids.unique().tolist(), [0],
        ]  # fmt: skip


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("row", "column", "value", "message"),
    [
        (50, "a", "", r"line 52: column 'a' is empty"),
        (50, "label", "", r"line 52: no label in column 'label', as in 2 training row\(s\)"),
        (50, "label", "maybe", r"line 52: label 'maybe' is not one of the task's"),
    ],
)  # fmt: skip
def test_a_bad_row_of_a_later_part_is_named(
    row: int, column: str, value: str, message: str, tmp_path: Path, tiny_model: Path, small_parts: Callable[[], None]
) -> None:
    rows = frame()
    rows.loc[row, column] = value
    if not value:
        rows.loc[57, column] = value
    rows.to_csv(tmp_path / "rows.csv", index=False)
    small_parts()
    with pytest.raises(DataError, match=rf"rows.csv, {message}"):
        splits(
            tmp_path / "rows.csv",
            tiny_model,
            tmp_path,
            labels=["no", "yes"],
            metrics=["accuracy"],
            kind="classification",
        ).dataset("train")


def test_scores_are_not_kept_to_complete_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_column, "_MOST_DIFFERENT", 5)
    source = write("csv", tmp_path)
    column = LabelColumn.of_table(open_table(source), "score", has_scores=True)
    assert column.labels == ["0", "0.142857143", "0.285714286", "0.428571429", "0.571428571", *"12345678"]
    assert column.count().total() == ROWS
    classes = LabelColumn.of_table(open_table(source), "score", has_scores=False)
    assert len(classes.labels) == ROWS
    with source.open("a") as file:
        file.write("text,text,yes,high\n")
    mixed = LabelColumn.of_table(open_table(source), "score", has_scores=True)
    assert (mixed.labels[-1], mixed.place(len(mixed.labels) - 1)) == ("high", f"{source}, line {ROWS + 2}")


def test_a_hash_does_not_depend_on_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_digest, "_CHUNK", 10)
    rows = Rows([f"{n}é" for n in range(45)], [str(n) for n in range(45)], [n % 3 or None for n in range(45)])
    digest = row_digest.RowDigest()
    for start, end in ((0, 1), (1, 14), (14, 20), (20, 45)):
        part = rows.where((np.arange(45) >= start) & (np.arange(45) < end))
        digest.add(part.texts_a, part.texts_b, part.labels)
    assert digest.hexdigest(("a", "b", "c")) == rows.digest(("a", "b", "c"))
    assert digest.hexdigest() == rows.digest()
    # as in runs of earlier versions, which hashed all rows at once
    assert Rows(["a", "ç"], ["b", ""], [1, None]).digest(("x", "y")) == DIGEST


DIGEST = "f716a0461bfb8c29c5b5238c4109f53de7b2dcd249b38898cf62b0f243a9c931"


def test_the_task_of_a_large_table_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(custom_task, "_MANY", ROWS)
    monkeypatch.setattr(file_digest, "_SETTLED", 0)
    source, cache = write("csv", tmp_path), tmp_path / "cache"
    custom = CustomTask(text="a", class_weights="balanced")
    first = custom_task.complete_task("own", custom, str(source), cache)
    (kept,) = cache.iterdir()
    monkeypatch.setattr(LabelColumn, "of_table", lambda *_, **__: pytest.fail("read again"))
    assert custom_task.complete_task("own", custom, str(source), cache) == first
    monkeypatch.undo()
    kept.write_text("{}")
    assert custom_task.complete_task("own", custom, str(source), cache) == first
    frame()[1:].to_csv(source, index=False)  # fewer rows than are worth a file
    assert custom_task.complete_task("own", custom, str(source), cache) != first
    assert [*cache.iterdir()] == [kept]


def test_a_large_array_is_mapped_with_its_last_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was copied into memory as a whole, to be joined with them."""
    monkeypatch.setattr(large_arrays, "_HELD", 50)
    grown = large_arrays.GrowingArray("int64", tmp_path)
    for part in ([*range(10)], [10, 11], [*range(12, 20)], [20]):
        grown.append(part)
        assert grown.array().tolist() == [*range(part[-1] + 1)]
    assert not grown.array().flags.owndata
    assert not [*tmp_path.iterdir()]


def test_row_groups_that_have_been_read_leave_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that pyarrow holds while it reads a file of 8 MB; it held all of them at the end."""
    monkeypatch.setattr(tables, "_BATCH", 200)
    texts = [random.Random(row).randbytes(500).hex() for row in range(8000)]
    pandas.DataFrame({"a": texts}).to_parquet(path := tmp_path / "rows.parquet", row_group_size=200)
    held, before = [], pyarrow.total_allocated_bytes()
    for number, _ in open_table(path).rows(["a"]):
        held += [pyarrow.total_allocated_bytes() - before] if number % 500 == 0 else []
    assert len(held) == 16
    assert max(held) < 3_000_000
