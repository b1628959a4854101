"""Rows to predict, given as strings, JSON objects, files and mappings, for tasks with templates."""

import json
from pathlib import Path
from typing import Any

import pytest

from glue_lit.data.given_texts import texts_of_given
from glue_lit.data.texts_to_predict import file_texts, stdin_texts
from glue_lit.errors import DataError
from glue_lit.tasks.custom import CustomTask, resolve_task
from glue_lit.tasks.glue import TASKS
from glue_lit.tasks.spec import TaskSpec


def task_of(*text: str, **more: Any) -> TaskSpec:
    return resolve_task("goods", CustomTask(text=list(text), kind="regression", metrics=["mae"], **more))


ONE = task_of("Review: {text}")
PAIR = task_of("Q: {q}", "A: {a}")
TWO = task_of("{title} ({n}): {body}")
JOINED = task_of("title", "n", "body", text_separator=" | ")


@pytest.mark.parametrize(
    ("task", "given", "texts"),
    [
        (ONE, "fine", ("Review: fine",)),
        (ONE, {"text": 5}, ("Review: 5",)),
        (PAIR, ["who", "me"], ("Q: who", "A: me")),
        (PAIR, {"q": "who", "a": "me", "other": [1]}, ("Q: who", "A: me")),
        (TWO, {"title": "a", "n": 2.0, "body": None}, ("a (2): ",)),
        (JOINED, {"title": "a", "n": None, "body": "b"}, ("a | b",)),
        (JOINED, {"title": ["a", None, 2.0], "n": [], "body": ("b", True)}, ("a, 2 | b, true",)),
        (TASKS["rte"], ["one", "two"], ("one", "two")),
        (TASKS["cola"], {"sentence": "one"}, ("one",)),
    ],
)
def test_an_example_in_python(task: TaskSpec, given: Any, texts: tuple[str, ...]) -> None:
    assert texts_of_given(given, task, "Example 0") == texts


@pytest.mark.parametrize(
    ("task", "given", "words"),
    [
        (TWO, "plain", """got 'plain', allowed: values by column, as {"title": "...", "n": "...", "body": "..."}."""),
        (TWO, {"title": "a"}, "there is no 'n'. Every row needs 'title', 'n' and 'body', of which an empty one may be"),
        (TWO, {}, "It has none."),
        (PAIR, "who", "allowed: a list of two texts or values by column"),
        (ONE, 7, "got 7, allowed: a string or values by column"),
        (ONE, " ", "column 'text' is empty"),
        (TWO, {"title": "", "n": None, "body": " "}, "columns 'title', 'n', 'body' are all empty"),
        (TASKS["cola"], {"sentence": ["one"]}, "column 'sentence' holds a list"),
        (TWO, {"title": {}, "n": 1, "body": "b"}, "column 'title' holds a dict"),
        (TASKS["rte"], "one", "allowed: a list of two texts"),
        (TASKS["cola"], {"text": "one"}, "there is no 'sentence'"),
    ],
)  # fmt: skip
def test_an_example_that_does_not_fit(task: TaskSpec, given: Any, words: str) -> None:
    with pytest.raises(DataError) as caught:
        texts_of_given(given, task, "Example 0")
    assert str(caught.value).startswith("Example 0: ")
    assert words in str(caught.value)


def test_lines_of_standard_input() -> None:
    columns = ("title", "n", "body")
    lines = [json.dumps({"title": "a", "n": 1, "body": "b", "key": "k1"}).encode() + b"\n"]
    (found,) = stdin_texts(lines, columns, TWO, "key")
    assert (found.texts, found.id) == (("a (1): b",), "k1")
    assert [one.texts for one in stdin_texts([b"who\tme\n"], ("q", "a"), PAIR)] == [("Q: who", "A: me")]
    with pytest.raises(DataError, match="standard input, line 1: got plain text, but a text of task goods is made of"):
        list(stdin_texts([b"a\t1\tb\n"], columns, TWO))


def test_files_with_other_names_of_columns(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("head,count,text\nx,3,y\nz,,w\n,,\n")
    rows = file_texts(tmp_path / "new.csv", ("head", "count", "text"), TWO)
    assert [next(rows).texts, next(rows).texts] == [("x (3): y",), ("z (): w",)]
    with pytest.raises(DataError, match=r"new\.csv, line 4: columns 'head', 'count', 'text' are all empty"):
        next(rows)
    (tmp_path / "new.jsonl").write_text('{"head": ["x", "z"], "count": 3, "text": []}\n')
    assert [one.texts for one in file_texts(tmp_path / "new.jsonl", ("head", "count", "text"), TWO)] == [
        ("x, z (3): ",)
    ]
    (tmp_path / "new.txt").write_text("fine\n")
    assert [one.texts for one in file_texts(tmp_path / "new.txt", ("text",), ONE)] == [("Review: fine",)]
