"""How `data.custom.text` is read: columns, pairs, joined columns and templates."""

import random

import pytest

from glue_lit.data.rendering import render
from glue_lit.errors import UsageError
from glue_lit.tasks.text_inputs import parse_text_inputs


@pytest.mark.parametrize(
    ("entries", "separator", "names", "columns"),
    [
        (["review"], None, ["review"], ["review"]),
        (["premise", "hypothesis"], None, ["premise", "hypothesis"], ["premise", "hypothesis"]),
        (["title", "body"], " | ", ["title + body"], ["title", "body"]),
        (["title", "body", "tags"], None, ["title + body + tags"], ["title", "body", "tags"]),
        (["a {b} c"], None, ["a {b} c"], ["b"]),
        (["{my column!}"], None, ["{my column!}"], ["my column!"]),
        (["[{a}] {b}, {c}"], None, ["[{a}] {b}, {c}"], ["a", "b", "c"]),
        (["{a} {b} {a}", "c"], None, ["{a} {b} {a}", "c"], ["a", "b", "c"]),
        (["odd{{name}}"], None, ["odd{name}"], ["odd{name}"]),
        (["{a}\n\n{b}\t"], None, ["{a} {b}"], ["a", "b"]),
        (["{{{a}}}"], None, ["{{{a}}}"], ["a"]),
        (["{a} {sep} {b}"], None, ["{a} {sep} {b}"], ["a", "b"]),
    ],
)
def test_what_a_setting_means(entries: list[str], separator: str | None, names: list[str], columns: list[str]) -> None:
    inputs = parse_text_inputs(entries, separator)
    assert (list(inputs.names), list(inputs.columns)) == (names, columns)


def test_a_column_with_braces_is_plain_and_a_doubled_brace_in_a_template_is_text() -> None:
    assert parse_text_inputs(["odd{{name}}"]).is_plain
    assert parse_text_inputs(["{{{a}}}"]).fixed.strip() == "{}"
    inputs = parse_text_inputs(["{a} {{sep}} {sep} {b}"], sep_token="</s>")
    assert inputs.texts[0][0].spelled == "{a} {{sep}} </s> {b}"
    assert (inputs.uses_sep, inputs.takes_strings) == (True, False)


@pytest.mark.parametrize(
    ("entries", "separator", "words"),
    [
        (["{title"], None, "got '{title', in which the brace '{' at character 1 has no partner"),
        (["{a}}"], None, "in which the brace '}' at character 4 has no partner"),
        (["{a{b}}"], None, "the brace '{' at character 1 has no partner. A column stands in braces"),
        (["{} and {a}"], None, "in which '{}' names no column"),
        (["{sep}"], None, "got '{sep}', a template without a column"),
        (["[{title}, {body}]"], None, "got '[{title}, {body}]', which may be a list of templates, or one in brackets"),
        (["[title, {body}]"], None, "which may be a list of templates, or one in brackets"),
        (["a", "a"], None, "got 'a', 'a', with a column twice"),
        (["a"], " ", "data.custom.text_separator: got ' ', but there is one text, 'a'"),
        (["a", "b"], "{c}", "data.custom.text_separator: got '{c}', allowed: a text without columns"),
    ],
)
def test_a_setting_that_means_nothing_is_refused(entries: list[str], separator: str | None, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_text_inputs(entries, separator)
    assert words in str(caught.value)


def test_what_is_accepted_is_filled_in_as_by_format() -> None:
    """Random braces: Python's own format strings are the reference; what it refuses is refused."""
    draw, accepted = random.Random(0), 0
    values = {"a": "1", "b c": "2"}
    for _ in range(20_000):
        template = "".join(draw.choices(["{", "}", "{{", "}}", "{a}", "{b c}", "x", " ", "a"], k=draw.randint(1, 7)))
        try:
            inputs = parse_text_inputs([template])
        except UsageError:
            continue
        if inputs.templates and set(inputs.columns) <= set(values):
            accepted += 1
            found = render(inputs, [values[name] for name in inputs.columns], "row 1", lambda value, _: str(value))
            assert found == (template.format_map(values),)
    assert accepted > 1000
