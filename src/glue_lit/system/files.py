"""Files that are written whole or not at all, and small ones that anybody may have written, read."""

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


@contextmanager
def open_atomic_binary(path: Path) -> Iterator[IO[bytes]]:
    """A file to write into, which takes its name at the end, if all went well; else what was there is left.

    A device or a pipe (``/dev/null``) is written to as it is, and a link goes on leading to its file.

    Raises:
        RunError: It cannot be written.
    """
    part = None
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            with path.open("wb") as file:
                yield file
            return
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(part, 0o644)
        os.replace(part, target)
    except OSError as error:
        raise RunError(f"Cannot write {path} ({error.strerror}).") from None
    finally:
        if part is not None:
            Path(part).unlink(missing_ok=True)


@contextmanager
def open_atomic(path: Path) -> Iterator[IO[str]]:
    """The same for UTF-8 text with LF line ends."""
    with open_atomic_binary(path) as file, io.TextIOWrapper(file, encoding="utf-8", newline="\n") as text:
        yield text


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        RunError: It cannot be written; an earlier file of that name is left as it was.
    """
    with open_atomic(path) as file:
        file.write(text)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write ``metrics.json``; an undefined metric (NaN) becomes ``null``, which JSON has and NaN isn't in it."""
    write_text(path, json.dumps(to_json_values(values), indent=2, ensure_ascii=False) + "\n")


def check_regular(path: Path) -> None:
    """Stop at a pipe, a device or a folder: to open a pipe would mean to wait for its writer.

    Raises:
        OSError: It is no file, or not there.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        what = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(what, "not a file" if what == errno.EINVAL else os.strerror(what), str(path))


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        OSError: It is no file, or cannot be read.
        ValueError: It is not UTF-8, no JSON, or nested too deeply.
    """
    check_regular(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def to_json_values(value: Any) -> Any:
    """A value as JSON can hold it: tuples become lists, and a number that is none (NaN) becomes nothing."""
    if isinstance(value, dict):
        return {key: to_json_values(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_values(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
