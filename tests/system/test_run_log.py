"""log.txt has all that a fit prints, and its errors never end a fit."""

import errno
import io
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import glue_lit

from glue_lit.system import library_warnings as quiet
from glue_lit.system import run_log
from glue_lit.system.console import note, print_list, say
from glue_lit.system.run_log import begin_log, end_log, open_log
from glue_lit.training.callbacks.speed import TrainingSpeed


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warnings, "formatwarning", quiet._format_in_a_line)
    yield
    end_log()


def fit(monkeypatch: pytest.MonkeyPatch, tiny_model: Path, *more: str) -> int:
    return glue_lit(
        monkeypatch, "fit", "--data.source=demo", f"--model.name_or_path={tiny_model}", "--trainer.accelerator=cpu",
        "--trainer.precision=32-true", "--trainer.max_epochs=1", "--data.train_limit=8", "--data.validation_limit=9",
        *more,
    )  # fmt: skip


@pytest.mark.filterwarnings("always:a warning")
def test_the_log_of_a_run_has_the_output_of_all_its_fits(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(monkeypatch, tiny_model) == 0
    log = Path("lightning_logs/cola/version_0/log.txt")
    first, _, rest = log.read_text().partition("\n")
    assert re.fullmatch(
        r"Started \d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d: glue-lit fit --data.source=demo .*", first
    )
    assert rest == capsys.readouterr().out

    def broken(*_: object) -> None:
        warnings.warn("a warning\x1b[31m of a library", stacklevel=1)
        raise RuntimeError("the disk caught fire\x07")

    monkeypatch.setattr(TrainingSpeed, "on_train_start", broken)
    # pytest replaces the function that prints
    monkeypatch.setattr(warnings, "showwarning", lambda *given, **_: print(warnings.formatwarning(*given), end=""))
    assert glue_lit(monkeypatch, "fit", "--ckpt_path=last", "--trainer.max_epochs=2", "--json") == 1
    whole = log.read_text()
    assert whole.startswith(first + "\n" + rest)
    added = whole[len(first) + 1 + len(rest) :].splitlines()
    assert re.fullmatch(r"Resumed .*: glue-lit fit --ckpt_path=last --trainer.max_epochs=2 --json", added[0])
    assert "Checkpoint lightning_logs/cola/version_0/checkpoints/last.ckpt" in added
    assert "glue-lit: warning: a warning\\x1b[31m of a library" in added
    assert added[-1].startswith("glue-lit: error: RuntimeError: the disk caught fire\\x07")
    assert "\x1b" not in whole
    # other commands add nothing
    assert glue_lit(monkeypatch, "validate", "--ckpt_path=best") == 0
    assert log.read_text() == whole


def test_a_table_on_a_terminal_is_logged_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("sys.stdout", Terminal())
    begin_log(["fit", "--data.task", "my task"])
    say("before there is a run")
    open_log(tmp_path, is_continued=False)
    print_list("scores", ("split", "value"), [["validation", "0.5"]], right=("value",))
    note("to standard\terror")
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert lines[0].endswith(": glue-lit fit --data.task 'my task'")
    assert lines[1:] == [
        "before there is a run",
        "scores",
        "split       value",
        "validation    0.5",
        "to standard\\terror",
    ]


def test_a_full_disk_ends_the_log_not_the_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin_log(["fit"])
    open_log(tmp_path, is_continued=False)
    assert run_log._LOG is not None

    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert run_log._LOG._file is not None
    run_log._LOG._file.close()
    run_log._LOG._file = Full()
    say("one")
    say("two")
    captured = capsys.readouterr()
    assert captured.out == "one\ntwo\n"
    assert captured.err == (
        "glue-lit: warning: log.txt cannot be written (No space left on device); the fit continues without it.\n"
    )


@pytest.mark.parametrize("what", ["folder", "link", "pipe"])
def test_other_files_named_log_txt_are_kept(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.txt"
    other.write_text("precious")
    place = tmp_path / "log.txt"
    if what == "folder":
        place.mkdir()
    elif what == "link":
        place.symlink_to(other)
    else:
        os.mkfifo(place)
    begin_log(["fit"])
    open_log(tmp_path, is_continued=True)
    say("hello")
    assert "log.txt cannot be written" in capsys.readouterr().err
    assert other.read_text() == "precious"
