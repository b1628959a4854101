import hashlib
import json
import random
import re
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pytest

from glue_lit.data import large_arrays
from glue_lit.data.custom_split import choose_held_out
from glue_lit.data.custom_task import complete_task, describe_task
from glue_lit.data.rows import Rows
from glue_lit.data.sources import open_split, open_tables
from glue_lit.errors import DataError, GlueLitError, UsageError
from glue_lit.tasks.custom import CustomTask, resolve_task

SETTINGS = CustomTask(text="review", label="stars")
FRAME = pandas.DataFrame(
    {"id": range(40), "review": [f"text, number {n}" for n in range(40)], "stars": ["bad", "good", "bad", "fine"] * 10}
)


def write(frame: pandas.DataFrame, path: Path) -> Path:
    if path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, sep="\t" if path.suffix == ".tsv" else ",", index=False)
    return path


def rows_of(source: Path | str, split: str, custom: CustomTask = SETTINGS, name: str = "reviews") -> Rows:
    custom = complete_task(name, custom, str(source))
    return open_split(resolve_task(name, custom), str(source), split, custom).read()


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_gives_the_same_rows(tmp_path: Path, suffix: str) -> None:
    source = write(FRAME, tmp_path / f"reviews.{suffix}")
    train, validation = rows_of(source, "train"), rows_of(source, "validation")
    assert sorted([*train.texts_a, *validation.texts_a]) == sorted(FRAME.review)
    assert len(validation) == 4
    labels = ["bad", "fine", "good"]
    for rows in (train, validation):
        gold = dict(zip(FRAME.review, FRAME.stars, strict=True))
        assert [labels[int(label)] for label in rows.labels if label is not None] == [gold[t] for t in rows.texts_a]
    assert train.texts_b is None
    assert rows_of(write(FRAME, tmp_path / "again.csv"), "validation") == validation


def test_a_folder_with_files_for_each_split(tmp_path: Path) -> None:
    write(FRAME[:30], tmp_path / "train.csv")
    write(FRAME[30:35], tmp_path / "dev.jsonl")
    write(FRAME[35:].drop(columns="stars"), tmp_path / "test.tsv")
    (tmp_path / "notes.txt").write_text("no table")
    assert rows_of(tmp_path, "train").texts_a == list(FRAME.review[:30])
    assert rows_of(tmp_path, "validation").labels == [0, 1, 0, 2, 0]
    assert rows_of(tmp_path, "test").labels == [None] * 5
    custom = complete_task("reviews", SETTINGS, str(tmp_path))
    assert not any("held out" in line for line in describe_task(custom, str(tmp_path)))


def test_files_for_validation_and_test_beside_one_file(tmp_path: Path) -> None:
    source = write(FRAME[:30], tmp_path / "reviews.csv")
    other = write(FRAME[30:], tmp_path / "more.csv")
    custom = CustomTask(text="review", label="stars", validation_file=str(other), test_file=str(other))
    assert len(rows_of(source, "train", custom)) == 30
    assert rows_of(source, "validation", custom).texts_a == list(FRAME.review[30:])
    assert rows_of(source, "test", custom).texts_a == list(FRAME.review[30:])


def test_pairs_with_scores_are_read(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"a": list("abcdefgh"), "b": list("ijklmnop"), "label": [n / 2 for n in range(8)]})
    custom = CustomTask(text=["a", "b"], validation_fraction=0.25)
    train = rows_of(write(frame, tmp_path / "pairs.csv"), "train", custom, "pairs")
    assert len(train) == 6
    scores = dict(zip(frame.a, frame.label, strict=True))
    assert train.labels == [scores[a] for a in train.texts_a]
    assert [ord(b) - ord(a) for a, b in zip(train.texts_a, train.texts_b or [], strict=True)] == [8] * 6


def test_unlabelled_validation_rows_are_left_out(tmp_path: Path) -> None:
    write(FRAME[:20], tmp_path / "train.csv")
    write(FRAME[20:24].assign(stars=["good", None, "bad", ""]), tmp_path / "validation.csv")
    assert rows_of(tmp_path, "validation").labels == [2, None, 0, None]


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.5])
def test_held_out_rows_have_the_share_of_each_class(fraction: float) -> None:
    labels = [0] * 200 + [1] * 60 + [2] * 3 + [3]
    random.Random(0).shuffle(labels)
    custom = CustomTask(text="a", kind="classification", validation_fraction=fraction)
    aside = choose_held_out(list(labels), custom)
    counts = np.bincount(np.asarray(labels)[aside], minlength=4)
    assert list(counts[:2]) == [round(200 * fraction), round(60 * fraction)]
    assert counts[2] in (1, 2)
    assert counts[3] == 0  # the only row of a class is a training row
    assert (choose_held_out(list(labels), custom) == aside).all()
    other = CustomTask(text="a", kind="classification", validation_fraction=fraction, split_seed=1)
    assert (choose_held_out(list(labels), other) != aside).any()


def test_tokens_are_cached_by_file_and_settings(tmp_path: Path) -> None:
    source = write(FRAME, tmp_path / "reviews.csv")

    def fingerprint(split: str = "train", **settings: Any) -> str:
        custom = complete_task("reviews", CustomTask(**{"text": "review", "label": "stars"} | settings), str(source))
        return open_split(resolve_task("reviews", custom), str(source), split, custom).fingerprint

    seen = [
        fingerprint(),
        fingerprint("validation"),
        fingerprint(split_seed=1),
        fingerprint(validation_fraction=0.2),
        fingerprint(labels=["good", "bad", "fine"]),
        fingerprint(text="id", label="review", kind="classification"),
    ]
    assert len(set(seen)) == len(seen)
    assert fingerprint() == seen[0]
    write(FRAME[:39], source)
    assert fingerprint() != seen[0]


def test_the_cache_tells_formats_apart(tmp_path: Path) -> None:
    text = "review\tstars\n" + "".join(f'"good ""film"" {n}"\t{"ab"[n % 2]}\n' for n in range(20))
    found = set()
    for name in ("reviews.tsv", "reviews.csv"):  # a quote is text in .tsv, and encloses text in .csv
        (tmp_path / name).write_text(text)
        custom = complete_task("reviews", CustomTask(text="review", label="stars"), str(tmp_path / name))
        split = open_split(resolve_task("reviews", custom), str(tmp_path / name), "train", custom)
        found.add((split.fingerprint, split.read().texts_a[0]))
    assert len({fingerprint for fingerprint, _ in found}) == len({text for _, text in found}) == 2


COMPLETE: list[tuple[dict[str, Any], str]] = [
    ({"metrics": ["acuracy"]}, "'acuracy' is not a metric for 2 labels. Did you mean 'accuracy'?"),
    ({"metrics": ["pearson"]}, "'pearson' is not a metric for 2 labels"),
    ({"labels": ["b", "a", "c"], "metrics": ["f1"]}, "'f1' is not a metric for 3 labels"),
    ({"label_names": ["x"]}, "1 names for 2 labels"),
    ({"labels": ["a", "b", "b"]}, "a label is empty or given twice"),
    ({"class_weights": [1.0]}, "class_weights: got [1.0], allowed: balanced, or 2 numbers"),
    ({"class_weights": [-1.0, 1.0]}, "class_weights: got [-1.0, 1.0]"),
    (
        {"kind": "regression", "labels": None, "label_names": ["p", "q"], "metrics": ["pearson"]},
        "a regression task has no",
    ),
]


@pytest.mark.parametrize(("settings", "message"), COMPLETE)
def test_a_fully_described_task_is_checked_too(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    source = tmp_path / "reviews.csv"
    source.write_text("review,stars\n" + "".join(f"text {n},{'ab'[n % 2]}\n" for n in range(20)))
    said = {"text": "review", "label": "stars", "kind": "classification", "labels": ["a", "b"], "metrics": ["accuracy"]}
    assert complete_task("reviews", CustomTask(**said), str(source)).labels == ["a", "b"]
    with pytest.raises(UsageError, match=re.escape(message)):
        complete_task("reviews", CustomTask(**said | settings), str(source))


def test_a_training_row_without_label_is_named(tmp_path: Path) -> None:
    source = tmp_path / "reviews.csv"
    source.write_text("review,stars\n" + "".join(f"text {n},{'ab'[n % 2]}\n" for n in range(20)) + "last,\n")
    said = CustomTask(text="review", label="stars", kind="classification", labels=["a", "b"], metrics=["accuracy"])
    for split in ("train", "validation"):
        with pytest.raises(DataError, match=r"line 22: no label in column 'stars', as in 1 training row"):
            rows_of(source, split, said)


WRONG: list[tuple[str, dict[str, Any], type[GlueLitError], str]] = [
    ("review,stars\na,x\nb,y\n,x\n", {}, DataError, "line 4: column 'review' is empty"),
    ("review,stars\na,x\n \t,y\n", {}, DataError, "line 3: column 'review' is empty"),
    ("review,stars\na,x\nb,\nc,y\nd,\n", {}, DataError, "line 3: no label in column 'stars', as in 2 training row(s)"),
    ("review,star\na,x\n", {}, DataError, "no column 'stars'. Did you mean 'star'? The columns are: 'review', 'star'"),
    ("reviews,stars\na,x\nb,y\n", {}, DataError, "no column 'review'. Did you mean 'reviews'?"),
    ("review,stars\na,x\nb,y\n", {}, DataError, "2 training row(s) are too few to hold some out"),
    ("review,stars\na,x\nb,y\n", {"text": ["review", "stars"]}, UsageError, "a different label column"),
    ("review,stars\na,x\nb,y\n", {"text": ["review", "review"]}, UsageError, "a column twice"),
    ("review,stars\na,x\nb,y\n", {"text": ["a", "b", "c"]}, DataError, "data.custom.text: got 'a', but"),
    ("review,stars\na,x\nb,y\n", {"validation_fraction": 1.0}, UsageError, "got 1.0, allowed: above 0, below 1"),
    (
        "review,stars\na,x\nb,y\n",
        {"validation_file": "no.csv"},
        DataError,
        "data.custom.validation_file: there is no file 'no.csv'.",
    ),
]


@pytest.mark.parametrize(("content", "settings", "kind", "message"), WRONG)
def test_bad_input_is_one_message(
    tmp_path: Path, content: str, settings: dict[str, Any], kind: type[GlueLitError], message: str
) -> None:
    source = tmp_path / "reviews.csv"
    source.write_text(content)
    with pytest.raises(kind, match=re.escape(message)):
        rows_of(source, "train", CustomTask(**{"text": "review", "label": "stars"} | settings))


def test_a_number_in_place_of_a_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "reviews.jsonl"
    path.write_text(
        "".join(json.dumps({"review": r, "stars": s}) + "\n" for r, s in (("a", "x"), (5, "y"), ("b", "x")))
    )
    with pytest.raises(DataError, match=r"line 2: column 'review' is 5, not a text"):
        rows_of(path, "train")


def test_a_label_that_training_lacks_is_an_error(tmp_path: Path) -> None:
    write(FRAME[:20], tmp_path / "train.csv")
    write(FRAME[20:24].assign(stars="god"), tmp_path / "dev.csv")
    with pytest.raises(DataError, match=r"dev.csv, line 2: label 'god' is not one of the task's. Did you mean 'good'"):
        rows_of(tmp_path, "validation")


def test_files_of_a_folder_must_be_named_after_splits(tmp_path: Path) -> None:
    write(FRAME, tmp_path / "reviews.csv")
    with pytest.raises(DataError, match=r"has no train, validation \(dev\) or test file; it holds reviews.csv"):
        open_tables(SETTINGS, str(tmp_path))
    write(FRAME, tmp_path / "dev.csv")
    write(FRAME, tmp_path / "val.tsv")
    with pytest.raises(DataError, match=r"dev.csv and .*val.tsv are both the validation rows"):
        open_tables(SETTINGS, str(tmp_path))
    (tmp_path / "val.tsv").unlink()
    with pytest.raises(DataError, match="has no train rows; training needs a train file"):
        rows_of(tmp_path, "train")


@pytest.mark.parametrize("source", ["hub", "demo", "nothing.csv", "./nothing"])
def test_an_unknown_source_is_an_error(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=f"no file or folder '{re.escape(source)}'"):
        open_tables(SETTINGS, source)


def test_a_single_file_has_no_test_rows(tmp_path: Path) -> None:
    source = write(FRAME, tmp_path / "reviews.csv")
    with pytest.raises(DataError, match=r"has no test rows; give `--data.custom.test_file FILE`"):
        rows_of(source, "test")


def test_a_data_set_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    )  # fmt: skip
    texts = [f"text {n}" for n in range(20)]
    labels = [n % 2 for n in range(20)]
    data = datasets.Dataset.from_dict({"text": texts, "label": labels}, features=features)
    hidden = datasets.Dataset.from_dict({"text": ["x"], "label": [-1]}, features=features)
    asked = []

    def load(*names: str | None, revision: str | None) -> datasets.DatasetDict:
        asked.append(names)
        return datasets.DatasetDict({"train": data, "test": hidden, "unsupervised": hidden})

    monkeypatch.setattr(datasets, "load_dataset", load)
    custom = CustomTask(text="text")
    assert complete_task("movies", custom, "imdb").labels == ["neg", "pos"]
    assert len(rows_of("imdb", "validation", custom)) == 2
    train = rows_of("imdb", "train", custom)
    assert train.labels == [int(text.split()[1]) % 2 for text in train.texts_a]
    assert rows_of("owner/movies:plain", "test", custom).labels == [None]
    assert set(asked) == {("imdb", None), ("owner/movies", "plain")}


def test_a_data_set_that_cannot_be_reached() -> None:
    with pytest.raises(DataError, match=r"could not load owner/none: .*Check the network"):
        open_tables(SETTINGS, "owner/none")


def test_the_rows_that_are_held_out_are_those_of_earlier_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In memory and in files."""
    labels = (np.arange(10_007) * 7919) % 13
    labels[3] = 40
    for held in (large_arrays._HELD, 16):
        monkeypatch.setattr(large_arrays, "_HELD", held)
        chosen = [
            choose_held_out(labels, CustomTask(text="a", label="b", kind=kind, split_seed=5), folder=tmp_path)
            for kind in ("classification", "regression")
        ]
        assert hashlib.sha256(np.concatenate(chosen).tobytes()).hexdigest()[:16] == "a1e0b27c7ae2215d"
