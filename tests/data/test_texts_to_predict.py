import itertools
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from glue_lit.data.rows import Places
from glue_lit.data.texts_to_predict import (
    Example,
    chunk_arriving_texts,
    chunk_size,
    chunk_texts,
    file_texts,
    parse_line,
    places_of,
    read_standard_input,
    stdin_texts,
    unlabelled_rows,
)
from glue_lit.errors import DataError
from glue_lit.tasks.glue import get_task

SINGLE, PAIR = get_task("cola"), get_task("rte")


@pytest.mark.parametrize(
    ("line", "texts"),
    [
        ("plain text\n", ("plain text",)),
        ("crlf\r\n", ("crlf",)),
        ("\n", ("",)),
        ("a\ttab is text", ("a\ttab is text",)),
        ('{"sentence": "object", "other": 1}', ("object",)),
        ('  {"sentence": "=SUM(A1) <b>"}', ("=SUM(A1) <b>",)),
        ('"quoted"', ('"quoted"',)),
    ],
)
def test_a_line_is_a_text_or_an_object(line: str, texts: tuple[str, ...]) -> None:
    assert parse_line(line, ("sentence",), SINGLE, "line 1") == texts


def test_pairs() -> None:
    columns = ("sentence1", "sentence2")
    assert parse_line("a\tb\n", columns, PAIR, "line 1") == ("a", "b")
    assert parse_line('{"sentence2": "b", "sentence1": "a"}', columns, PAIR, "line 1") == ("a", "b")
    for line, message in (
        ("a", "line 1: 1 text(s), task rte takes 2"),
        ("a\tb\tc", "line 1: 3 text(s), task rte takes 2"),
        ('{"sentence1": "a"}', "line 1: there is no 'sentence2'"),
        ('{"sentence1": "a", "sentence2": 5}', "line 1: 'sentence2' is 5, not a text"),
        ('{"sentence1": ', "A line that begins with { is read as JSON."),
        ('{"sentence1": "a", "sentence2": "\\ud800"}', "line 1: column 'sentence2' holds half of a surrogate pair"),
    ):
        with pytest.raises(DataError, match=re.escape(message)):
            parse_line(line, columns, PAIR, "line 1")


def test_standard_input() -> None:
    texts = stdin_texts([b"\xef\xbb\xbfone\r\n", b"two\x85\n", b"\xff\n"], ("sentence",), SINGLE)
    assert next(texts) == Example(("one",), 1)
    with pytest.raises(DataError, match="standard input, line 2: byte 0x85 is not UTF-8"):
        next(texts)


def test_plain_files_and_tables_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\nthree", encoding="utf-8")
    assert list(file_texts(tmp_path / "a.txt", ("sentence",), SINGLE)) == examples("one", "", "three")
    (tmp_path / "a.csv").write_text('id,text\n1,"a, b"\n2,\n', encoding="utf-8")
    assert list(file_texts(tmp_path / "a.csv", ("text",), SINGLE)) == [Example(("a, b",), 2), Example(("",), 3)]
    (tmp_path / "c.txt").write_text('{sic} fine\n{"sentence": "is text here"}\n', encoding="utf-8")
    expected = examples("{sic} fine", '{"sentence": "is text here"}')
    assert list(file_texts(tmp_path / "c.txt", ("sentence",), SINGLE)) == expected
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    for name, message in (
        ("b.txt", "no such file"),
        ("folder.csv", "a folder or a pipe"),
        ("a.xlsx", r"\.parquet, \.txt"),
    ):
        with pytest.raises(DataError, match=message):
            list(file_texts(tmp_path / name, ("sentence",), SINGLE))


def examples(*texts: str) -> list[Example]:
    return [Example((text,), number) for number, text in enumerate(texts, start=1)]


def failing(count: int) -> Iterator[Example]:
    yield from examples(*map(str, range(count)))
    raise DataError("line 6: bad")


def test_rows_before_an_error_are_predicted_first() -> None:
    chunks = chunk_texts(failing(5), size=2)
    first = [[example.texts[0] for example in next(chunks)] for _ in range(3)]
    assert first == [["0", "1"], ["2", "3"], ["4"]]
    with pytest.raises(DataError, match="line 6"):
        next(chunks)
    assert list(chunk_texts([], size=2)) == []


@pytest.mark.parametrize("chunked", [chunk_texts, chunk_arriving_texts])
def test_long_texts_make_short_chunks(chunked: Callable[..., Iterator[list[Example]]]) -> None:
    texts = [Example(("x" * 60, "y" * 60), 1)] * 10
    chunks = list(chunked(iter(texts), size=8, characters=300))
    assert [text for chunk in chunks for text in chunk] == texts
    assert max(sum(len(part) for text in chunk for part in text.texts) for chunk in chunks) <= 300 + 120


def test_reading_does_not_run_ahead_of_prediction() -> None:
    read = []

    def endless() -> Iterator[Example]:
        for number in itertools.count():
            read.append(number)
            yield Example(("text",), number)

    chunks = chunk_arriving_texts(endless(), size=16)
    seen = sum(len(next(chunks)) for _ in range(3))
    threading.Event().wait(0.2)
    assert len(read) <= seen + 16 + 1


def test_everything_comes_in_order_from_a_fast_source() -> None:
    texts = examples(*map(str, range(10_000)))
    chunks = list(chunk_arriving_texts(iter(texts), size=64))
    assert [text for chunk in chunks for text in chunk] == texts
    assert max(map(len, chunks)) <= 64
    with pytest.raises(DataError, match="line 6"):
        list(chunk_arriving_texts(failing(5)))


def test_a_slow_writer_gets_each_prediction_at_once() -> None:
    reading, writing = os.pipe()
    source = os.fdopen(reading, "r")
    chunks = chunk_arriving_texts(Example((line.rstrip(),), 1) for line in source)
    for word in ("one", "two"):  # the second is written after the first has arrived
        os.write(writing, f"{word}\n".encode())
        found: list[list[Example]] = []
        waiter = threading.Thread(target=lambda into=found: into.append(next(chunks)))
        waiter.start()
        waiter.join(timeout=20)
        assert found == [[Example((word,), 1)]]
    os.close(writing)
    assert list(chunks) == []
    source.close()


def test_texts_and_pairs_become_rows() -> None:
    assert unlabelled_rows(examples("a", "b")).texts_b is None
    pairs = unlabelled_rows([Example(("a", "b"), 1)])
    assert (pairs.texts_a, pairs.texts_b, pairs.labels) == (["a"], ["b"], [None])


@pytest.mark.parametrize(("labels", "rows"), [(1, 4096), (64, 4096), (10_000, 26), (10**7, 1)])
def test_many_labels_make_short_chunks(labels: int, rows: int) -> None:
    assert chunk_size(labels) == rows


def test_standard_input_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)  # as Python sets it; file descriptor 0 may be another file
    with pytest.raises(DataError, match=r"Standard input cannot be read \(it is closed\)"):
        next(read_standard_input())


def test_texts_of_a_file_have_their_line_and_id(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('key,text\na,"one\nand a half"\n\n,two\nc,three\n')
    (tmp_path / "a.txt").write_text("one\ntwo\nthree\n")
    path = tmp_path / "a.csv"
    for name, column, ids in (("key", "text", ["a", "", "c"]), ("nothing", "text", ["", "", ""])):
        chunks = list(chunk_texts(file_texts(path, (column,), SINGLE, name), 2))
        assert [places_of("a.csv", chunk) for chunk in chunks] == [
            Places("a.csv", "line", [2, 5], ids[:2]),
            Places("a.csv", "line", [6], ids[2:]),
        ]
    assert places_of("a.txt", list(file_texts(tmp_path / "a.txt", ("text",), SINGLE))).numbers == [1, 2, 3]
    assert places_of("a.parquet", examples("one")).unit == "row"


def test_a_json_line_of_standard_input_can_have_an_id() -> None:
    lines = [b'{"sentence": "a", "no": 7.0}\n', b"plain\n", b'{"sentence": "b"}\n']
    found = stdin_texts(lines, ("sentence",), SINGLE, "no")
    assert [(example.texts, example.id) for example in found] == [(("a",), "7"), (("plain",), ""), (("b",), "")]
