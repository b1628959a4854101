"""What a fit prints, kept as text in its run directory. It imports nothing heavy, so that an error can be kept, too."""

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
_MOST_WAITING = 1000  # lines of before there is a run directory
_LIBRARIES = ("lightning.pytorch", "lightning.fabric", "transformers", "datasets", "huggingface_hub")


class RunLog:
    """Lines for ``log.txt``: held until the run directory is known, then written one by one.

    Args:
        command: The command line after ``glue-lit``.
    """

    def __init__(self, command: list[str]) -> None:
        self._command = join(["glue-lit", *command])
        self._waiting: deque[str] = deque(maxlen=_MOST_WAITING)
        self._file: IO[str] | None = None
        self._is_over = False

    def add(self, text: str) -> None:
        """Add what has been printed; control characters are written as their codes."""
        text = printable_lines(text)
        if self._file is None:
            self._waiting.append(text)
        else:
            self._write(text)

    def open(self, folder: Path, is_continued: bool) -> None:
        """Begin to write below what an earlier part of the run has left there.

        Args:
            folder: The run directory.
            is_continued: Whether this fit goes on with a checkpoint.
        """
        if self._file is not None or self._is_over:
            return
        try:
            self._file = _opened(folder / NAME)
        except OSError as error:
            return self._give_up(error)
        when = datetime.now().astimezone().isoformat(" ", "seconds")
        self.add(f"{'Continued' if is_continued else 'Begun'} {when}: {self._command}")
        waiting, self._waiting = [*self._waiting], deque(maxlen=0)
        for text in waiting:
            self._write(text)

    def close(self) -> None:
        """Write no more."""
        file, self._file, self._is_over = self._file, None, True
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()

    def _write(self, text: str) -> None:
        try:
            if self._file is not None:
                self._file.write(text + "\n")
                self._file.flush()  # what ends a process without a word ends it after its last line
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Go on without a log: what it costs is never the run."""
        self.close()
        reason = printable_lines(str(error.strerror or error))
        print(f"glue-lit: warning: {NAME} cannot be written ({reason}); the fit goes on without.", file=sys.stderr)


def _opened(path: Path) -> IO[str]:
    """The file to append to; a link or a pipe that somebody has put in its place is not followed or waited for."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(path, flags, 0o644)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(0, "not a file")
    return os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace", newline="\n")


class _Records(logging.Handler):
    """Takes what the libraries log, as they print it."""

    def emit(self, record: logging.LogRecord) -> None:
        add_to_log(record.getMessage())


_LOG: RunLog | None = None
_HANDLER = _Records(logging.WARNING)


def begin_log(command: list[str]) -> None:
    """Keep what is printed from now on, for the run that is about to begin."""
    global _LOG
    end_log()
    _LOG = RunLog(command)
    for name in _LIBRARIES:
        logging.getLogger(name).addHandler(_HANDLER)


def open_log(folder: Path, is_continued: bool) -> None:
    """Write it into a run directory, if it is being kept."""
    if _LOG is not None:
        _LOG.open(folder, is_continued)


def add_to_log(text: str) -> None:
    """Add what has been printed, if it is being kept."""
    if _LOG is not None:
        _LOG.add(text)


def end_log() -> None:
    """Keep no more."""
    global _LOG
    log, _LOG = _LOG, None
    if log is not None:
        log.close()
        for name in _LIBRARIES:
            logging.getLogger(name).removeHandler(_HANDLER)
