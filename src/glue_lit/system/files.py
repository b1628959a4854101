"""Atomic writes; safe reads of JSON."""

import contextlib
import errno
import io
import json
import math
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from glue_lit.errors import RunError

_PART = ".part"  # ends the names of temporary files


def unfinished_files(folder: Path) -> list[Path]:
    """Temporary files in a folder, of a process that is writing or was killed while it wrote."""
    return sorted(folder.glob(f".*{_PART}"))


@contextmanager
def replace_file(path: Path, is_durable: bool = False) -> Iterator[IO[bytes]]:
    """Write a temporary file beside ``path``, then rename it to ``path``: readers find the old file or the new one.

    Args:
        path: The file.
        is_durable: Whether the new file must survive a power cut, which costs a flush to the disk.

    Raises:
        OSError: It cannot be written; the old file is left as it was.
    """
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_PART)
        with os.fdopen(handle, "wb") as file:
            yield file
            if is_durable:
                file.flush()
                os.fsync(file.fileno())
        os.chmod(part, 0o644)
        os.replace(part, path)
        if is_durable:
            _sync_folder(path.parent)
    finally:
        if part is not None:
            with contextlib.suppress(OSError):
                os.unlink(part)


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Let one process of this machine at a time run the block; the end of a process, however it ends, lets the next in.

    Where there are no such locks, all run it.

    Args:
        path: A file of its own for the lock, which exists only meanwhile.
    """
    handle = None
    with contextlib.suppress(ImportError, OSError):  # Windows has no fcntl, and the folder may be read-only
        import fcntl

        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
        fcntl.flock(handle, fcntl.LOCK_EX)
    has_failed = True
    try:
        yield
        has_failed = False
    finally:
        if handle is not None:
            with contextlib.suppress(OSError):
                path.unlink()
                if has_failed:
                    path.parent.rmdir()  # if nothing is in it
            os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Flush a rename to the disk, if the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def open_atomic_binary(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that replaces ``path`` when it is closed without an error.

    A device or a pipe (``/dev/null``) is written to directly. A link is kept, and its target is replaced.

    Raises:
        RunError: It cannot be written.
    """
    try:
        is_special = path.exists() and not path.is_file() and not path.is_dir()
        with path.open("wb") if is_special else replace_file(Path(os.path.realpath(path))) as file:
            yield file
    except OSError as error:
        raise RunError(f"Cannot write {path} ({error.strerror}).") from None


@contextmanager
def open_atomic(path: Path) -> Iterator[IO[str]]:
    """Open a text file like `open_atomic_binary`, in UTF-8 with LF line ends."""
    with open_atomic_binary(path) as file, io.TextIOWrapper(file, encoding="utf-8", newline="\n") as text:
        yield text


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically.

    Raises:
        RunError: It cannot be written; an earlier file is left as it was.
    """
    with open_atomic(path) as file:
        file.write(text)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a JSON file atomically; NaN and infinity become ``null``, since JSON has neither."""
    write_text(path, json.dumps(to_json_values(values), indent=2, ensure_ascii=False) + "\n")


def check_regular(path: Path) -> None:
    """Refuse a pipe, a device or a folder: opening a pipe would wait for its writer.

    Raises:
        OSError: It is not a regular file, or does not exist.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        what = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(what, "not a file" if what == errno.EINVAL else os.strerror(what), str(path))


def read_json(path: Path) -> Any:
    """Read the value in a JSON file.

    Raises:
        OSError: It is not a regular file, or cannot be read.
        ValueError: It is not UTF-8, not JSON, or nested too deeply.
    """
    check_regular(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def short_path(path: Path) -> str:
    """A path relative to the working directory if it is inside it, else absolute."""
    path, here = path.absolute(), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def to_json_values(value: Any) -> Any:
    """Convert a value to what JSON can hold: tuples to lists, NaN and infinity to ``None``."""
    if isinstance(value, dict):
        return {key: to_json_values(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_values(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
