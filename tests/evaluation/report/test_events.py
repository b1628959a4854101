"""Curves from event files, compared with TensorBoard's own reader."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from glue_lit.evaluation.report.events import Curve, read_curves


def write(folder: Path, curves: dict[str, dict[int, float]], suffix: str = "") -> Path:
    before = set(folder.glob("*"))
    with SummaryWriter(str(folder), filename_suffix=suffix) as writer:
        for tag, points in curves.items():
            for step, value in points.items():
                writer.add_scalar(tag, value, step)
    return next(iter(set(folder.glob("*")) - before))


def test_curves_equal_those_of_tensorboard(tmp_path: Path) -> None:
    write(tmp_path, {"train/loss": {9: 0.7, 19: 0.25}, "val/accuracy": {19: 0.5, 39: 0.75}})
    reader = EventAccumulator(str(tmp_path)).Reload()
    curves, problems = read_curves(tmp_path)
    assert problems == []
    assert set(curves) == set(reader.Tags()["scalars"])
    for tag, curve in curves.items():
        assert [(event.step, event.value) for event in reader.Scalars(tag)] == [
            *zip(curve.steps, curve.values, strict=True)
        ]


def test_a_resumed_fit_replaces_repeated_points(tmp_path: Path) -> None:
    write(tmp_path, {"val/loss": {10: 1.0, 20: 2.0, 30: 9.0}}).rename(tmp_path / "events.out.tfevents.100.a")
    write(tmp_path, {"val/loss": {30: 3.0, 40: 4.0}}).rename(tmp_path / "events.out.tfevents.200.a")
    assert read_curves(tmp_path)[0] == {"val/loss": Curve([10, 20, 30, 40], [1.0, 2.0, 3.0, 4.0])}


def test_a_truncated_last_record_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, {"val/loss": {10: 1.0, 20: 2.0}})
    content = path.read_bytes()
    for cut in (1, 5, 20, 30):
        path.write_bytes(content[:-cut])
        assert read_curves(tmp_path) == ({"val/loss": Curve([10], [1.0])}, [])


@pytest.mark.parametrize("place", [0, 8])  # the length, and its checksum
def test_damage_is_reported_and_the_points_before_it_are_kept(place: int, tmp_path: Path) -> None:
    path = write(tmp_path, {"val/loss": {10: 1.0, 20: 2.0}})
    content = bytearray(path.read_bytes())
    last = content.rindex(b"val/loss")
    start = max(at for at in range(last - 40, last) if content[at + 1 : at + 8] == bytes(7) and content[at])
    content[start + place] ^= 0xFF
    path.write_bytes(content)
    curves, problems = read_curves(tmp_path)
    assert problems == [f"{path.name} is damaged (at byte {start}); the curves end there."]
    assert curves == {"val/loss": Curve([10], [1.0])}


def test_a_record_that_is_no_event_is_reported(tmp_path: Path) -> None:
    path = write(tmp_path, {"val/loss": {10: 1.0}})
    content = path.read_bytes()
    path.write_bytes(content[:12] + b"\xff" * (len(content) - 12))
    assert read_curves(tmp_path)[1] == [f"{path.name} is damaged (a record is not an event); the curves end there."]


def test_another_file_is_no_event_file(tmp_path: Path) -> None:
    (tmp_path / "events.out.tfevents.1.host").write_bytes(b"something else altogether, and long enough")
    curves, (problem,) = read_curves(tmp_path)
    assert curves == {}
    assert problem == "events.out.tfevents.1.host is damaged (at byte 0); the curves end there."


def test_neither_torch_nor_tensorflow_is_imported() -> None:
    script = (
        "import sys, glue_lit.evaluation.report.figures, glue_lit.evaluation.report.page, glue_lit.evaluation.report.texts\n"
        "print(sorted({'torch', 'tensorflow', 'datasets', 'transformers', 'lightning'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_pipe_is_reported_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "events.out.tfevents.1.host")
    assert read_curves(tmp_path) == ({}, ["events.out.tfevents.1.host cannot be read (not a file)."])
