"""Texts to be predicted, in chunks: from a table of the user's, a plain file, or standard input line by line."""

import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from glue_lit.data.rows import Places, Rows
from glue_lit.data.tables import FORMATS, open_table
from glue_lit.errors import DataError
from glue_lit.system.untrusted_text import Value, decode_utf8, id_as_text, parse_json_object, plain_value, read_lines
from glue_lit.tasks.glue import TaskSpec

Texts = tuple[str, ...]
CHUNK = 4096  # rows: enough to find some of the same length, and little to hold
VALUES = 1 << 18  # of a chunk's predictions, each of which is some 800 bytes on its way into the file
CHARACTERS = 1 << 22  # of a chunk, for rows that are documents: a tokenizer takes some 30 bytes for each


class PositionQueue:
    """Where the texts of a file stand in it, from when they are read until they are predicted.

    Args:
        file: Its name.
        id: Column that tells the rows apart, if the file has it.
    """

    def __init__(self, file: str, id: str | None = None) -> None:
        self._file, self.id, self.unit = file, id, "line"
        self._numbers: list[int] = []
        self._ids: list[str] = []

    def add(self, number: int, value: Value = None) -> None:
        """Note the next row."""
        self._numbers.append(number)
        self._ids.append(id_as_text(value))

    def take(self, count: int) -> Places:
        """Where the next ``count`` texts stand."""
        numbers, self._numbers = self._numbers[:count], self._numbers[count:]
        ids, self._ids = self._ids[:count], self._ids[count:]
        return Places(self._file, self.unit, numbers, ids)


def file_texts(
    path: Path, columns: Sequence[str], task: TaskSpec, standing: PositionQueue | None = None
) -> Iterator[Texts]:
    """The one or two texts of each row of a file: a table by its columns, a ``.txt`` file by its lines.

    Args:
        path: The file.
        columns: Its text columns.
        task: What is predicted.
        standing: Is told where each row stands, before it is given.

    Raises:
        DataError: A column is missing, or a row has no text (naming the line).
    """
    suffix, standing = path.suffix.lower(), standing or PositionQueue(str(path))
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: not a file, but a folder or a pipe. A pipe is read with `--file -`.")
    if path.is_file() and suffix not in (".txt", *FORMATS):
        raise DataError(f"{path}: its name ends with {suffix!r}. Allowed: {', '.join((*FORMATS, '.txt'))}.")
    if path.is_file() and suffix == ".txt":
        for number, line in read_lines(path):
            standing.add(number)
            yield plain_texts(line, columns, task, f"{path}, line {number}")
        return
    table = open_table(path)
    standing.unit = table.unit
    own = [standing.id] if standing.id in table.columns else []
    for number, values in table.rows([*columns, *own]):
        standing.add(number, values[-1] if own else None)
        yield _texts(values[: len(columns)], columns, table.place(number))


def read_standard_input() -> Iterator[bytes]:
    """Lines of standard input, read past ``sys.stdin``.

    Python ends with an abort where a thread still waits for a line of ``sys.stdin`` itself.

    Raises:
        DataError: It is closed, or cannot be read.
    """
    if sys.stdin is None:  # where it would be, there may be a file of ours by now
        raise DataError("Standard input cannot be read (it is closed).")
    try:
        yield from open(0, "rb", closefd=False)  # noqa: SIM115
    except OSError as error:
        raise DataError(f"Standard input cannot be read ({error.strerror}).") from None


def stdin_texts(lines: Iterable[bytes], columns: Sequence[str], task: TaskSpec) -> Iterator[Texts]:
    """The one or two texts of each line of standard input, an object (JSONL) or plain text."""
    for number, raw in enumerate(lines, start=1):
        place = f"standard input, line {number}"
        yield line_texts(
            decode_utf8(raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw, place), columns, task, place
        )


def line_texts(line: str, columns: Sequence[str], task: TaskSpec, place: str) -> Texts:
    """The texts of one line: a JSON object if it begins as one, else plain, pairs separated by a tab.

    Raises:
        DataError: A text is missing, or there are more than the task has.
    """
    if line.lstrip().startswith("{"):
        try:
            values = parse_json_object(line, place)
        except DataError as error:
            raise DataError(f"{error} A line that begins with {{ is taken for JSON.") from None
        return _texts([plain_value(values.get(column), column, place) for column in columns], columns, place)
    return plain_texts(line, columns, task, place)


def plain_texts(line: str, columns: Sequence[str], task: TaskSpec, place: str) -> Texts:
    """The texts of one line of plain text, pairs separated by a tab.

    Raises:
        DataError: A text is missing, or there are more than the task has.
    """
    line = line.rstrip("\r\n")
    texts = tuple(line.split("\t")) if len(columns) == 2 else (line,)
    if len(texts) != len(columns):
        raise DataError(
            f"{place}: {len(texts)} text(s), task {task.name} takes {len(columns)}: two on a line, with a tab between "
            f"them, or JSON (standard input, .jsonl) with {' and '.join(map(repr, columns))}."
        )
    return texts


def _texts(values: Sequence[Value], columns: Sequence[str], place: str) -> Texts:
    for value, column in zip(values, columns, strict=True):
        if value is None:
            raise DataError(f"{place}: there is no {column!r}. Every row needs {' and '.join(map(repr, columns))}.")
        if not isinstance(value, str):
            raise DataError(f"{place}: {column!r} is {value!r}, not a text. Put it in quotes if it is one.")
    return tuple(str(value) for value in values)


def chunk_size(labels: int) -> int:
    """Rows of a chunk: fewer for a task of thousands of labels, since every row is answered with all of them."""
    return max(1, min(CHUNK, VALUES // labels))


def chunk_texts(texts: Iterable[Texts], size: int = CHUNK, characters: int = CHARACTERS) -> Iterator[list[Texts]]:
    """As many at a time as ``size``, or as have ``characters``; what was read before an error comes before it."""
    chunk: list[Texts] = []
    held = 0
    try:
        for text in texts:
            chunk.append(text)
            held += sum(map(len, text))
            if len(chunk) == size or held >= characters:
                yield chunk
                chunk, held = [], 0
    except DataError:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk


def chunk_arriving_texts(
    texts: Iterable[Texts], size: int = CHUNK, characters: int = CHARACTERS
) -> Iterator[list[Texts]]:
    """Chunks of what is there, one text or many: whoever writes slowly into a pipe gets each answer at once."""
    waiting = _Waiting(size, characters)
    threading.Thread(target=waiting.fill, args=(texts,), daemon=True).start()
    while chunk := waiting.take():
        yield chunk


class _Waiting:
    """Texts between the thread that reads them and whoever works on them: never more than a chunk."""

    def __init__(self, size: int, characters: int) -> None:
        self._size, self._characters = size, characters
        self._texts: list[Texts] = []
        self._held = 0
        self._has_ended = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def fill(self, texts: Iterable[Texts]) -> None:
        """Put in all of them, each when there is room; an error is kept for whoever takes them."""
        error = None
        try:
            for text in texts:
                with self._changed:
                    self._changed.wait_for(lambda: len(self._texts) < self._size and self._held < self._characters)
                    self._texts.append(text)
                    self._held += sum(map(len, text))
                    self._changed.notify()
        except BaseException as raised:
            error = raised
        with self._changed:
            self._has_ended, self._error = True, error
            self._changed.notify()

    def take(self) -> list[Texts]:
        """What is there, as soon as something is; nothing at the end, or the error that was the end."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._texts) or self._has_ended)
            chunk, self._texts, self._held = self._texts, [], 0
            self._changed.notify()
        if not chunk and self._error is not None:
            raise self._error
        return chunk


def unlabelled_rows(texts: Sequence[Texts]) -> Rows:
    """Rows without labels."""
    pairs = len(texts[0]) == 2
    return Rows([t[0] for t in texts], [t[1] for t in texts] if pairs else None, [None] * len(texts))
