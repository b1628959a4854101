"""Predictions in each format, read back by other programs."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pyarrow.parquet
import pytest

from glue_lit.data.tables import open_table
from glue_lit.errors import DataError, UsageError
from glue_lit.outputs.prediction_files import FORMATS, check_ending, text_keys, write_predictions

TEXTS = [
    "plain",
    '=HYPERLINK("x")',
    'a "quote", a comma',
    "two\nlines\r\nand more",
    "a\ttab",
    "line\u2028separator",
    "ü",
]
CHUNKS = [
    [
        {
            "idx": n,
            "row": n + 2,
            **({"id": f"-{n}"} if n else {}),
            "review": text,
            "label": "a b",
            "probabilities": {"a b": 1 / (n + 1.5), "-1": 1 - 1 / (n + 1.5)},
        }
        for n, text in part
    ]
    for part in (list(enumerate(TEXTS))[:4], list(enumerate(TEXTS))[4:])
]
RECORDS: list[dict[str, Any]] = [record for chunk in CHUNKS for record in chunk]
KEYS = ["idx", "row", "id", "review"]
COLUMNS = [*KEYS, "label", "probability_a b", "probability_-1"]


def flat(record: dict[str, Any]) -> list[Any]:
    return [*(record.get(key, "") for key in (*KEYS, "label")), *record["probabilities"].values()]


def test_json_holds_the_predictions_as_they_are(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.ndjson", "a.json"):
        write_predictions(tmp_path / name, CHUNKS, KEYS)
    lines = (tmp_path / "a.jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in lines[:-1]] == RECORDS
    assert (tmp_path / "a.ndjson").read_bytes() == (tmp_path / "a.jsonl").read_bytes()
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == RECORDS
    write_predictions(tmp_path / "a.json", [], KEYS)
    assert json.loads((tmp_path / "a.json").read_text()) == []


def test_csv_keeps_every_character(tmp_path: Path) -> None:
    write_predictions(tmp_path / "a.CSV", CHUNKS, KEYS)
    with (tmp_path / "a.CSV").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == COLUMNS
    assert rows == [[str(cell) for cell in flat(record)] for record in RECORDS]
    assert [
        text for _, (text,) in open_table(tmp_path / "a.CSV").rows(["review"])
    ] == TEXTS  # `predict --file` reads it


def test_tsv_has_a_row_on_each_line(tmp_path: Path) -> None:
    write_predictions(tmp_path / "a.tsv", CHUNKS, KEYS)
    lines = (tmp_path / "a.tsv").read_bytes().decode().split("\n")
    assert [line.split("\t") for line in lines[:-1]] == [
        COLUMNS,
        *([str(cell).translate(str.maketrans("\t\n\r", "   ")) for cell in flat(record)] for record in RECORDS),
    ]
    found = [text for _, (text,) in open_table(tmp_path / "a.tsv").rows(["review"])]
    assert found[:3] == TEXTS[:3]


def test_parquet_has_types(tmp_path: Path) -> None:
    write_predictions(tmp_path / "a.parquet", CHUNKS, KEYS)
    found = pandas.read_parquet(tmp_path / "a.parquet")
    assert list(found.columns) == COLUMNS
    assert found.to_numpy().tolist() == [flat(record) for record in RECORDS]
    kinds = {field.name: str(field.type) for field in pyarrow.parquet.read_schema(tmp_path / "a.parquet")}
    assert (kinds["idx"], kinds["id"], kinds["label"], kinds["probability_-1"]) == (
        "int64",
        "string",
        "string",
        "double",
    )
    write_predictions(tmp_path / "b.parquet", [[{"idx": 0, "score": 2.5}]], ["idx"])
    assert pandas.read_parquet(tmp_path / "b.parquet").to_dict("records") == [{"idx": 0, "score": 2.5}]
    write_predictions(tmp_path / "b.parquet", [], ["idx"])
    assert pyarrow.parquet.read_table(tmp_path / "b.parquet").num_rows == 0


@pytest.mark.parametrize("ending", FORMATS)
def test_an_error_leaves_the_earlier_file(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    path.write_text("before")

    def failing() -> Iterator[list[dict[str, Any]]]:
        yield CHUNKS[0]
        raise DataError("line 5000")

    with pytest.raises(DataError, match="line 5000"):
        write_predictions(path, failing(), KEYS)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_text_column_does_not_replace_a_key_of_predictions() -> None:
    assert text_keys(["review", "label", "idx", "probability_x"]) == [
        "review", "text_label", "text_idx", "text_probability_x",
    ]  # fmt: skip


def test_other_endings_are_refused(tmp_path: Path) -> None:
    for name in ("a.xlsx", "a", "a.csv.gz", ".csv"):
        with pytest.raises(UsageError, match=r"Allowed: \.csv, \.tsv, \.jsonl, \.ndjson, \.json, \.parquet, or - for"):
            check_ending(str(tmp_path / name))
    for name in ("/dev/null", *(f"x{ending.upper()}" for ending in FORMATS)):
        check_ending(name)
