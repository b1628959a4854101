"""The texts of a row to predict, from a line of text, a JSON object or the values of its columns."""

import json
from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Any

from glue_lit.data.rendering import render
from glue_lit.errors import DataError, enumerated
from glue_lit.system.untrusted_text import Value, parse_json_object, plain_value
from glue_lit.tasks.glue import TaskSpec

Texts = tuple[str, ...]


def texts_of_given(given: object, task: TaskSpec, place: str) -> Texts:
    """The texts of an example that is given in Python: a string, a list of two for a pair, or a mapping of columns.

    Raises:
        DataError: It is something else, or lacks a column or a text.
    """
    columns = task.inputs.columns
    if isinstance(given, Mapping):
        return texts_of_object(given, columns, task, place)
    strings = [given] if isinstance(given, str) else given
    if task.inputs.takes_strings and isinstance(strings, list | tuple) and len(strings) == len(columns):
        values = [plain_value(value, name, place) for value, name in zip(strings, columns, strict=True)]
        return texts_of_values(values, columns, task, place)
    forms = ["a string" if len(columns) == 1 else "a list of two texts"] if task.inputs.takes_strings else []
    allowed = " or ".join([*forms, f"values by column, as {_example_object(columns)}"])
    raise DataError(f"{place}: got {shorten(repr(given), 80)}, allowed: {allowed}.")


def parse_line(line: str, columns: Sequence[str], task: TaskSpec, place: str) -> Texts:
    """The texts of a line: a JSON object if it begins like one, else as in `split_line`.

    Raises:
        DataError: A text is missing, or there are more than the task takes.
    """
    if not line.lstrip().startswith("{"):
        return split_line(line, columns, task, place)
    try:
        values = parse_json_object(line, place)
    except DataError as error:
        raise DataError(f"{error} A line that begins with {{ is read as JSON.") from None
    return texts_of_object(values, columns, task, place)


def texts_of_object(values: Mapping[str, Any], columns: Sequence[str], task: TaskSpec, place: str) -> Texts:
    """The texts of a row that is given as values by column; in a template a value may be null, but not be left out.

    Raises:
        DataError: A column is missing, or has no text.
    """
    if not task.inputs.is_plain and (missing := [column for column in columns if column not in values]):
        given = f"It has {', '.join(map(repr, values))}." if values else "It has none."
        raise DataError(
            f"{place}: there is no {missing[0]!r}. Every row needs {enumerated(map(repr, columns))}, of which an "
            f"empty one may be null. {given}"
        )
    found: list[Value] = []
    for name, column in zip(task.inputs.columns, columns, strict=True):
        value = values.get(column)
        if isinstance(value, list | tuple) and name in task.inputs.list_columns:
            found.append(tuple(plain_value(item, column, place) for item in value))
        else:
            found.append(plain_value(value, column, place))
    return texts_of_values(found, columns, task, place)


def split_line(line: str, columns: Sequence[str], task: TaskSpec, place: str) -> Texts:
    """The texts of a line of plain text, a pair separated by a tab.

    Raises:
        DataError: A text is missing, or there are more than the task takes.
    """
    if not task.inputs.takes_strings:
        raise DataError(
            f"{place}: got plain text, but a text of task {task.name} is made of {enumerated(map(repr, columns))}. "
            f"Write a JSON object (standard input, --text, .jsonl), as {_example_object(columns)}, or a table with "
            "these columns."
        )
    line = line.rstrip("\r\n")
    texts = tuple(line.split("\t")) if len(columns) == 2 else (line,)
    if len(texts) != len(columns):
        raise DataError(
            f"{place}: {len(texts)} text(s), task {task.name} takes {len(columns)}: two on a line, with a tab between "
            f"them, or JSON (standard input, .jsonl) with {enumerated(map(repr, columns))}."
        )
    return texts_of_values(texts, columns, task, place)


def texts_of_values(values: Sequence[Value], columns: Sequence[str], task: TaskSpec, place: str) -> Texts:
    """The texts that a task makes of the values of columns.

    Raises:
        DataError: A value is missing, or is not a text where the task takes it as it is.
    """

    def check(value: Value, column: str) -> str:
        if value is None:
            raise DataError(f"{place}: there is no {column!r}. Every row needs {enumerated(map(repr, columns))}.")
        if not isinstance(value, str):
            raise DataError(f"{place}: {column!r} is {value!r}, not a text. Put it in quotes if it is one.")
        return value

    if task.inputs.is_plain:
        return tuple(check(value, column) for value, column in zip(values, columns, strict=True))
    return render(task.inputs, values, place, check, columns)


def _example_object(columns: Sequence[str]) -> str:
    return json.dumps(dict.fromkeys(columns, "..."), ensure_ascii=False)
