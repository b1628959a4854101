import csv
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from glue_lit.data.sources import open_split
from glue_lit.errors import DataError
from glue_lit.evaluation.predictions import Predictions
from glue_lit.evaluation.report.texts import read_texts
from glue_lit.tasks.custom import CustomTask, resolve_task
from glue_lit.tasks.glue import get_task


def predicted(labels: list[object], picked: list[int]) -> Predictions:
    gold = np.array([labels[row] for row in picked])
    return Predictions(np.array(picked), gold, gold, None)


def test_texts_and_genres_belong_to_the_predicted_rows() -> None:
    task = get_task("mnli")
    rows = open_split(task, "demo", "validation_matched").read()
    place = task, partial(open_split, task, "demo", "validation_matched")
    found = read_texts(*place, predicted(rows.labels, [3, 7]), None, ["pairID"])
    assert rows.texts_b is not None
    assert found.texts == [(rows.texts_a[row], rows.texts_b[row]) for row in (3, 7)]
    assert set(found.columns) == {"genre", "pairID"}
    pairs = open_split(task, "demo", "validation_matched").columns(["pairID"])["pairID"]
    assert found.columns["pairID"] == [pairs[row] for row in (3, 7)]
    assert found.problem is None


def test_ax_has_categories_where_its_file_has_them(tmp_path: Path) -> None:
    (tmp_path / "AX").mkdir()
    header = "index\tsentence1\tsentence2\tlabel\tLogic\tDomain"
    rows = ["0\tA cat.\tNo cat.\tcontradiction\tNegation;Quantifiers\tNews", "1\tA dog.\tA pet.\tentailment\t\tNews"]
    (tmp_path / "AX" / "AX.tsv").write_text("\n".join([header, *rows]) + "\n")
    place = get_task("ax"), partial(open_split, get_task("ax"), str(tmp_path), "test")
    found = read_texts(*place, predicted([2, 0], [0, 1]), None)
    assert found.columns == {"Logic": ["Negation;Quantifiers", ""], "Domain": ["News", "News"]}


def test_changed_data_give_no_texts() -> None:
    task = get_task("rte")
    rows = open_split(task, "demo", "validation").read()
    place = task, partial(open_split, task, "demo", "validation")
    other = [1 - int(label or 0) for label in rows.labels]
    for found in (
        read_texts(*place, predicted(other, [0, 1]), None),
        read_texts(*place, predicted([*rows.labels, 0], [0, len(rows)]), None),
        read_texts(*place, predicted(rows.labels, [0, 1]), {"fingerprint": "of other rows"}),
    ):
        assert not found.texts
        assert found.problem == "The data have changed since the predictions were made, so their texts are not shown."


def test_the_hash_of_the_rows_shows_whether_they_changed() -> None:
    task = get_task("rte")
    split = open_split(task, "demo", "validation")
    rows = split.read()
    record = {"fingerprint": "of a file with another README", "hash": rows.digest(split.labels)}
    place = task, partial(open_split, task, "demo", "validation")
    assert read_texts(*place, predicted(rows.labels, [0, 1]), record).texts
    assert not read_texts(*place, predicted(rows.labels, [0, 1]), record | {"hash": "another"}).texts


def test_missing_data_give_no_texts() -> None:
    task = get_task("rte")
    found = read_texts(task, partial(open_split, task, "nowhere", "validation"), predicted([0], [0]), None)
    assert not found.texts
    assert "there is no file or folder 'nowhere'" in str(found.problem)


def test_a_missing_column_is_reported() -> None:
    rows = open_split(get_task("mnli"), "demo", "validation_matched").read()
    place = get_task("mnli"), partial(open_split, get_task("mnli"), "demo", "validation_matched")
    with pytest.raises(DataError, match=r"there is no column 'Genre'\. Did you mean 'genre'\?"):
        read_texts(*place, predicted(rows.labels, [0]), None, ["Genre"])
    rows = open_split(get_task("cola"), "demo", "validation").read()  # whose files have no header
    place = get_task("cola"), partial(open_split, get_task("cola"), "demo", "validation")
    with pytest.raises(DataError, match="there are no columns with names beside texts and labels"):
        read_texts(*place, predicted(rows.labels, [0]), None, ["source"])


def test_columns_of_own_data_follow_the_held_out_rows(tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["review", "sentiment", "city"])
        writer.writerows([f"text {row}", "good" if row % 2 else "bad", f"city {row}"] for row in range(40))
    custom = CustomTask(
        text="review", label="sentiment", kind="classification", labels=["bad", "good"], metrics=["accuracy"]
    )
    task = resolve_task("reviews", custom)
    rows = open_split(task, str(path), "validation", custom).read()
    place = task, partial(open_split, task, str(path), "validation", custom)
    found = read_texts(*place, predicted(rows.labels, [*range(len(rows))]), None, ["city"])
    assert len(rows) == 4
    assert [text.replace("text", "city") for (text,) in found.texts] == found.columns["city"]
    with pytest.raises(DataError, match="there is no column 'town'"):
        read_texts(*place, predicted(rows.labels, [0]), None, ["town"])
