import csv
import json
import random
import tracemalloc
from decimal import Decimal
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


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", '"sep=;"', "\ufeffsep=;"])
def test_the_separator_that_excel_names_on_the_first_line(tmp_path: Path, first: str) -> None:
    path = written(tmp_path, "rows.csv", f'{first}\r\ntext;"label, or score"\r\n"two\nlines";0\r\na, b;1\r\n')
    table = open_table(path)
    assert table.columns == ("text", "label, or score")
    assert list(table.rows(table.columns)) == [(3, ("two\nlines", "0")), (5, ("a, b", "1"))]
    assert table.separator == ";"  # which tells that 3,5 is a number
    path.write_text(f"{first}\ntext;label\na;b;1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"line 3: 3 columns, the header has 2.* contains ';'"):
        read(path, "text", "label")
    path.write_text(f"{first}\n", encoding="utf-8")
    with pytest.raises(DataError, match="is empty"):
        open_table(path)


def test_a_header_that_is_no_separator(tmp_path: Path) -> None:
    assert open_table(written(tmp_path, "rows.csv", "sep=a\n1\n")).columns == ("sep=a",)
    assert open_table(written(tmp_path, "rows.csv", "sep=|\ntext|label\na|1\n")).columns == ("text", "label")
    assert open_table(written(tmp_path, "rows.tsv", "sep=\t\ntext\tlabel\na\t1\n")).columns == ("text", "label")


@pytest.mark.parametrize(
    ("kind", "values", "read_as"),
    [
        (pyarrow.decimal128(38, 2), [Decimal("3.50"), Decimal("4.00"), None], [3.5, 4, None]),
        (pyarrow.decimal128(38, 0), [Decimal(10**37 + 1), Decimal(0), Decimal(-1)], [10**37 + 1, 0, -1]),
        (pyarrow.decimal256(40, 1), [Decimal("-0.5"), Decimal("0.1"), None], [-0.5, 0.1, None]),
        (pyarrow.float16(), [0.5, 2.0, None], [0.5, 2.0, None]),
        (pyarrow.float32(), [0.5, 2.0, float("nan")], [0.5, 2.0, None]),
        (pyarrow.float64(), [3.7, 2.0, None], [3.7, 2.0, None]),
        (pyarrow.int64(), [1, 0, None], [1, 0, None]),
        (pyarrow.uint8(), [1, 0, 255], [1, 0, 255]),
        (pyarrow.bool_(), [True, False, None], [True, False, None]),
        (pyarrow.large_string(), ["a", "ä", None], ["a", "ä", None]),
        (pyarrow.binary(), ["ä".encode(), b"b", None], ["ä", "b", None]),
        (pyarrow.dictionary(pyarrow.int8(), pyarrow.string()), ["a", "b", "a"], ["a", "b", "a"]),
    ],
    ids=str,
)
def test_every_type_of_label_in_parquet(
    tmp_path: Path, kind: pyarrow.DataType, values: list[object], read_as: list[object]
) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"label": pyarrow.array(values, kind)}), tmp_path / "x.parquet")
    found = [value for (value,) in read(tmp_path / "x.parquet", "label")]
    assert found == read_as
    assert [type(value) for value in found] == [type(value) for value in read_as]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"caf\xe9,1", "In Windows-1252, as Excel writes it, it reads 'caf\xe9'. If that is right, convert"),
        (b"so \x96 he said,1", "it reads '\u2013'"),
        (b"\x84so\x93,1", "it reads '\u201eso\u201c'"),
        (b"\x81 \xe9,1", "Nor is the line in Windows-1252"),
    ],
)
def test_the_encoding_of_a_file_is_named_by_what_it_makes_of_it(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read(written(tmp_path, "rows.csv", b"text,label\n" + content + b"\n"), "text")
    assert message in str(caught.value)
    assert ("`iconv -f cp1252 -t utf-8`" in str(caught.value)) == ("reads" in message)
    assert "latin1" not in str(caught.value)


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
    ("rows.xlsx", "PK", "its name ends with '.xlsx', so it is an Excel workbook. Open it and save the sheet as CSV"),
    ("rows.csv", b"PK\x03\x04\x14\0", "its name ends with '.csv', but it is a ZIP archive, or an Excel workbook."),
    ("rows.jsonl", b"\x1f\x8b\x08", "but it is a compressed file. Unpack it"),
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
    with pytest.raises(DataError, match=r"there is no such file\.$"):
        open_table(tmp_path / "rows.csv")
    written(tmp_path, "row.csv", "")
    with pytest.raises(DataError, match=r"there is no such file. Did you mean '.*row.csv'\?"):
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
