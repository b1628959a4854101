"""Rows: the same hash from every source, and the place of each row in the user's file."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pytest

from glue_lit.data.custom_task import complete_task
from glue_lit.data.hub import commit_of
from glue_lit.data.rows import Rows, Split
from glue_lit.data.sources import open_split
from glue_lit.tasks.custom import CustomTask, resolve_task

NAMES = ("bad", "good")
PAIRS = Rows(["a", "b b", "ç"], ["c", "d", ""], [0, 1, None])
COMMIT = "0123456789abcdef0123456789abcdef01234567"

# A spreadsheet's CSV: a text over three lines, an empty line, quotes, a missing id and a repeated one.
REVIEWS = '''id,review,stars
r1,fine,good
r2,"a text
over three
lines",bad

r3,plain,good
r3,"a ""quote""",bad
,no id,good
r6,fair,bad
r7,short,good
r8,dull,bad
r9,nice,good
r10,long,bad
'''
LINES = {"r1": 2, "r2": 3, "r6": 10, "r7": 11, "r8": 12, "r9": 13, "r10": 14}


def opened(source: Path | str, split: str, **settings: Any) -> Split:
    own = CustomTask(**{"text": "review", "label": "stars", "validation_fraction": 0.3} | settings)
    custom = complete_task("reviews", own, str(source))
    return open_split(resolve_task("reviews", custom), str(source), split, custom)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_rows_of_a_held_out_split_have_their_lines_and_ids(split: str, tmp_path: Path) -> None:
    source = tmp_path / "reviews.csv"
    source.write_text(REVIEWS, encoding="utf-8")
    found = opened(source, split, id="id")
    rows = found.read()
    assert rows.numbers is not None
    assert rows.ids is not None
    lines = REVIEWS.split("\n")
    for text, name, number in zip(rows.texts_a, rows.ids, rows.numbers.tolist(), strict=True):
        first = text.split("\n")[0].replace('"', '""')
        assert lines[number - 1].startswith((f"{name},{first}", f'{name},"{first}'))
        assert LINES.get(name, number) == number
    places = found.places(rows, [len(rows) - 1])
    assert str(places) == f"line {rows.numbers[-1]} of {source} (ids {rows.ids[-1] or '-'})"
    assert found.place(rows, 0) == f"{source}, line {rows.numbers[0]}"


@pytest.mark.parametrize(("suffix", "first", "unit"), [("csv", 2, "line"), ("jsonl", 1, "line"), ("parquet", 1, "row")])
def test_rows_are_numbered_as_messages_number_them(suffix: str, first: int, unit: str, tmp_path: Path) -> None:
    frame = pandas.DataFrame({"review": [f"text {n}" for n in range(8)], "stars": [*NAMES] * 4, "id": [1, None] * 4})
    source = tmp_path / f"train.{suffix}"
    if suffix == "csv":
        frame.to_csv(source, index=False)
    elif suffix == "jsonl":
        frame.to_json(source, orient="records", lines=True)
    else:
        frame.to_parquet(source)
    split = opened(tmp_path, "train", validation_file=str(source), id="id")
    rows = split.read()
    assert split.unit == unit
    assert np.array_equal(rows.numbers, range(first, first + 8))  # type: ignore[arg-type]
    written = "1.0" if suffix == "csv" else "1"  # pandas turns a column with gaps into floats
    assert rows.ids == [written, ""] * 4
    assert opened(tmp_path, "train", validation_file=str(source)).read().ids is None


def test_the_same_rows_have_the_same_hash_in_every_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pandas.DataFrame(
        {"review": ["x", "y", "z", "ü"], "stars": ["good", "bad", "good", "bad"], "more": range(4)}
    )
    folders = {}
    for suffix in ("csv", "parquet"):
        folder = folders[suffix] = tmp_path / suffix
        folder.mkdir()
        for split in ("train", "dev"):
            to = folder / f"{split}.{suffix}"
            frame.to_csv(to, index=False, lineterminator="\r\n") if suffix == "csv" else frame.to_parquet(to)
    data = datasets.Dataset.from_pandas(frame).cast_column("stars", datasets.ClassLabel(names=["good", "bad"]))
    data.info.download_checksums = {f"hf://datasets/somebody/reviews@{COMMIT}/train.parquet": {}}
    both = datasets.DatasetDict({"train": data, "validation": data})
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: both)
    found = [opened(source, "train") for source in (folders["csv"], folders["parquet"], "somebody/reviews")]
    turned = opened(folders["csv"], "train", labels=["good", "bad"])  # the order of the outputs does not matter
    assert {split.read().digest(split.labels) for split in (*found, turned)} == {
        found[0].read().digest(found[0].labels)
    }
    assert [split.commit for split in found] == [None, None, COMMIT]
    assert len({split.fingerprint for split in found}) == 3


@pytest.mark.parametrize(
    "other",
    [
        Rows(["b b", "a", "ç"], ["d", "c", ""], [1, 0, None]),  # another order
        Rows(["a", "b b", "ç"], ["c", "", "d"], [0, 1, None]),
        Rows(["ab", " b", "ç"], ["c", "d", ""], [0, 1, None]),  # the same characters in other texts
        Rows(["a", "b b", "ç"], ["c", "d", ""], [0, 0, None]),
        Rows(["a", "b b", "ç"], ["c", "d", ""], [0, 1, 0]),
        Rows(["c", "d", ""], ["a", "b b", "ç"], [0, 1, None]),
        Rows(["a", "b b", "ç"], None, [0, 1, None]),
    ],
)
def test_other_rows_have_another_hash(other: Rows) -> None:
    assert other.digest(NAMES) != PAIRS.digest(NAMES)


def test_labels_are_hashed_by_name_and_scores_as_float32() -> None:
    swapped = Rows(PAIRS.texts_a, PAIRS.texts_b, [1, 0, None])
    assert swapped.digest(("good", "bad")) == PAIRS.digest(NAMES) != swapped.digest(NAMES)
    assert PAIRS.digest((*NAMES, "never")) == PAIRS.digest(NAMES)  # a label that no row has
    scores = [Rows(["a", "b"], None, [value, None]) for value in (3.8, float(np.float32(3.8)), 3.9)]
    first, rounded, other = (rows.digest() for rows in scores)
    assert first == rounded != other
    assert Rows(["\ud800"], None, [0]).digest(NAMES)  # half a character, which Python has and UTF-8 does not


def test_the_commit_of_a_data_set(tmp_path: Path) -> None:
    class Data:
        def __init__(self, checksums: Any, *files: str) -> None:
            self.info = datasets.DatasetInfo(download_checksums=checksums)
            self.cache_files = [{"filename": file} for file in files]

    assert commit_of(Data({f"hf://datasets/nyu-mll/glue@{COMMIT}/cola/train.parquet": {}})) == COMMIT
    assert commit_of(Data(None, f"/cache/nyu-mll___glue/cola/0.0.0/{COMMIT}/glue-train.arrow")) == COMMIT
    assert commit_of(Data(None, "/cache/csv/default-1a2b/0.0.0/data.arrow")) is None
    assert commit_of(datasets.Dataset.from_dict({"a": [1]})) is None
