"""Files as GLUE writes them: only LF and CRLF end a line, only a tab ends a field, nothing is quoted."""

import csv
import io
import re
from pathlib import Path

import pytest

from glue_lit.data.tsv import read_tsv
from glue_lit.errors import DataError


@pytest.fixture
def tsv(tmp_path: Path) -> Path:
    return tmp_path / "some.tsv"


def test_header_and_rows(tsv: Path) -> None:
    tsv.write_bytes(b"a\tb\n1\t2\n3\t\n")
    table = read_tsv(tsv, has_header=True)
    assert table.header == ["a", "b"]
    assert table.rows == [["1", "2"], ["3", ""]]
    assert table.lines == [2, 3]


def test_without_a_header_the_first_line_is_a_row(tsv: Path) -> None:
    tsv.write_bytes(b"gj04\t1\t\tHe ran.\n")
    table = read_tsv(tsv, has_header=False)
    assert table.header == []
    assert table.rows == [["gj04", "1", "", "He ran."]]
    assert table.lines == [1]


def test_byte_order_mark_is_no_part_of_the_first_column(tsv: Path) -> None:
    tsv.write_bytes(b"\xef\xbb\xbfQuality\tx\n1\ty\n")
    assert read_tsv(tsv, has_header=True).header == ["Quality", "x"]


def test_byte_order_mark_further_on_is_text(tsv: Path) -> None:
    tsv.write_text("h\n\ufeffx\n", encoding="utf-8")
    assert read_tsv(tsv, has_header=True).rows == [["\ufeffx"]]


def test_crlf_ends_a_line_as_lf_does(tsv: Path) -> None:
    tsv.write_bytes(b"a\tb\r\n1\t2\r\n3\t4\n")
    table = read_tsv(tsv, has_header=True)
    assert (table.header, table.rows) == (["a", "b"], [["1", "2"], ["3", "4"]])


@pytest.mark.parametrize("text", ['"', 'say "so', '"whole"', '""', "it's", "\\", "\\t", "#", "NULL", "  padded  "])
def test_every_other_character_is_text(tsv: Path, text: str) -> None:
    tsv.write_text(f"a\tb\n{text}\tnext\n", encoding="utf-8")
    assert read_tsv(tsv, has_header=True).rows == [[text, "next"]]


@pytest.mark.parametrize("separator", ["\r", "\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x00"])
def test_other_line_separators_do_not_cut_a_row(tsv: Path, separator: str) -> None:
    # str.splitlines splits at all of these, and the csv module at a lone CR.
    with tsv.open("w", encoding="utf-8", newline="") as stream:
        stream.write(f"a\tb\none{separator}more\t2\n3\t4\n")
    assert read_tsv(tsv, has_header=True).rows == [[f"one{separator}more", "2"], ["3", "4"]]


def test_only_one_carriage_return_belongs_to_the_line_end(tsv: Path) -> None:
    tsv.write_bytes(b"a\nx\r\r\n")
    assert read_tsv(tsv, has_header=True).rows == [["x\r"]]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_the_last_line_needs_no_newline(tsv: Path, end: bytes) -> None:
    tsv.write_bytes(b"a\tb\n1\t2" + end)
    assert read_tsv(tsv, has_header=True).rows == [["1", "2"]]


def test_an_empty_line_is_a_row(tsv: Path) -> None:
    # Without it, all later rows would have other numbers.
    tsv.write_bytes(b"a\n1\n\n3\n")
    assert read_tsv(tsv, has_header=True).rows == [["1"], [""], ["3"]]


def test_a_field_beyond_the_csv_modules_limit(tsv: Path) -> None:
    long = "x" * (csv.field_size_limit() + 1)
    tsv.write_text(f"a\n{long}\n", encoding="utf-8")
    assert read_tsv(tsv, has_header=True).rows == [[long]]


def test_equals_the_csv_module_on_random_text(tsv: Path) -> None:
    import random

    rng = random.Random(0)
    alphabet = "ab\"'\\,; é漢\U0001f600"
    rows = [["".join(rng.choices(alphabet, k=rng.randrange(6))) for _ in range(3)] for _ in range(200)]
    text = "".join("\t".join(row) + "\n" for row in rows)
    tsv.write_text(text, encoding="utf-8")
    expected = list(csv.reader(io.StringIO(text, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE))
    assert read_tsv(tsv, has_header=False).rows == expected


@pytest.mark.parametrize(
    ("content", "has_header"), [(b"", True), (b"", False), (b"\xef\xbb\xbf", True), (b"a\tb\n", True), (b"a\tb", True)]
)
def test_a_file_without_a_row(tsv: Path, content: bytes, has_header: bool) -> None:
    tsv.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(f"{tsv}: the file is empty; at least one row is needed.")):
        read_tsv(tsv, has_header)


@pytest.mark.parametrize(
    ("content", "line", "byte"),
    [
        (b"\xff\ta\n", 1, "0xff"),
        (b"a\tb\nx\ty\ncaf\xe9\tz\n", 3, "0xe9"),
        (b"a\tb\r\nx\t\xc3\n", 2, "0xc3"),
        # With a byte order mark, the decoder counts positions from after the mark.
        pytest.param(
            b"\xef\xbb\xbfa\tb\nx\ty\ncaf\xe9\tz\n",
            3,
            "0xe9",
        ),
        pytest.param(
            b"\xef\xbb\xbfa\tb\nx\ty\n\xe9t\xe9\tz\n",
            3,
            "0xe9",
        ),
    ],
)
def test_not_utf8_names_the_line_and_the_byte(tsv: Path, content: bytes, line: int, byte: str) -> None:
    tsv.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(f"{tsv}, line {line}: byte {byte} is not UTF-8. In Windows-1252")):
        read_tsv(tsv, has_header=True)


def test_a_missing_file(tsv: Path) -> None:
    with pytest.raises(DataError, match=re.escape(f"{tsv}: cannot be read (No such file or directory).")):
        read_tsv(tsv, has_header=True)


def test_a_folder_instead_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\)"):
        read_tsv(tmp_path, has_header=True)
