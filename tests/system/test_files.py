"""Atomic writes of files."""

import json
import math
import os
import re
import threading
from pathlib import Path

import pytest

from glue_lit.errors import RunError
from glue_lit.system.files import write_json, write_text


def test_a_text_is_written_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "new/folder/text"
    write_text(file, "naïve\nlines\r\n")
    assert file.read_bytes() == "naïve\nlines\r\n".encode()
    assert file.stat().st_mode & 0o777 == 0o644  # other users can read it
    write_text(file, "second")
    assert file.read_text(encoding="utf-8") == "second"
    assert [path.name for path in file.parent.iterdir()] == ["text"]


@pytest.mark.parametrize("step", ["replace", "chmod", "fdopen"])
def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    file = tmp_path / "metrics.json"
    file.write_text("old", encoding="utf-8")

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(RunError, match=re.escape(f"Cannot write {file} (No space left on device).")):
            write_text(file, "new")
    assert file.read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_a_target_below_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(RunError, match=r"Cannot write .*file/metrics\.json \(.+\)\."):
        write_text(tmp_path / "file/metrics.json", "x")


def test_an_undefined_metric_is_null(tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    values = {
        "val/pearson": math.nan,
        "val/loss": math.inf,
        "epoch": 3,
        "task": "stsb",
        "scores": {"a": -math.inf, "b": 0.5},
        "label": "ü",
        "none": None,
    }
    write_json(file, values)

    def no_constant(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    text = file.read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=no_constant) == {
        **values,
        "val/pearson": None,
        "val/loss": None,
        "scores": {"a": None, "b": 0.5},
    }
    assert text.endswith("}\n")
    assert "ü" in text


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-300, 0.8912345678901234])
def test_numbers_keep_all_their_digits(tmp_path: Path, value: float) -> None:
    write_json(tmp_path / "m.json", {"x": value})
    assert json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))["x"] == value


def test_a_pipe_is_written_to_directly_and_a_link_is_kept(tmp_path: Path) -> None:
    pipe, link, target = tmp_path / "pipe", tmp_path / "link", tmp_path / "target"
    os.mkfifo(pipe)
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()), daemon=True)
    reader.start()
    write_text(pipe, "through")
    reader.join(timeout=20)
    assert found == ["through"]
    assert pipe.is_fifo()
    target.write_text("old")
    link.symlink_to("target")
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
