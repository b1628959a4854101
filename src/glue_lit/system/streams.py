"""A locale without UTF-8: files are UTF-8 all the same, and what cannot be printed is written as its code."""

import locale
import os
import sys
from pathlib import Path
from typing import Any

_OURS = ("glue-lit", "glue_lit")


def restart_in_utf8_mode() -> None:
    """Start this process anew in Python's UTF-8 mode if the locale has another encoding.

    Libraries open files without saying in which encoding: a run's configuration would be read with other letters in
    its labels, or not at all. Where the locale has an encoding other than ASCII, the terminal goes on getting that.
    """
    is_utf8 = sys.flags.utf8_mode or locale.getencoding().lower().replace("-", "") == "utf8"
    own = any(Path(argument).name in _OURS for argument in sys.orig_argv[1:3])  # not a test, nor another's program
    if is_utf8 or not own:
        return
    environment = {**os.environ, "PYTHONUTF8": "1"}
    if not _is_ascii(sys.stdout):
        environment.setdefault("PYTHONIOENCODING", str(getattr(sys.stdout, "encoding", "utf-8")))
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def replace_closed_streams() -> None:
    """Put nothing in the place of standard streams that whoever started us has closed.

    Else the next files that are opened, a checkpoint say, would get their numbers, and whatever libraries and child
    processes print would go into them. ``sys.stdin`` stays ``None``, which says that there is no input.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it takes the lowest number that is free
        if number and getattr(sys, name) is None:
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115


def escape_unencodable() -> None:
    """Let standard output and error take every character: what their encoding lacks is written as its code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure") and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


def is_utf8(stream: Any) -> bool:
    """Whether a stream is in UTF-8 and so takes every character as it is."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return str(encoding).lower().replace("-", "") == "utf8"


def _is_ascii(stream: Any) -> bool:
    return str(getattr(stream, "encoding", None) or "ascii").lower() in ("ascii", "ansi_x3.4-1968", "us-ascii")
