import json
import os
import zipfile
from pathlib import Path

import pytest

from glue_lit.errors import RunError
from glue_lit.runs.prediction_record import (
    checkpoint_fingerprint,
    read_prediction_record,
    update_prediction_record,
    write_prediction_record,
)


def archive(path: Path, *contents: bytes) -> Path:
    """A file in the format of a checkpoint."""
    with zipfile.ZipFile(path, "w") as file:
        for number, content in enumerate(contents):
            file.writestr(f"{path.stem}/data/{number}", content)
    return path


def test_a_record_names_source_and_checkpoint(tmp_path: Path) -> None:
    best = archive(tmp_path / "best.ckpt", b"weights")
    path = tmp_path / "test.jsonl"
    path.write_text("{}\n")
    write_prediction_record(path, "hub", 1, best, task="cola")
    record = read_prediction_record(path)
    assert record is not None
    assert (record["source"], record["rows"], record["checkpoint"], record["task"]) == ("hub", 1, "best.ckpt", "cola")
    assert record["checkpoint_fingerprint"] == checkpoint_fingerprint(best)
    assert not record["changed"]
    path.write_text("{} \n")
    record = read_prediction_record(path)
    assert record is not None
    assert record["changed"]
    update_prediction_record(path, temperature=2.0)  # by this program
    record = read_prediction_record(path)
    assert record is not None
    assert not record["changed"]
    assert (record["source"], record["temperature"]) == ("hub", 2.0)
    update_prediction_record(tmp_path / "of_others.jsonl")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["best.ckpt", "test.jsonl", "test.provenance.json"]


@pytest.mark.parametrize("content", [None, "no json", "[]", "{}", '{"predictions": 1', "[" * 50_000])
def test_a_missing_or_damaged_record_is_ignored(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text("{}\n")
    if content is not None:
        (tmp_path / "test.provenance.json").write_text(content)
    assert read_prediction_record(path) is None


def test_the_fingerprint_of_a_checkpoint_depends_on_its_content(tmp_path: Path) -> None:
    first, second = archive(tmp_path / "a.ckpt", b"1", b"2"), archive(tmp_path / "b.ckpt", b"1", b"2")
    other = archive(tmp_path / "c.ckpt", b"1", b"3")
    bare = tmp_path / "d.ckpt"
    bare.write_text("not in that format")
    assert checkpoint_fingerprint(first) == checkpoint_fingerprint(second)
    assert len({checkpoint_fingerprint(path) for path in (first, other, bare)}) == 3


def test_a_record_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text("{}\n")
    (tmp_path / "test.provenance.json").mkdir()
    with pytest.raises(RunError, match="Cannot write"):
        write_prediction_record(path, "hub", 1, None)
    assert json.loads(path.read_text()) == {}


def test_a_pipe_in_the_place_of_a_record_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "test.provenance.json")
    assert read_prediction_record(tmp_path / "test.jsonl") is None
