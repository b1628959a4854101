"""Texts to be predicted, in chunks: from a table of the user's, a plain file, or standard input line by line."""

import queue
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from glue_lit.data.sources import Rows
from glue_lit.data.tables import Value, json_object, lines_of, open_table, plain, text_of
from glue_lit.errors import DataError
from glue_lit.tasks import TaskSpec

Texts = tuple[str, ...]
CHUNK = 4096  # rows: enough to find some of the same length, and little to hold


def file_texts(path: Path, columns: Sequence[str], task: TaskSpec) -> Iterator[Texts]:
    """The one or two texts of each row of a file: a table by its columns, a ``.txt`` file by its lines.

    Raises:
        DataError: A column is missing, or a row has no text (naming the line).
    """
    if path.suffix.lower() == ".txt":
        if not path.is_file():
            raise DataError(f"{path}: there is no such file.")
        for number, line in lines_of(path):
            yield line_texts(line, columns, task, f"{path}, line {number}")
        return
    table = open_table(path)
    for number, values in table.rows(columns):
        yield _texts(values, columns, table.place(number))


def stdin_texts(columns: Sequence[str], task: TaskSpec) -> Iterator[Texts]:
    """The one or two texts of each line of standard input, an object (JSONL) or plain text."""
    for number, raw in enumerate(sys.stdin.buffer, start=1):
        place = f"standard input, line {number}"
        yield line_texts(
            text_of(raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw, place), columns, task, place
        )


def line_texts(line: str, columns: Sequence[str], task: TaskSpec, place: str) -> Texts:
    """The texts of one line: a JSON object if it begins as one, else plain, pairs separated by a tab.

    Raises:
        DataError: A text is missing, or there are more than the task has.
    """
    line = line.rstrip("\r\n")
    if line.lstrip().startswith("{"):
        values = json_object(line, place)
        return _texts([plain(values.get(column), column, place) for column in columns], columns, place)
    texts = tuple(line.split("\t")) if len(columns) == 2 else (line,)
    if len(texts) != len(columns):
        raise DataError(
            f"{place}: {len(texts)} text(s), task {task.name} takes {len(columns)}: two on a line, with a tab between "
            f"them, or a JSON object with {' and '.join(map(repr, columns))}."
        )
    return texts


def _texts(values: Sequence[Value], columns: Sequence[str], place: str) -> Texts:
    for value, column in zip(values, columns, strict=True):
        if value is None:
            raise DataError(f"{place}: there is no {column!r}. Every row needs {' and '.join(map(repr, columns))}.")
        if not isinstance(value, str):
            raise DataError(f"{place}: {column!r} is {value!r}, not a text. Put it in quotes if it is one.")
    return tuple(str(value) for value in values)


def in_chunks(texts: Iterable[Texts], size: int = CHUNK) -> Iterator[list[Texts]]:
    """As many at a time as ``size``; what was read before an error comes before it."""
    chunk: list[Texts] = []
    try:
        for text in texts:
            chunk.append(text)
            if len(chunk) == size:
                yield chunk
                chunk = []
    except DataError:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk


def as_they_come(texts: Iterable[Texts], size: int = CHUNK) -> Iterator[list[Texts]]:
    """Chunks of what is there, one text or ``size``: whoever writes slowly into a pipe gets each answer at once."""
    waiting: queue.Queue[Texts | BaseException | None] = queue.Queue(maxsize=2 * size)

    def read() -> None:
        try:
            for text in texts:
                waiting.put(text)
            waiting.put(None)
        except BaseException as error:
            waiting.put(error)

    threading.Thread(target=read, daemon=True).start()
    while True:
        chunk, item = [], waiting.get()
        while isinstance(item, tuple):
            chunk.append(item)
            if len(chunk) == size or waiting.empty():
                break
            item = waiting.get()
        if chunk:
            yield chunk
        if isinstance(item, BaseException):
            raise item
        if item is None:
            return


def rows_of(texts: Sequence[Texts]) -> Rows:
    """Rows without labels."""
    pairs = len(texts[0]) == 2
    return Rows([t[0] for t in texts], [t[1] for t in texts] if pairs else None, [None] * len(texts))
