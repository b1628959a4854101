"""The hash of a file's content, which is kept as long as the file's size and times say that it is the same file."""

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path

from glue_lit.data.cache import cache_folder
from glue_lit.errors import RunError
from glue_lit.system.files import read_json, write_json

_SETTLED = 2_000_000_000  # nanoseconds after which another change of a file has another time
_LARGE = 1 << 26  # bytes of a file whose hash is kept for other processes
_known: dict[str, str] = {}  # of files that this process has read


def file_digest(path: Path) -> str:
    """SHA-256 of a file.

    The hash of a large file is kept in the cache, since reading it takes longer than the rest of a start. It holds for
    one path, inode and size, and one time of the last change of content and of the inode, which no program can set
    back; not for a file that has changed in the last two seconds.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        key = _key(path, status)
        kept = cache_folder() / f"file-{key}.json"
        is_large = status.st_size >= _LARGE and os.name == "posix"  # elsewhere, no time tells each change
        if (digest := _known.get(key) or (_read(kept) if is_large else None)) is None:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            is_settled = time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED
            if is_settled and _key(path, os.fstat(file.fileno())) == key:
                _known[key] = digest
                if is_large:
                    with contextlib.suppress(RunError):
                        write_json(kept, {"sha256": digest})
        return digest


def _key(path: Path, status: os.stat_result) -> str:
    place = [str(path.absolute()), status.st_dev, status.st_ino, status.st_size]
    return hashlib.sha256(json.dumps([*place, status.st_mtime_ns, status.st_ctime_ns]).encode()).hexdigest()[:32]


def _read(path: Path) -> str | None:
    """The hash in a file of the cache; ``None`` if it is missing or damaged."""
    try:
        digest = read_json(path)["sha256"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return digest if isinstance(digest, str) and len(digest) == 64 else None
