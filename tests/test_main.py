import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import glue_lit.__main__ as entry
from glue_lit import __version__
from glue_lit.cli.registry import COMMANDS
from glue_lit.errors import DataError

HEAVY = {"torch", "transformers", "datasets", "lightning", "torchmetrics", "jsonargparse"}


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Exit status of `glue-lit ARGUMENTS`, in this process."""
    monkeypatch.setattr(sys, "argv", ["glue-lit", *arguments])
    try:
        entry.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["vlidate"],
        ["tasks"],
        ["runs"],
        ["runs", "--json"],
        ["submit", "--check", "no.zip"],
        ["submit", "no_run"],
        ["report", "no_run"],
    ],
)
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys\n"
        f"sys.argv = ['glue-lit', *{arguments!r}]\n"
        "from glue_lit.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', sorted({HEAVY!r} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("HEAVY []\n")


def test_help_names_every_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--help") == 0
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text and command.help in text for name, command in COMMANDS.items())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, name, "--help") == 0
    assert re.match(rf"usage: glue-lit (\[options\] )?{name} ", capsys.readouterr().out)


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"glue-lit {__version__}\n"


def test_misspelt_command_names_the_nearest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "vlidate") == 2
    assert "no command 'vlidate'. Did you mean 'validate'? The commands are: fit, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (DataError("file, line 3: bad"), 1, "glue-lit: error: file, line 3: bad\n"),
        (OSError("disk\nfull"), 1, "glue-lit: error: OSError: disk full (GLUE_LIT_DEBUG=1 shows the traceback.)\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_any_error_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    message: str,
) -> None:
    def fail(arguments: list[str]) -> None:
        raise error

    monkeypatch.delenv("GLUE_LIT_DEBUG", raising=False)
    monkeypatch.setattr(entry, "_run", fail)
    assert run(monkeypatch, "fit") == status
    assert capsys.readouterr().err == message


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLUE_LIT_DEBUG", "1")
    with pytest.raises(ValueError, match="no command"):
        run(monkeypatch, "nothing")


def test_a_closed_pipe_is_no_error() -> None:
    # `glue-lit tasks | head -0`: the reader is gone before the first line is written
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, "-m", "glue_lit", "tasks"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert result.stderr == ""


@pytest.mark.parametrize("rank", ["x", "", "-1", "²"])
def test_a_rank_that_is_no_number_hides_no_message(
    rank: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOCAL_RANK", rank)
    assert run(monkeypatch, "nothing") == 2
    assert capsys.readouterr().err.startswith("glue-lit: error: there is no command 'nothing'")


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_stream_that_is_closed_gives_its_number_to_no_file(closed: int, tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "from glue_lit.__main__ import main\n"
        "sys.argv = ['glue-lit', 'tasks', '--json']\n"
        "main()\n"
        f"assert os.path.samestat(os.fstat({closed}), os.stat(os.devnull))\n"
        "assert open(sys.argv[0] if os.path.exists(sys.argv[0]) else os.devnull).fileno() > 2\n"
    )
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}>&-', "sh", sys.executable, "-c", program], cwd=tmp_path, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


# ---------------------------------------------------------------- Ctrl-C


def test_ctrl_c_at_the_start_of_a_command_prints_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("glue_lit.cli.reporting.replace_closed_streams", interrupted)
    assert run(monkeypatch, "tasks") == 130
    assert capsys.readouterr() == ("", "")


def test_ctrl_c_at_the_end_of_a_command_is_no_error() -> None:
    program = """
import atexit, os, signal, sys
atexit.register(os.kill, os.getpid(), signal.SIGINT)
sys.argv = ["glue-lit", "--version"]
from glue_lit.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("glue-lit ")
