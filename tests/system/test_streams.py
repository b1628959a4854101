"""A locale without UTF-8 changes no file and ends no command."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from glue_lit.system.streams import escape_unencodable, is_utf8

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def glue_lit(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-m", "glue_lit", *arguments], cwd=folder, env={**os.environ, **environment},
        capture_output=True, timeout=240, check=False,
    )  # fmt: skip


def test_letters_of_all_scripts_are_kept(tiny_model: Path, tmp_path: Path) -> None:
    rows = "".join(f"schön 日本 {row},größe{row % 2}\n" for row in range(30))
    (tmp_path / "räume.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    fit = glue_lit(
        tmp_path, "fit", "--data.task=raum", "--data.source=räume.csv", "--data.custom.text=text",
        "--data.custom.label=label", f"--model.name_or_path={tiny_model}", "--trainer.max_epochs=1",
        "--trainer.accelerator=cpu", **ASCII,
    )  # fmt: skip
    assert fit.returncode == 0, fit.stderr
    assert "one of größe0, größe1".encode() in fit.stdout
    assert "größe0" in (tmp_path / "lightning_logs/raum/version_0/config.yaml").read_text(encoding="utf-8")
    found = glue_lit(tmp_path, "predict", "--file", "räume.csv", "--columns", "text", "--output", "-", **ASCII)
    assert found.returncode == 0, found.stderr
    lines = [json.loads(line) for line in found.stdout.decode("utf-8").splitlines()]
    assert {name for line in lines for name in line["probabilities"]} == {"größe0", "größe1"}
    # JSON stays valid where the user wants ASCII output
    line = glue_lit(tmp_path, "predict", "--text", "schön", PYTHONIOENCODING="ascii")
    assert set(json.loads(line.stdout.decode("ascii"))["probabilities"]) == {"größe0", "größe1"}


def test_characters_that_a_terminal_lacks_are_written_as_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", stream)
    escape_unencodable()
    print("größe 日", end="", flush=True)
    assert raw.getvalue() == "größe ".encode("latin-1") + b"\\u65e5"
    assert not is_utf8(stream)
    assert is_utf8(io.TextIOWrapper(io.BytesIO(), encoding="UTF-8"))
    assert is_utf8(io.StringIO())  # a stream without an encoding
