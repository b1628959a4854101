"""A locale without UTF-8: files are UTF-8 all the same, and what cannot be printed is written as its code."""

import locale
import os
import sys
from pathlib import Path
from typing import Any

_OURS = ("glue-lit", "glue_lit")


def speak_utf8() -> None:
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


def print_anything() -> None:
    """Let standard output and error take every character: what their encoding lacks is written as its code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure") and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


def takes_all(stream: Any) -> bool:
    """Whether a stream is in UTF-8 and so takes every character as it is."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return str(encoding).lower().replace("-", "") == "utf8"


def _is_ascii(stream: Any) -> bool:
    return str(getattr(stream, "encoding", None) or "ascii").lower() in ("ascii", "ansi_x3.4-1968", "us-ascii")
