"""What is said about a user's data before training."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datasets
import pandas
import pytest

from glue_lit.data.finding import Finding
from glue_lit.data.splits import TaskSplits
from glue_lit.errors import DataError

Row = Sequence[object]
Examine = Callable[..., dict[str, Finding]]
PLAIN: list[Row] = [(f"text {n}", "ab"[n % 2]) for n in range(20)]
WRITE_ALIKE = "Write them alike if they mean the same"
ONE_SPLIT = "Leave them in one split: their scores are too good"


def write(path: Path, rows: Sequence[Row], header: Row = ("text", "label")) -> str:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


@pytest.fixture
def examine(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Examine:
    """The findings by what they are, of a data set of the user's own."""
    monkeypatch.chdir(tmp_path)

    def run(source: str, stage: str = "fit", **settings: Any) -> dict[str, Finding]:
        custom = {"text": "text", **settings.pop("custom", {})}
        values = {"task": "mine", "tokenizer": str(tiny_model), "source": source, "custom": custom, **settings}
        found = TaskSplits(values).findings(stage)
        again = TaskSplits(values).findings(stage)  # from the cache
        assert found == again
        assert len({one.what for one in found}) == len(found)
        return {one.what: one for one in found}

    return run


def test_clean_data_have_no_findings(examine: Examine) -> None:
    folder = Path(write(Path("data/train.csv"), PLAIN)).parent
    write(folder / "dev.csv", [(f"other {n}", "ab"[n % 2]) for n in range(9)])
    write(folder / "test.csv", [(f"third {n}", "") for n in range(9)])
    assert examine("data") == {}


def test_labels_that_differ_in_case_or_blanks_only(examine: Examine) -> None:
    labels = ["good", "Good", "so so", "so  so", "bad ", "bad", "BAD", "bad"]
    rows = [(f"text {n}", labels[n % 8]) for n in range(32)]
    write(Path("data/dev.csv"), [("other", "good")])
    write(Path("data/train.csv"), rows)
    assert list(examine("data").values()) == [
        Finding(
            "labels written in several ways",
            "6 labels, 3 if written alike",
            "'BAD' (data/train.csv, line 8) and 'bad'; 'Good' (data/train.csv, line 3) and 'good'; "
            "'so  so' (data/train.csv, line 5) and 'so so'",
            WRITE_ALIKE,
        )
    ]


@pytest.mark.parametrize("kind", ["classification", "ordinal"])
def test_labels_with_one_row_or_none(examine: Examine, kind: str) -> None:
    source = write(Path("rows.csv"), [*PLAIN, ("odd", "c" * 60)])
    found = examine(source, custom={"labels": ["a", "b", "c" * 60, "d"], "kind": kind})
    one, none = found["labels with one training row"], found["labels without a training row"]
    assert (one.count, one.example) == ("1 of 4 labels", f"'{'c' * 37}...' (rows.csv, line 22)")
    assert (none.count, none.example) == ("1 of 4 labels", "'d'")
    assert len(found) == 2


@pytest.mark.parametrize("columns", [["text"], ["text", "other"]])
def test_a_header_among_the_rows(examine: Examine, columns: list[str]) -> None:
    rows: list[Row] = [(*(f"{column} {n}" for column in columns), "ab"[n % 2]) for n in range(20)]
    header = (*columns, "label")
    write(Path("data/dev.csv"), rows[:2], header)
    write(Path("data/train.csv"), [*rows[2:10], header, *rows[10:], header], header)
    found = examine("data", custom={"text": columns})
    assert found == {
        "header among training rows": Finding(
            "header among training rows", "2 rows", "data/train.csv, line 10", "Take it out"
        )
    }


def test_a_label_that_is_called_as_its_column_is_no_header(examine: Examine) -> None:
    write(Path("rows.csv"), [*PLAIN, *((f"own {n}", "label") for n in range(4))])
    assert examine("rows.csv") == {}
    write(Path("data/dev.csv"), PLAIN[:2])
    write(Path("data/train.csv"), [*PLAIN[2:], ("own", "label"), ("text", "label")])
    found = examine("data")
    assert found["header among training rows"].count == "1 row"
    assert "labels with one training row" not in found  # a class of two rows, one of which is wrong


@pytest.mark.parametrize(
    ("labels", "settings", "said"),
    [
        ((1, 0, 1), {}, "line 5: the label is 'label', while 3 other rows have numbers. The row repeats the header"),
        ((1.5, 0, 1), {}, "line 5: the label is 'label', while 3 other rows have numbers. The row repeats the header"),
        ((1.5, 0, 1), {"kind": "regression"}, "'label' is not a number, as a regression task needs. The row repeats"),
        (("x", "y", "x"), {"labels": ["x", "y"]}, "label 'label' is not one of the task's. The row repeats the header"),
    ],
)
def test_a_header_where_labels_are_numbers_or_given_is_named(
    examine: Examine, labels: Row, settings: dict[str, object], said: str
) -> None:
    write(Path("rows.csv"), [*((f"text {label}", label) for label in labels), ("text", "label")])
    with pytest.raises(DataError, match=said):
        examine("rows.csv", custom=settings)


def test_rows_that_are_in_two_splits(examine: Examine) -> None:
    write(Path("data/train.csv"), PLAIN)
    write(Path("data/dev.csv"), [("new", "a"), (" text 7 ", "b"), ("text 3", "b"), ("TEXT 3", "b")])
    write(Path("data/test.csv"), [("new 2", ""), ("text 4", "")])
    assert list(examine("data").values()) == [
        Finding(
            "validation rows also in train", "2 of 4 rows (50%)", "data/dev.csv, line 3, as data/train.csv, line 9",
            ONE_SPLIT,
        ),
        Finding(
            "test rows also in train", "1 of 2 rows (50%)", "data/test.csv, line 3, as data/train.csv, line 6", ONE_SPLIT
        ),
    ]  # fmt: skip


def test_pairs_that_are_in_two_splits(examine: Examine) -> None:
    pairs: list[Row] = [(f"a {n}", f"b {n}", n / 7) for n in range(20)]
    header = ("text", "other", "label")
    write(Path("data/train.csv"), pairs, header)
    write(Path("data/dev.csv"), [("a 1", "b 2", 1), ("a 1 b", "2", 1), ("b 3", "a 3", 1), ("a 5", "b 5", 2)], header)
    for both_orders in (False, True):
        found = examine("data", custom={"text": ["text", "other"]}, both_orders=both_orders)
        assert [(one.what, one.count, one.example) for one in found.values()] == [
            ("validation rows also in train", "1 of 4 rows (25%)", "data/dev.csv, line 5, as data/train.csv, line 7")
        ]


def test_rows_that_are_held_out_and_trained_on(examine: Examine) -> None:
    write(Path("rows.csv"), [*PLAIN, *PLAIN])
    found = examine("rows.csv")["validation rows also in train"]
    assert found.count == "4 of 4 rows (100%)"
    first, _, second = found.example.partition(", as line ")
    assert abs(int(first.removeprefix("rows.csv, line ")) - int(second)) == 20


def test_test_rows_that_cannot_be_read_do_not_stop_a_fit(examine: Examine) -> None:
    write(Path("data/train.csv"), PLAIN)
    write(Path("data/test.csv"), [("one", "a"), ("", "b")])
    found = examine("data")["test rows cannot be read"]
    assert found.example.startswith("data/test.csv, line 3: column 'text' is empty.")


def test_equal_texts_with_different_labels(examine: Examine) -> None:
    write(Path("data/dev.csv"), [("new", "a")])
    write(Path("data/train.csv"), [*PLAIN, ("text 5", "b"), ("text 5", "a"), ("text 2", "b"), ("text 9", "b")])
    assert list(examine("data").values()) == [
        Finding(
            "equal texts, different labels",
            "2 texts, 5 rows",
            "data/train.csv, line 4: 'a', line 24: 'b'",
            "Decide on one label: a model cannot learn both",
        )
    ]


def test_texts_that_are_cut(examine: Examine) -> None:
    # a letter is a token, and each text has two more
    write(Path("data/train.csv"), [*PLAIN, ("x" * 62, "a"), ("x" * 63, "a"), ("y" * 99, "b")])
    write(Path("data/dev.csv"), [("z" * 10, "a"), ("z" * 72, "b")])
    kept = 20 * 7 + 10 - 10 + 64 * 3 + 10
    train, validation = examine("data").values()
    assert train.what == "train texts cut at 64 tokens"
    assert train.count == f"2 of 23 rows, {38 / (38 + kept):.1%} of all tokens"
    assert train.example == "data/train.csv, line 24: 101 tokens"
    assert train.advice == (
        "The model takes no more: shorten them, or take a model for longer texts, `--data.truncation head_tail` keeps "
        "their ends, too"
    )
    assert validation.count == f"1 of 2 rows, {10 / (12 + 74):.1%} of all tokens"
    shorter = examine("data", max_length=20)["validation texts cut at 20 tokens"]
    assert (shorter.count, shorter.advice) == (
        f"1 of 2 rows, {54 / 86:.1%} of all tokens", "`--data.max_length 64` keeps more of them",
    )  # fmt: skip
    assert examine("data", stage="validate", max_length=20) == {shorter.what: shorter}


def test_other_stages_than_fit_look_for_cut_texts_only(examine: Examine) -> None:
    write(Path("data/train.csv"), [*PLAIN, *PLAIN[:3], ("x" * 99, "a"), ("text", "label")])
    write(Path("data/dev.csv"), PLAIN)
    write(Path("data/test.csv"), [("text 1", ""), ("x" * 99, "a")])
    for split, count in (("train", "1 of 25 rows"), ("test", "1 of 2 rows")):
        (found,) = examine(
            "data", stage="predict", predict_split=split, custom={"labels": ["a", "b", "label"]}
        ).values()
        assert found.what == f"{split} texts cut at 64 tokens"
        assert found.count.startswith(count)


def test_a_length_above_what_the_model_takes(examine: Examine) -> None:
    write(Path("rows.csv"), PLAIN)
    assert examine("rows.csv", max_length=64) == {}
    (found,) = examine("rows.csv", max_length=128).values()
    assert (found.what, found.count) == ("data.max_length above the model's", "128 tokens, the model takes 64")


def test_ids_that_are_missing_or_not_unique(examine: Examine) -> None:
    rows = [(text, label, f"r{n}") for n, (text, label) in enumerate(PLAIN)]
    write(Path("data/dev.csv"), [("new", "a", "r3")], ("text", "label", "id"))
    write(Path("data/train.csv"), [*rows, ("more", "a", ""), ("most", "b", "r3")], ("text", "label", "id"))
    found = examine("data", custom={"id": "id"})
    assert [(one.what, one.count, one.example) for one in found.values()] == [
        ("train rows without an id", "1 row", "data/train.csv, line 22"),
        ("train rows with another row's id", "1 row", "data/train.csv, line 23: 'r3', as in line 5"),
    ]


def test_rows_of_parquet_have_numbers_and_folders_stay_private(examine: Examine, tmp_path: Path) -> None:
    frame = pandas.DataFrame([*PLAIN, ("text 5", "a")], columns=["text", "label"])
    frame.to_parquet("rows.parquet")
    write(Path("dev.csv"), [("text 2", "a")])
    found = examine(str(tmp_path / "rows.parquet"), custom={"validation_file": "dev.csv"})
    assert found["equal texts, different labels"].example == "rows.parquet, row 6: 'b', row 21: 'a'"
    assert found["validation rows also in train"].example == "dev.csv, line 2, as rows.parquet, row 3"


def test_rows_of_the_hub(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["b", "a"])})
    parts = {
        "train": {"text": [*(f"text {n}" for n in range(20)), "text 5"], "label": [*(n % 2 for n in range(20)), 0]},
        "dev": {"text": ["new", "text 7"], "label": [0, 1]},
        "test": {"text": ["text 4", "newer"], "label": [-1, -1]},
    }
    data = {name: datasets.Dataset.from_dict(part, features=features) for name, part in parts.items()}
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.DatasetDict(data))
    assert [(one.what, one.count, one.example) for one in examine("owner/repeats:plain").values()] == [
        ("equal texts, different labels", "1 text, 2 rows", "owner/repeats:plain:train, row 6: 'a', row 21: 'b'"),
        (
            "validation rows also in train", "1 of 2 rows (50%)",
            "owner/repeats:plain:dev, row 2, as owner/repeats:plain:train, row 8",
        ),
        (
            "test rows also in train", "1 of 2 rows (50%)",
            "owner/repeats:plain:test, row 1, as owner/repeats:plain:train, row 5",
        ),
    ]  # fmt: skip


def test_findings_in_glue_are_as_published(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "CoLA").mkdir()
    for name, rows in (("train", ["a.\t1", "b.\t0", "b.\t1"]), ("dev", ["b.\t1", "c.\t0"])):
        lines = [f"x\t{row.split(chr(9))[1]}\t\t{row.split(chr(9))[0]}" for row in rows]
        (tmp_path / "CoLA" / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    splits = TaskSplits({"task": "cola", "tokenizer": str(tiny_model), "source": str(tmp_path)})
    found = {one.what: one for one in splits.findings("fit")}
    assert found["equal texts, different labels"].example == "train.tsv, line 2: '0', line 3: '1'"
    assert found["validation rows also in train"].example == "dev.tsv, line 1, as train.tsv, line 2"
    assert {one.advice for one in found.values()} == {"GLUE's own: published scores have it, too"}


def test_what_is_trained_on_stays_the_same(tiny_model: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "rows.csv", [*PLAIN, ("text 5", "a"), ("text", "label"), ("y" * 99, "B")])
    settings = {"task": "mine", "tokenizer": str(tiny_model), "source": source, "custom": {"text": "text"}}
    before, after = TaskSplits(settings), TaskSplits(settings)
    assert len(after.findings("fit")) == 5
    for name in ("train", "validation"):
        one, other = before.dataset(name), after.dataset(name)
        assert one.examples.tolist() == other.examples.tolist()
        assert one.store.input_ids.tolist() == other.store.input_ids.tolist()
        assert one.store.labels.tolist() == other.store.labels.tolist()
