import csv
import json
import random
import tracemalloc
from pathlib import Path

import pandas
import pyarrow
import pyarrow.parquet
import pytest

from glue_lit.data.tables import open_table
from glue_lit.errors import DataError

ROWS = [
    ("plain", "1"),
    ("a, comma and \"quotes\"", "0"),
    ("=SUM(A1:A9)", "1"),
    ("<script>alert(1)</script>", "0"),
    ("äöü 漢字 🎉", "1"),
    ("two\nlines", "0"),
    ("x" * 200_000, "1"),
    ("a\u2028line separator, a\x0bvertical tab", "0"),
]  # fmt: skip


def written(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path, *columns: str) -> list[tuple[object, ...]]:
    return [values for _, values in open_table(path).rows(columns)]


@pytest.mark.parametrize(("name", "options"), [
    ("rows.csv", {}),
    ("rows.csv", {"lineterminator": "\r\n", "encoding": "utf-8-sig"}),
    ("rows.csv", {"sep": ";", "quoting": csv.QUOTE_ALL}),
    ("rows.csv", {"sep": "\t"}),
])  # fmt: skip
def test_csv_files_of_pandas_are_read(tmp_path: Path, name: str, options: dict[str, object]) -> None:
    pandas.DataFrame(ROWS, columns=["text", "label"]).to_csv(tmp_path / name, index=False, **options)
    assert read(tmp_path / name, "text", "label") == ROWS
    assert read(tmp_path / name, "label", "text") == [(label, text) for text, label in ROWS]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_json_and_parquet_files_of_pandas_are_read(tmp_path: Path, name: str) -> None:
    frame = pandas.DataFrame([(text, int(label)) for text, label in ROWS], columns=["text", "label"])
    if name.endswith("jsonl"):
        frame.to_json(tmp_path / name, orient="records", lines=True)
    else:
        frame.to_parquet(tmp_path / name, row_group_size=3)
    assert read(tmp_path / name, "text", "label") == [(text, int(label)) for text, label in ROWS]


def test_a_quote_in_a_tsv_file_is_text(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.tsv", '\ufefftext\tlabel\r\n"open\t1\r\na ""b""\t0\r\n')
    assert read(path, "text", "label") == [('"open', "1"), ('a ""b""', "0")]


def test_rows_have_their_line(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.csv", 'text,label\none,1\n"two\nlines",0\n\nthree,1\n')
    table = open_table(path)
    assert [number for number, _ in table.rows(["text"])] == [2, 3, 6]
    assert table.place(3) == f"{path}, line 3"


def test_a_key_may_be_missing_in_json_lines(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.jsonl", '{"text": "a"}\n\n{"text": null, "label": 2.5}\n{"label": NaN}\n')
    assert open_table(path).columns == ("text", "label")
    assert read(path, "text", "label") == [("a", None), (None, 2.5), (None, None)]


WRONG = [
    ("rows.csv", "", "is empty"),
    ("rows.csv", "text,label\n", "a header but no row"),
    ("rows.csv", "text,label\na,1\nb,2,3\n", "line 3: 3 columns, the header has 2"),
    ("rows.csv", "text,label\na\n", "line 2: 1 columns, the header has 2"),
    ("rows.csv", 'text,label\na,1\n"b,2\nc,3\n', "line 3: not CSV: a quote is opened and never closed"),
    ("rows.csv", "text,label\ra,1\r", "lone carriage return"),
    ("rows.csv", "text,label\na,\0\n", "line 2: there is a NUL byte"),
    ("rows.csv", "text,label\na,1\n".encode("utf-16"), "line 1: there is a NUL byte"),
    ("rows.csv", b"text,label\na,1\nb\xe4,1\n", "line 3: byte 0xe4 is not UTF-8"),
    ("rows.csv", "texts,label\na,1\n", "no column 'text'. Did you mean 'texts'? The columns are: 'texts', 'label'"),
    ("rows.csv", "text,label,text\na,1,b\n", "2 columns are called 'text'"),
    ("rows.tsv", "text\tlabel\na\tb\t1\n", "line 2: 3 columns, the header has 2. Columns are separated by tabs"),
    ("rows.jsonl", "\n\n", "is empty"),
    ("rows.jsonl", '{"text": "a", "label": 1}\n{"text": \n', "line 2: not JSON"),
    ("rows.jsonl", '["a", 1]\n', "line 1: a JSON list, where an object is needed"),
    ("rows.jsonl", '{"text": "a", "label": 1, "label": 0}\n', "line 1: the key 'label' is given twice; keep one"),
    ("rows.jsonl", '{"text": "a", "label": ["x", "y"]}\n', "line 1: column 'label' holds a list"),
    ("rows.jsonl", '{"text": "a", "label": ' + "[" * 100_000 + "\n", "line 1: not JSON"),
    ("rows.jsonl", '{"text": "a", "label": ' + "1" * 10_000 + "}\n", "line 1: not JSON"),
    ("rows.parquet", "PAR1", "not a Parquet file"),
    ("rows.xlsx", "PK", "its name ends with '.xlsx'"),
    ("rows", "text", "Allowed: .csv, .tsv, .jsonl"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), WRONG)
def test_bad_input_is_one_message(tmp_path: Path, name: str, content: bytes | str, message: str) -> None:
    path = written(tmp_path, name, content)
    with pytest.raises(DataError) as caught:
        read(path, "text", "label")
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        open_table(tmp_path / "rows.csv")


def test_a_damaged_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    generator = random.Random(0)
    texts = [str(generator.random()) for _ in range(1000)]
    pandas.DataFrame({"text": texts}).to_parquet(path)
    content = bytearray(path.read_bytes())
    content[100:4000] = bytes(3900)
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged after row 0"):
        read(path, "text")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_tables_are_read_row_by_row(tmp_path: Path, suffix: str) -> None:
    line = "word " * 20 + ",1\n" if suffix == ".csv" else json.dumps({"text": "word " * 20, "label": 1}) + "\n"
    path = written(tmp_path, f"rows{suffix}", ("text,label\n" if suffix == ".csv" else "") + line * 20_000)
    tracemalloc.start()
    try:
        assert sum(1 for _ in open_table(path).rows(["text", "label"])) == 20_000
        assert tracemalloc.get_traced_memory()[1] < path.stat().st_size / 4
    finally:
        tracemalloc.stop()


def _no_utf8() -> pyarrow.Array:
    offsets, content = (0).to_bytes(4, "little") + (2).to_bytes(4, "little"), b"\xff\xfe"
    return pyarrow.Array.from_buffers(
        pyarrow.string(), 1, [None, pyarrow.py_buffer(offsets), pyarrow.py_buffer(content)]
    )


@pytest.mark.parametrize(
    "column", [_no_utf8(), pyarrow.array([10**15], pyarrow.timestamp("s"))], ids=["no UTF-8", "a far future"]
)
def test_parquet_values_without_a_python_type(column: pyarrow.Array, tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": column}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="damaged after row 0"):
        list(open_table(tmp_path / "x.parquet").rows(["text"]))
