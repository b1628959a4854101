"""Writing checkpoints: after any failure the old file or the new one is there, complete."""

import errno
import os
import re
import resource
import stat
from pathlib import Path
from typing import Any

import pytest
import torch

from glue_lit.errors import RunError
from glue_lit.runs.checkpoints import AtomicCheckpointIO, read_checkpoint, unfinished_checkpoints


def content(**other: Any) -> dict[str, Any]:
    """The smallest content of a checkpoint of this program."""
    return {"state_dict": {"weight": torch.arange(2048.0)}, "hyper_parameters": {"architecture": "{}"}, **other}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An earlier checkpoint."""
    path = tmp_path / "some.ckpt"
    torch.save(content(), path)
    return path


def test_a_new_checkpoint_replaces_the_old_one(file: Path) -> None:
    AtomicCheckpointIO().save_checkpoint(content(epoch=7), file)
    assert read_checkpoint(file)["epoch"] == 7
    assert [path.name for path in file.parent.iterdir()] == ["some.ckpt"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_a_checkpoint_is_written_beside_its_target_first(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A rename is atomic within one file system, and fails between two.
    replace, sources = os.replace, []
    monkeypatch.setattr(os, "replace", lambda source, to: (sources.append(Path(source)), replace(source, to)))
    AtomicCheckpointIO().save_checkpoint(content(), file)
    assert [source.parent for source in sources] == [file.parent]


def test_the_folder_of_a_checkpoint_is_made(tmp_path: Path) -> None:
    AtomicCheckpointIO().save_checkpoint(content(epoch=0, global_step=8), str(tmp_path / "new/folder/last.ckpt"))
    assert read_checkpoint(tmp_path / "new/folder/last.ckpt")


def half(_: object, to: Any) -> None:
    to.write(b"PK\x03\x04" + bytes(1000))
    raise RuntimeError("[enforce fail at inline_container.cc:672]\n . unexpected pos 704 vs 598")


def no_room(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("owner", [torch, os], ids=lambda owner: str(owner.__name__))
def test_a_full_disk_leaves_the_old_checkpoint(file: Path, monkeypatch: pytest.MonkeyPatch, owner: Any) -> None:
    before = file.read_bytes()
    monkeypatch.setattr(owner, "save" if owner is torch else "fsync", no_room)
    expected = f"Cannot write the checkpoint {file} (No space left on device). The earlier some.ckpt is kept."
    with pytest.raises(RunError, match=re.escape(expected)):
        AtomicCheckpointIO().save_checkpoint(content(epoch=7), file)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["some.ckpt"]


def test_a_failed_write_leaves_the_old_checkpoint(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file.read_bytes()
    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(
        RunError, match=r"some\.ckpt \(\[enforce fail .*\] \. unexpected pos .*\)\. The earlier some\.ckpt"
    ):
        AtomicCheckpointIO().save_checkpoint(content(epoch=7), file)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["some.ckpt"]


@pytest.mark.parametrize("room", [10, 5_000, 8_000])
def test_a_file_size_limit_leaves_the_old_checkpoint(file: Path, room: int) -> None:
    before = file.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    message = ""
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        AtomicCheckpointIO().save_checkpoint(content(epoch=7), file)
    except RunError as error:
        message = str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "The earlier some.ckpt is kept." in message
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["some.ckpt"]


def test_a_failure_at_the_first_checkpoint_mentions_no_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "save", no_room)
    with pytest.raises(RunError, match=r"last\.ckpt \(No space left on device\)\.$"):
        AtomicCheckpointIO().save_checkpoint(content(), tmp_path / "last.ckpt")
    assert list(tmp_path.iterdir()) == []


def test_a_target_below_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(
        RunError, match=r"Cannot write the checkpoint .*file/last\.ckpt \((Not a directory|File exists)"
    ):
        AtomicCheckpointIO().save_checkpoint(content(), tmp_path / "file/last.ckpt")


def test_an_error_that_is_not_the_disks_leaves_the_old_checkpoint(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(Exception, match="pickle"):
        AtomicCheckpointIO().save_checkpoint({"function": lambda: None}, file)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["some.ckpt"]


def test_temporary_files_of_interrupted_writes_are_found(tmp_path: Path) -> None:
    for name in ("last.ckpt", ".last.ckpt.x1.part", ".best.ckpt.y2.part", ".config.yaml.z3", "epoch=1.ckpt"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in unfinished_checkpoints(tmp_path)] == [".best.ckpt.y2.part", ".last.ckpt.x1.part"]
    assert unfinished_checkpoints(tmp_path / "nowhere") == []


def test_the_error_of_an_interrupted_write_names_the_cause(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    message = ""
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        AtomicCheckpointIO().save_checkpoint({"a": torch.ones(100_000)}, tmp_path / "x.ckpt")
    except RunError as error:
        message = str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "x.ckpt (File too large)" in message
