"""Errors of configuration files, and the lines of their keys."""

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from glue_lit.errors import UsageError
from glue_lit.runs.config_file import check_config, find_key

Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write ``configs/cola.yaml`` and return its name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()

    def write_config(text: str) -> str:
        Path("configs/cola.yaml").write_text(text, encoding="utf-8")
        return "configs/cola.yaml"

    return write_config


def fails(file: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        check_config(file)
    assert caught.value.exit_code == 2


GOOD = """\
# the paper's settings
seed_everything: 42
data:
  task: cola
  batch_size: 32
model: {learning_rate: 2e-5, name_or_path: "bert-base-cased"}
trainer:
  callbacks:
    - class_path: A
      init_args: {a: 1}
    - class_path: B
      init_args: {a: 2}
"""


def test_a_good_file_passes(write: Write) -> None:
    check_config(write(GOOD))


@pytest.mark.parametrize("text", ["\ufeffdata:\n  task: cola\n", "data:\r\n  task: cola\r\n", "---\ndata: {}\n...\n"])
def test_byte_order_marks_and_line_ends_of_editors_are_accepted(write: Write, text: str) -> None:
    check_config(write(text))


def test_a_missing_file_names_the_nearest(write: Write) -> None:
    write(GOOD)
    Path("configs/rte.yaml").write_text(GOOD, encoding="utf-8")
    fails(
        "configs/colla.yaml",
        "--config: there is no file 'configs/colla.yaml'. Did you mean 'configs/cola.yaml'? "
        "There are configs/cola.yaml, configs/rte.yaml.",
    )
    fails("configs", "--config: there is no file 'configs'.")
    fails("nowhere/cola.yaml", "--config: there is no file 'nowhere/cola.yaml'.")


def test_a_folder_or_pipe_in_place_of_a_file_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--config /dev/zero: a pipe or a device, not a file"):
        check_config("/dev/zero")


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
def test_an_empty_file_is_refused(write: Write, text: str) -> None:
    fails(
        write(text), "--config configs/cola.yaml: the file is empty. It needs sections as in `data:` with `task: cola`"
    )


@pytest.mark.parametrize("text", ["- data\n- model\n", "cola\n", "data.task\n", "[1, 2]\n"])
def test_a_file_without_sections_is_refused(write: Write, text: str) -> None:
    fails(write(text), "--config configs/cola.yaml: the file does not start with a section. It needs sections as in")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("data:\n  task: cola\n batch_size: 3\n", 3),
        ("data:\n\ttask: cola\n", 2),
        ("data:\n  task: [cola\n", 3),
        ("data:\n  task: cola: x\n", 2),
        ("data:\n  task: 'cola\n\n", 4),
        ("data: 1\n---\ndata: 2\n", 2),
        ("data: *none\n", 1),
    ],
)
def test_invalid_yaml_names_the_line(write: Write, text: str, line: int) -> None:
    fails(write(text), f"--config configs/cola.yaml, line {line}: not YAML (")


def test_a_control_character_is_not_yaml(write: Write) -> None:
    fails(write("data:\n  task: co\x00la\n"), "--config configs/cola.yaml: not YAML (unacceptable character #x0000")


def test_not_utf8_names_the_line(write: Write) -> None:
    file = write("")
    Path(file).write_bytes(b"data:\n  task: cola\n# caf\xe9\n")
    fails(file, "--config configs/cola.yaml, line 3: not UTF-8.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "data:\n  task: cola\nmodel: {}\ndata:\n  task: rte\n",
            "line 4: data is given twice, first on line 1; keep one.",
        ),
        ("data:\n  task: cola\n\n  task: rte\n", "line 4: data.task is given twice, first on line 2; keep one."),
        ("a:\n  b: {c: 1, d: 2, c: 3}\n", "line 2: a.b.c is given twice, first on line 2; keep one."),
        ("a: 1\n'a': 2\n", "line 2: a is given twice, first on line 1; keep one."),
    ],
)
def test_a_key_given_twice_names_both_lines(write: Write, text: str, message: str) -> None:
    # YAML parsers silently take the last one: half of the file would be ignored.
    fails(write(text), f"--config configs/cola.yaml, {message}")


def test_the_same_key_in_two_sections_is_allowed(write: Write) -> None:
    check_config(write("data:\n  task: cola\nmodel:\n  task: cola\n"))


def test_a_mapping_that_contains_itself_is_refused(write: Write) -> None:
    with pytest.raises(UsageError):
        check_config(write("data: &x\n  task: *x\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data:\n  <<: 3\n", "line 2: not YAML (expected a mapping"),
        ("data:\n  task: !!python/object/apply:os.system [true]\n", "line 2: not YAML (could not determine a constr"),
        ("data:\n  batch_size: 2026-99-99\n", "not YAML (month must be in 1..12"),
        ("data:\n  ? [a]\n  : b\n", "line 2: not YAML (found unhashable key"),
    ],
)
def test_values_that_yaml_cannot_build_are_refused(write: Write, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        check_config(write(text))


def test_aliases_that_would_fill_the_memory_are_refused(write: Write) -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{new}: &{new} [{', '.join(['*' + old] * 9)}]" for old, new in pairwise("abcdefghij")]
    with pytest.raises(UsageError, match=r"with its aliases written out it has \d[\d,]+ values, allowed: 100,000\."):
        check_config(write("\n".join(lines)))
    check_config(write("\n".join(lines[:3])))  # a size that is allowed


@pytest.mark.parametrize("text", ["data: &x [1, *x]\n", "data: &x\n  - task: *x\n"])
def test_a_list_that_contains_itself_is_refused(write: Write, text: str) -> None:
    with pytest.raises(UsageError, match="line 1: a value contains itself"):
        check_config(write(text))


def test_the_deepest_allowed_nesting_is_read(write: Write) -> None:
    check_config(write("a: " + "[" * 99 + "]" * 99 + "\n"))
    with pytest.raises(UsageError, match="nested too deeply"):
        check_config(write("a: " + "[" * 100 + "]" * 100 + "\n"))


@pytest.mark.parametrize("text", ["[" * 100_000, "a: " + "[" * 5000 + "]" * 5000, "a: " + "{a: " * 5000])
def test_deeper_nesting_is_refused(write: Write, text: str) -> None:
    with pytest.raises(UsageError, match="nested too deeply"):
        check_config(write(text))


# ---------------------------------------------------------------- a key and its line


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("data.task", (4, "cola")),
        ("data.batch_size", (5, "32")),
        ("model.name_or_path", (6, "bert-base-cased")),
        ("seed_everything", (2, "42")),
        ("data", (3, None)),
        ("data.source", None),
        ("data.task.deeper", None),
        ("nothing.at.all", None),
    ],
)
def test_a_key_is_found_with_its_line(write: Write, key: str, found: tuple[int, str | None] | None) -> None:
    assert find_key(write(GOOD), key) == found


def test_an_unreadable_file_has_no_keys(write: Write) -> None:
    assert find_key("configs/none.yaml", "data.task") is None
    assert find_key(write("data: ["), "data.task") is None
    assert find_key(write("- data\n"), "data.task") is None
