"""Standard streams in any locale: files are UTF-8, and characters that cannot be printed become escape codes."""

import codecs
import locale
import os
import sys
from pathlib import Path
from typing import Any

_OURS = ("glue-lit", "glue_lit")


def restart_in_utf8_mode() -> None:
    """Restart this process in Python's UTF-8 mode if the locale has another encoding.

    Libraries open files without an encoding, and would misread labels in a run's configuration. The terminal still
    gets the encoding of the locale, unless that is ASCII.
    """
    is_utf8 = sys.flags.utf8_mode or codecs.lookup(locale.getencoding()).name == "utf-8"
    own = any(Path(argument).name in _OURS for argument in sys.orig_argv[1:3])  # not a test or another program
    if is_utf8 or not own:
        return
    environment = {**os.environ, "PYTHONUTF8": "1"}
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    if codecs.lookup(encoding).name != "ascii":
        environment.setdefault("PYTHONIOENCODING", encoding)
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def replace_closed_streams() -> None:
    """Open the null device for standard streams that were closed before this process started.

    Otherwise the next file opened, perhaps a checkpoint, gets the stream's descriptor, and libraries and child
    processes print into it. ``sys.stdin`` stays ``None``, which means no input.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest free descriptor
        if number and getattr(sys, name) is None:
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115


def escape_unencodable() -> None:
    """Make standard output and error write characters that their encoding lacks as escape codes."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure") and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


def is_utf8(stream: Any) -> bool:
    """Whether a stream's encoding is UTF-8."""
    return codecs.lookup(getattr(stream, "encoding", None) or "utf-8").name == "utf-8"
