"""Texts to predict, in chunks: from a table, from a plain text file, or from standard input line by line."""

import codecs
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from glue_lit.data.given_texts import Texts, parse_line, split_line, texts_of_values
from glue_lit.data.rows import Places, Rows
from glue_lit.data.tables import FORMATS, open_table, wrong_ending
from glue_lit.errors import DataError
from glue_lit.system.untrusted_text import decode_utf8, id_as_text, parse_json_object, plain_value, read_lines
from glue_lit.tasks.glue import TaskSpec

CHUNK = 4096  # rows: enough to batch by length, few enough to hold in memory
VALUES = 1 << 18  # predicted values per chunk, which take about 800 bytes each until they are written
CHARACTERS = 1 << 22  # characters per chunk of long documents, which take a tokenizer about 30 bytes each


class Example(NamedTuple):
    """One or two texts, the number of their line or row (from 1), and their id, if the file has one."""

    texts: Texts
    number: int
    id: str = ""


def file_texts(
    path: Path, columns: Sequence[str], task: TaskSpec, id_column: str | None = None, needs_id: bool = False
) -> Iterator[Example]:
    """Read the texts of a file: some columns of a table, or the lines of a ``.txt`` file.

    Args:
        path: The file.
        columns: Its columns that the task's texts are made of, in the order of ``task.inputs.columns``.
        task: The task to predict.
        id_column: Column that identifies rows, if the file has it.
        needs_id: Whether the file must have it.

    Raises:
        DataError: A column is missing, or a row has no text (the message names the line).
    """
    suffix = path.suffix.lower()
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: not a file, but a folder or a pipe. A pipe is read with `--file -`.")
    if path.is_file() and suffix not in (".txt", *FORMATS):
        raise wrong_ending(path, (*FORMATS, ".txt"))
    if path.is_file() and suffix == ".txt":
        for number, line in read_lines(path):
            yield Example(split_line(line, columns, task, f"{path}, line {number}"), number)
        return
    table = open_table(path)
    own = zip(task.inputs.columns, columns, strict=True)
    table.list_columns = [column for name, column in own if name in task.inputs.list_columns]
    ids = [id_column] if id_column is not None and (needs_id or id_column in table.columns) else []
    for number, values in table.rows([*columns, *ids]):
        texts = texts_of_values(values[: len(columns)], columns, task, table.place(number))
        yield Example(texts, number, id_as_text(values[-1]) if ids else "")


def stdin_texts(
    lines: Iterable[bytes], columns: Sequence[str], task: TaskSpec, id_column: str | None = None
) -> Iterator[Example]:
    """Read the texts of standard input, on each line a JSON object, perhaps with an id, or plain text."""
    for number, raw in enumerate(lines, start=1):
        place = f"standard input, line {number}"
        line = decode_utf8(raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw, place)
        texts, is_json = parse_line(line, columns, task, place), line.lstrip().startswith("{")
        value = parse_json_object(line, place).get(id_column) if is_json and id_column is not None else None
        yield Example(texts, number, id_as_text(plain_value(value, str(id_column), place)))


def read_standard_input() -> Iterator[bytes]:
    """Read the lines of standard input without ``sys.stdin``.

    Python aborts at exit while a thread waits for a line of ``sys.stdin``.

    Raises:
        DataError: It is closed, or cannot be read.
    """
    if sys.stdin is None:  # then file descriptor 0 may be another file
        raise DataError("Standard input cannot be read (it is closed).")
    try:
        yield from open(0, "rb", closefd=False)  # noqa: SIM115
    except OSError as error:
        raise DataError(f"Standard input cannot be read ({error.strerror}).") from None


def chunk_size(labels: int) -> int:
    """Number of rows per chunk; smaller for thousands of labels, because each row gets a probability for each."""
    return max(1, min(CHUNK, VALUES // labels))


def chunk_texts(
    examples: Iterable[Example], size: int = CHUNK, characters: int = CHARACTERS
) -> Iterator[list[Example]]:
    """Yield chunks of ``size`` examples, or of about ``characters``; before an error, the examples read so far."""
    chunk: list[Example] = []
    length = 0
    try:
        for example in examples:
            chunk.append(example)
            length += _length(example)
            if len(chunk) == size or length >= characters:
                yield chunk
                chunk, length = [], 0
    except DataError:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk


def chunk_arriving_texts(
    examples: Iterable[Example], size: int = CHUNK, characters: int = CHARACTERS
) -> Iterator[list[Example]]:
    """Yield whatever has arrived, one example or many, so that a slow writer gets each prediction at once."""
    buffer = _Buffer(size, characters)
    threading.Thread(target=buffer.fill, args=(examples,), daemon=True).start()
    while chunk := buffer.take():
        yield chunk


def _length(example: Example) -> int:
    return sum(map(len, example.texts))


class _Buffer:
    """At most one chunk of examples, between the thread that reads them and the one that predicts them."""

    def __init__(self, size: int, characters: int) -> None:
        self._size, self._characters = size, characters
        self._examples: list[Example] = []
        self._length = 0
        self._has_ended = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def fill(self, examples: Iterable[Example]) -> None:
        """Put all examples in, each when there is room; keep an error for `take`."""
        error = None
        try:
            for example in examples:
                with self._changed:
                    self._changed.wait_for(lambda: len(self._examples) < self._size and self._length < self._characters)
                    self._examples.append(example)
                    self._length += _length(example)
                    self._changed.notify()
        except BaseException as raised:
            error = raised
        with self._changed:
            self._has_ended, self._error = True, error
            self._changed.notify()

    def take(self) -> list[Example]:
        """Wait for an example, then take all; empty at the end. Raises the error that reading ended with."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._examples) or self._has_ended)
            chunk, self._examples, self._length = self._examples, [], 0
            self._changed.notify()
        if not chunk and self._error is not None:
            raise self._error
        return chunk


def unlabelled_rows(examples: Sequence[Example]) -> Rows:
    """The examples as rows without labels."""
    columns = [list(column) for column in zip(*(example.texts for example in examples), strict=True)]
    return Rows.from_columns(columns, [None] * len(examples), [example.number for example in examples])


def places_of(path: str, examples: Sequence[Example]) -> Places:
    """Places of examples in the file that they were read from."""
    table = FORMATS.get(Path(path).suffix.lower())
    unit = "line" if table is None else table.unit
    return Places(path, unit, [example.number for example in examples], [example.id for example in examples])
