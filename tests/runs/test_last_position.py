import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from glue_lit.runs import checkpoints
from glue_lit.runs.checkpoints import AtomicCheckpointIO
from glue_lit.runs.last_position import read_last_position


def save(folder: Path, epoch: int, step: int, name: str = "last.ckpt") -> Path:
    """Write a checkpoint as a fit does."""
    content = {"epoch": epoch, "global_step": step, "state_dict": {"weight": torch.full((8,), float(step))}}
    AtomicCheckpointIO().save_checkpoint(content, folder / name)
    return folder / name


def test_only_last_ckpt_has_its_position_beside_it(tmp_path: Path) -> None:
    last = save(tmp_path, 2, 70_000)
    assert json.loads((tmp_path / "last.json").read_text())["step"] == 70_000
    assert read_last_position(last) == (3, 70_000)
    save(tmp_path, 0, 8, "best.ckpt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.ckpt", "last.ckpt", "last.json"]


def test_the_position_is_read_from_the_json(tmp_path: Path) -> None:
    last = save(tmp_path, 0, 8)
    position = json.loads((tmp_path / "last.json").read_text())
    (tmp_path / "last.json").write_text(json.dumps(position | {"epoch": 5, "step": 40}))
    assert read_last_position(last) == (5, 40)


def test_a_moved_run_keeps_its_position(tmp_path: Path) -> None:
    save(tmp_path / "old", 1, 16)
    shutil.copytree(tmp_path / "old", tmp_path / "new", copy_function=shutil.copyfile)  # copies get new times
    assert read_last_position(tmp_path / "new" / "last.ckpt") == (2, 16)


def test_the_position_of_another_checkpoint_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last = save(tmp_path, 0, 8)
    shutil.copyfile(save(tmp_path, 3, 32, "best.ckpt"), last)
    assert read_last_position(last) == (4, 32)
    # Killed between the two writes.
    monkeypatch.setattr(checkpoints, "write_last_position", lambda *_: None)
    assert read_last_position(save(tmp_path, 4, 40)) == (5, 40)


@pytest.mark.parametrize("saved", ["", "[]", "{}", "[" * 99_999])
def test_a_damaged_position_is_ignored(saved: str, tmp_path: Path) -> None:
    last = save(tmp_path, 0, 8)
    (tmp_path / "last.json").write_text(saved)
    assert read_last_position(last) == (1, 8)


@pytest.mark.parametrize("damage", [{"epoch": "5"}, {"epoch": 5, "step": True}, {"step": None}])
def test_a_position_without_numbers_is_ignored(damage: dict[str, Any], tmp_path: Path) -> None:
    last = save(tmp_path, 0, 8)
    position = json.loads((tmp_path / "last.json").read_text())
    (tmp_path / "last.json").write_text(json.dumps(position | damage))
    assert read_last_position(last) == (1, 8)


@pytest.mark.parametrize(("epoch", "step"), [(0, 0), (0, 255), (0, 256), (255, 65_535), (300, 65_536), (0, 2**31 - 1)])
def test_the_position_of_an_earlier_version_is_read_from_the_checkpoint(epoch: int, step: int, tmp_path: Path) -> None:
    last = save(tmp_path, epoch, step)
    (tmp_path / "last.json").unlink()
    assert read_last_position(last) == (epoch + 1, step)


def test_a_full_disk_does_not_fail_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "last.json").mkdir()
    last = save(tmp_path, 0, 8)
    assert read_last_position(last) == (1, 8)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04", {"global_step": 8}])
def test_a_file_without_a_position_has_none(content: Any, tmp_path: Path) -> None:
    last = tmp_path / "last.ckpt"
    if isinstance(content, dict):
        torch.save(content, last)
    elif content is not None:
        last.write_bytes(content)
    assert read_last_position(last) == (None, None)
