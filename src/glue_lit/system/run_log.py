"""The log of a fit: what it prints, as text in its run directory.

It imports nothing heavy, since it must work when an import fails.
"""

import contextlib
import logging
import os
import stat
import sys
from collections import deque
from datetime import datetime
from pathlib import Path
from shlex import join
from typing import IO

from glue_lit.system.printable import printable_lines

NAME = "log.txt"
_MOST_WAITING = 1000  # lines that are kept until there is a run directory
_LIBRARIES = ("lightning.pytorch", "lightning.fabric", "transformers", "datasets", "huggingface_hub")


class RunLog(logging.Handler):
    """Keep lines until the run directory is known, then append them to ``log.txt``, one by one.

    It is also a handler of the libraries' loggers, so that it gets their warnings.

    Args:
        command: The command line after ``glue-lit``.
    """

    def __init__(self, command: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._command = join(["glue-lit", *command])
        self._waiting: deque[str] = deque(maxlen=_MOST_WAITING)
        self._file: IO[str] | None = None
        self._is_closed = False

    def emit(self, record: logging.LogRecord) -> None:
        """Add a message of a library."""
        self.add(record.getMessage())

    def add(self, text: str) -> None:
        """Add a printed text, with control characters as escape codes."""
        text = printable_lines(text)
        if self._file is None:
            self._waiting.append(text)
        else:
            self._write(text)

    def open(self, folder: Path, is_continued: bool) -> None:
        """Append to the log in a run directory; ``is_continued`` if this fit resumes from a checkpoint."""
        if self._file is not None or self._is_closed:
            return
        try:
            self._file = _open_to_append(folder / NAME)
        except OSError as error:
            return self._give_up(error)
        when = datetime.now().astimezone().isoformat(" ", "seconds")
        waiting, self._waiting = [*self._waiting], deque(maxlen=0)
        for text in (f"{'Resumed' if is_continued else 'Started'} {when}: {self._command}", *waiting):
            self._write(text)

    def close(self) -> None:
        """Close the file, and drop later lines."""
        super().close()
        file, self._file, self._is_closed = self._file, None, True
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()

    def _write(self, text: str) -> None:
        try:
            if self._file is not None:
                self._file.write(text + "\n")
                self._file.flush()  # a process that is killed keeps its last line
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Warn, and log no more: a failed log is no reason to end a fit."""
        self.close()
        reason = printable_lines(str(error.strerror or error))
        print(f"glue-lit: warning: {NAME} cannot be written ({reason}); the fit continues without it.", file=sys.stderr)


def _open_to_append(path: Path) -> IO[str]:
    """Open a regular file to append to it, without following a link or waiting for a pipe."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(path, flags, 0o644)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(0, "not a file")
    return os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace", newline="\n")


_LOG: RunLog | None = None


def begin_log(command: list[str]) -> None:
    """Keep what is printed from now on, for the run that is about to start."""
    global _LOG
    end_log()
    _LOG = RunLog(command)
    for name in _LIBRARIES:
        logging.getLogger(name).addHandler(_LOG)


def open_log(folder: Path, is_continued: bool) -> None:
    """Write the log into a run directory, after `begin_log`."""
    if _LOG is not None:
        _LOG.open(folder, is_continued)


def add_to_log(text: str) -> None:
    """Add a printed text to the log, if there is one."""
    if _LOG is not None:
        _LOG.add(text)


def end_log() -> None:
    """End the log, if there is one."""
    global _LOG
    log, _LOG = _LOG, None
    if log is not None:
        log.close()
        for name in _LIBRARIES:
            logging.getLogger(name).removeHandler(log)
