"""The hash of a large file is read from the cache only while the file is the same."""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from glue_lit.data import file_digest
from glue_lit.data.cache import cache_folder
from glue_lit.data.file_digest import file_digest as digest_of


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rewritten(path: Path) -> Path:
    """The file with other content of the same size, and the old time of its last change."""
    status = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return path


def replaced(path: Path) -> Path:
    """Another file of the same size and time in its place."""
    other = path.with_name("other")
    other.write_bytes(path.read_bytes()[::-1])
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    return other.rename(path)


@pytest.mark.parametrize("change", [rewritten, replaced])
def test_a_kept_hash_holds_for_the_same_file_alone(
    change: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLUE_LIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(file_digest, "_LARGE", 10)
    monkeypatch.setattr(file_digest, "_SETTLED", 0)
    (path := tmp_path / "rows.csv").write_text("text,label\na,b\n")
    small = tmp_path / "small.csv"
    small.write_text("text")
    for each in (path, small):
        assert digest_of(each) == sha256(each)
    (kept,) = cache_folder().iterdir()
    file_digest._known.clear()
    with monkeypatch.context() as again:
        again.setattr(file_digest.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
        assert digest_of(path) == sha256(path)
    file_digest._known.clear()
    kept.write_text("{}")
    assert digest_of(path) == sha256(path)
    time.sleep(0.02)  # longer than a tick of the file system's clock
    change(path)
    assert digest_of(path) == sha256(path)


def test_a_file_that_has_just_changed_is_read_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_digest, "_LARGE", 10)
    monkeypatch.setattr(file_digest, "_SETTLED", 60_000_000_000)
    (path := tmp_path / "rows.csv").write_text("text,label\na,b\n")
    assert digest_of(path) == sha256(path)
    assert digest_of(rewritten(path)) == sha256(path)
