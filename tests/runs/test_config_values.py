"""Texts that YAML 1.1, YAML 1.2, JSON or jsonargparse would convert, written and read."""

import copy
import json
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import timedelta
from enum import Enum, IntEnum, StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jsonargparse import get_loader

from glue_lit.cli.parser import Parser, add_checkpoints, add_trainer_model_and_data, keep_custom_texts, load_settings
from glue_lit.errors import UsageError
from glue_lit.runs.config_values import Text, dump_config, read_config, tag_texts, to_flag

DIGITS = st.text("0123456789", min_size=1, max_size=4)
SIGN = st.sampled_from(["", "+", "-"])
WORDS = [
    "y",
    "n",
    "yes",
    "no",
    "on",
    "off",
    "true",
    "false",
    "null",
    "none",
    "nan",
    "inf",
    "infinity",
    ".nan",
    ".inf",
    "~",
]
SIGNS = ["=", "<<", "-", "?", ":", "", " ", "#", "# a", "a #b", "a: b", "a:", "- a", "? a", "&a", "*a", "!a", "!!int 5", "%a", "@a",
         "`a", "|", ">", "[", "[]", "{}", "{a}", "[a, b]", '"a"', "'a'", "---", "...", "--- a", "\t", "a\nb", " a", "a ", "\\", "0_"]  # fmt: skip


def _cased(word: str) -> st.SearchStrategy[str]:
    return st.sampled_from([word, word.upper(), word.capitalize(), f"-{word}", f"+{word}"])


MEANINGFUL = st.one_of(
    st.sampled_from(WORDS).flatmap(_cased),
    st.sampled_from(SIGNS),
    st.builds("{}{}".format, SIGN, DIGITS),
    st.builds("{}{}.{}".format, SIGN, DIGITS, DIGITS | st.just("")),
    st.builds("{}.{}".format, SIGN, DIGITS),
    st.builds("{}{}{}{}{}".format, SIGN, DIGITS, st.sampled_from("eE"), SIGN, DIGITS),
    st.builds("{}{}.{}{}{}{}".format, SIGN, DIGITS, DIGITS, st.sampled_from("eE"), SIGN, DIGITS),
    st.builds("{}0{}{}".format, SIGN, st.sampled_from("xXoObB"), st.text("0123456789abcdefABCDEF_", max_size=4)),
    st.builds("{}{}_{}".format, SIGN, DIGITS, DIGITS),
    st.builds("{}{}:{}:{}".format, SIGN, DIGITS, DIGITS, DIGITS),
    st.builds("{}:{}.{}".format, DIGITS, DIGITS, DIGITS),
    st.dates().map(str),
    st.datetimes().map(str),
    st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8),
    st.text("-+.:_eE0123456789xo,[]{}#&*!|>'\"%@` ~=<?/\\\n\t\x85\u2028\ufeff\x7f\U0001f600", max_size=8),
)  # fmt: skip
READERS: dict[str, Callable[[str], Any]] = {
    "YAML 1.1": yaml.safe_load,
    "jsonargparse": get_loader("yaml"),
    "ours": read_config,
    "ours in C": partial(read_config, loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)),
    "ours of the parser": load_settings,
}
MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@MANY
@given(st.lists(MEANINGFUL, min_size=1, max_size=4))
@example(["\x85", "a\u2028b", "\ufeff", "\x7f", "a\n\nb"])
@example(["2E65", "1e5", "0o7", "=", "<<", "1_0", "12:30:45", "0x1F", "~"])
def test_every_reader_returns_the_labels_that_were_written(labels: list[str]) -> None:
    settings = {"data": {"task": labels[0], "custom": {"labels": labels, "positive": labels[-1], "kind": None}}}
    for text in (dump_config(settings), to_flag(settings), json.dumps(settings, ensure_ascii=True)):
        if text.startswith("{") and not all(ord(c) < 0x10000 for label in labels for c in label):
            continue  # JSON writes it as two escapes, which YAML reads as two characters
        for name, read in READERS.items():
            assert read(text) == settings, name


@pytest.mark.parametrize("text", ["2E65", "1e5", "1E5", "0o17", "0x1F", "0b1", "+.5e3", "-.inf", ".NaN", "nan", "TRUE", "Null", "off",
                                  "y", "12e03", "1_0", "190:20:30", "2001-12-14t21:59:43.10-05:00", "=", "<<", "~", "00", "1.", "1,5"])  # fmt: skip
def test_a_text_that_a_reader_would_convert_is_quoted(text: str) -> None:
    assert dump_config({"a": text}) == f"a: '{text}'\n"


@pytest.mark.parametrize(
    "text", ["linear", "32-true", "bf16-mixed", "val/accuracy", "a b", "data/train.csv", "bert-base-cased", "1a"]
)
def test_a_text_that_no_reader_would_convert_is_not_quoted(text: str) -> None:
    assert dump_config({"a": text}) == f"a: {text}\n"


# ---------------------------------------------------------------- files as users write them


@pytest.mark.parametrize("bare", ["no", "yes", "1", "01", "1e5", "2E65", "0x1F", "1_000", "12:30:45", "2024-01-01", "=", "<<", ".inf", "on",
                                  "null", "~", "-1", "0o7", "2024-99-99", "+1", "1.0"])  # fmt: skip
def test_a_bare_label_is_read_as_its_text(bare: str) -> None:
    text = f"data:\n  task: {bare}\n  custom:\n    labels: [{bare}, x]\n    label_names:\n    - {bare}\n    - x\n    positive: {bare}\n"
    for read in READERS.values():
        if read in (yaml.safe_load, READERS["jsonargparse"]):
            continue
        custom = read(text)["data"]["custom"]
        assert (custom["labels"], custom["label_names"]) == ([bare, "x"], [bare, "x"])
        assert custom["positive"] == (None if bare in ("null", "~") else bare)


def test_values_of_other_keys_are_converted() -> None:
    text = "model: {learning_rate: 1e-5, freeze: null}\ndata: {batch_size: 8, custom: {class_weights: [1, 2.5], decimal_comma: yes}}\n"
    assert load_settings(text) == get_loader("yaml")(text)
    assert read_config(text) == yaml.safe_load(text)
    for value in ("1e-5", "[1, 2]", "{a: 1}", "yes", "x.csv", "a: [", "", "- a"):
        with_ours, with_theirs = (_read(read, value) for read in (load_settings, get_loader("yaml")))
        assert with_ours == with_theirs


def _read(read: Callable[[str], Any], text: str) -> Any:
    try:
        return read(text)
    except yaml.YAMLError as error:
        return type(error)


def test_texts_are_found_in_single_sections_and_merge_keys() -> None:
    assert load_settings("{labels: [no, yes], kind: classification}")["labels"] == ["no", "yes"]
    assert load_settings("{task: 2024, custom: {label: 1}, batch_size: 4}") == {
        "task": "2024",
        "custom": {"label": "1"},
        "batch_size": 4,
    }
    merged = "x: &x {labels: [no, yes], label: 1}\ndata: {custom: {<<: *x, text: on}}\n"
    for read in (read_config, load_settings):
        assert read(merged)["data"]["custom"] == {"labels": ["no", "yes"], "label": "1", "text": "on"}
    assert load_settings("{class_path: A, init_args: {labels: [1, 2]}}") == {
        "class_path": "A",
        "init_args": {"labels": [1, 2]},
    }
    assert tag_texts(yaml.compose("[1, 2]")) == tag_texts(None) == []


def test_tags_are_not_texts() -> None:
    with pytest.raises(yaml.constructor.ConstructorError):
        read_config("data: {task: !!python/name:os.system x}")


# ---------------------------------------------------------------- the command line


def test_only_labels_and_columns_are_always_texts(parser: Parser) -> None:
    """The values of other keys become hyperparameters, and a checkpoint holds plain values alone."""
    found = parser.parse_args(["fit", "--data={task: 2024, source: x.csv, custom: {text: 1}}"])
    assert (type(found.data.task), found.data.task) == (str, "2024")
    assert type(found.data.custom.text) is Text


@pytest.fixture(scope="module")
def parser() -> Parser:
    parser = Parser()
    parser.add_argument("command")
    add_trainer_model_and_data(parser)
    add_checkpoints(parser)
    parser.add_argument("--config", action="config")
    return parser


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(st.lists(MEANINGFUL, min_size=2, max_size=3))
@example(["null", "~"])
@example(["#a", "&a"])
def test_the_parser_keeps_texts(parser: Parser, tmp_path_factory: pytest.TempPathFactory, labels: list[str]) -> None:
    custom = {"text": labels[0], "label": labels[1], "labels": labels, "label_names": labels, "positive": labels[-1]}
    file = tmp_path_factory.getbasetemp() / "labels.yaml"
    file.write_text(dump_config({"data": {"custom": custom}}), encoding="utf-8")
    flags = [f"--data.custom.{key}={to_flag(value)}" for key, value in custom.items() if isinstance(value, list)]
    for arguments in (["fit", f"--config={file}"], ["fit", f"--data.custom={to_flag(custom)}"], ["fit", *flags]):
        found = parser.parse_args(arguments).data.custom
        assert found.labels == found.label_names == labels
        if len(arguments) == 2:
            assert (found.text, found.label, found.positive) == (labels[0], labels[1], labels[-1])


@pytest.mark.parametrize(
    "value", ["yes", "1", "2E65", "#a", "&a", "a: b", "{a}", "~a", "[a", "2024-01-01", "=", "a b", "True"]
)
def test_a_text_on_the_command_line_is_not_converted(parser: Parser, value: str) -> None:
    for arguments in ([f"--data.custom.{key}={value}" for key in ("text", "positive")],
                      ["--data.custom.text", value, "--data.custom.positive", value]):  # fmt: skip
        found = parser.parse_args(["fit", *arguments]).data.custom
        assert (found.text, found.positive) == (value, value)


def test_lists_on_the_command_line_keep_their_texts(parser: Parser) -> None:
    found = parser.parse_args(
        ["fit", "--data.custom.text=[1, no]", "--data.custom.labels", "[0x1F, ~]", "--data.custom.labels+=no"]
    )
    assert (found.data.custom.text, found.data.custom.labels) == (["1", "no"], ["0x1F", "~", "no"])
    for said in (["--data.custom.positive", "-1"], ["--data.custom.positive=-1"]):
        assert parser.parse_args(["fit", *said]).data.custom.positive == "-1"
    with pytest.raises(UsageError, match=r"--data.custom.positive needs a value"):
        parser.parse_args(["fit", "--data.custom.positive", "--data.batch_size", "4"])
    assert parser.parse_args(["fit", "--data.task={label}"]).data.task == "{label}"
    assert keep_custom_texts(["--data.batch_size", "4", "--data.custom.labels"]) == [
        "--data.batch_size",
        "4",
        "--data.custom.labels",
    ]
    assert parser.parse_args(["fit", "--data.custom.text=null", "--data.custom.positive=~"]).data.custom.text is None


def test_the_environment_comes_before_flags(parser: Parser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLUE_LIT_FIT__DATA__CUSTOM__LABELS", "[no, yes]")
    monkeypatch.setenv("GLUE_LIT_FIT__DATA__CUSTOM__POSITIVE", "#no")
    custom = parser.parse_args(["fit"]).data.custom
    assert custom.labels == ["no", "yes"]
    assert custom.positive == "#no"
    assert parser.parse_args(["fit", "--data.custom.labels=[a, b]"]).data.custom.labels == ["a", "b"]


def test_a_text_behaves_like_a_string() -> None:
    assert Text("1") == "1"
    assert dump_config([Text("no"), Text("a")]) == "- 'no'\n- a\n"


class Colour(Enum):
    RED = 1


class Level(IntEnum):
    HIGH = 2


class Spelled(StrEnum):
    NO = "no"


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (Colour.RED, "RED"),
        (Level.HIGH, 2),
        (Spelled.NO, "no"),
        (Path("data/train.csv"), "data/train.csv"),
        (timedelta(hours=1), "1:00:00"),
        ((1, "a"), [1, "a"]),
        ({"b", "a"}, ["a", "b"]),
        (frozenset({2, 1}), [1, 2]),
        (deque([1]), [1]),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (torch.device("cpu"), "cpu"),
        (torch.float16, "torch.float16"),
        (Path, f"{Path.__module__}.Path"),
        (json.dumps, "json.dumps"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_default_of_a_class_is_written_as_yaml(value: Any, read: Any) -> None:
    for reader in READERS.values():
        assert reader(dump_config({"a": {"b": value}})) == {"a": {"b": read}}


def test_values_without_a_yaml_form_are_not_written() -> None:
    with pytest.raises(yaml.YAMLError, match="cannot represent an object"):
        dump_config({"a": object()})


def test_the_work_of_reading_labels_grows_with_their_number_and_not_with_its_square(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A run of 10,000 labels took minutes to be read: jsonargparse copied all labels for each of them."""
    from jsonargparse import _typehints

    parser = Parser()
    add_trainer_model_and_data(parser)
    copied: list[int] = []

    def count(labels: int) -> int:
        names = [f"label {number}" for number in range(labels)]
        custom = {"text": "a", "label": names, "labels": names, "label_names": names, "class_weights": [0.5] * labels}
        file = tmp_path / f"{labels}.yaml"
        file.write_text(dump_config({"data": {"task": "own", "custom": custom}, "model": {"name_or_path": "x"}}))
        copied.clear()
        found = parser.parse_path(str(file), defaults=False)
        assert found.data.custom.as_dict() == custom
        return len(copied)

    def counting(value: Any) -> Any:
        copied.append(1)
        return copy.deepcopy(value)

    monkeypatch.setattr(_typehints, "deepcopy", counting)
    assert count(50) == count(5)
