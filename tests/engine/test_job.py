import json
import os
import sys
from pathlib import Path

import pytest

from glue_lit.engine.job import Job, Outcome, Progress, lock_folder
from glue_lit.errors import RunError


def job_in(folder: Path, metrics: str | None = None, checkpoint: bool = False) -> Job:
    """A job whose run has begun."""
    run = folder / "lightning_logs" / "cola" / "version_0"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text("data: {task: cola}")
    if metrics is not None:
        (run / "metrics.json").write_text(metrics)
    if checkpoint:
        (run / "checkpoints" / "last.ckpt").touch()
    return Job("1", folder, ("--data.task", "cola"), "cola")


def test_a_job_is_started_or_resumed(tmp_path: Path) -> None:
    new = Job("1", tmp_path / "new", ("--data.task", "cola"), "cola")
    start = [sys.executable, "-m", "glue_lit", "fit"]
    assert new.command() == [*start, "--data.task", "cola", "--trainer.default_root_dir", str(tmp_path / "new")]
    begun = job_in(tmp_path / "begun", checkpoint=True)
    run = tmp_path / "begun" / "lightning_logs" / "cola" / "version_0"
    begun.request_stop()
    assert begun.stop_requested
    assert begun.command() == [*start, "--run", str(run), "--ckpt_path", "last"]
    assert not begun.stop_requested
    bare = job_in(tmp_path / "bare")  # killed before its first checkpoint: nothing to resume from
    (tmp_path / "bare" / "progress.json").write_text('{"step": 3, "steps": 9, "values": []}')
    assert bare.command()[4:6] == ["--data.task", "cola"]
    assert bare.run is None
    assert bare.read_progress() == Progress()


def test_progress_is_read_from_the_file_of_the_process(tmp_path: Path) -> None:
    job = Job("1", tmp_path, (), "cola")
    assert job.read_progress() == Progress()
    assert job.read_progress().share == 0
    (tmp_path / "progress.json").write_text(json.dumps({"step": 3, "steps": 12, "values": [[1, 0.5], [2, None]]}))
    assert job.read_progress() == Progress(3, 12, ((1, 0.5),))
    assert job.read_progress().share == 0.25
    for damaged in (
        "",
        "{",
        "[]",
        '{"step": 1}',
        '{"step": "x", "steps": 1, "values": []}',
        '{"step":1,"steps":2,"values":3}',
    ):
        (tmp_path / "progress.json").write_text(damaged)
        assert job.read_progress() == Progress()


def test_the_outcome_of_a_job_follows_from_its_status_and_files(tmp_path: Path) -> None:
    done = job_in(tmp_path / "done", '{"metrics": {"val/accuracy": 1.0}}')
    assert done.outcome_from(0) == done.read_outcome() == Outcome("finished")
    assert done.result == {"metrics": {"val/accuracy": 1.0}}
    for number, damaged in enumerate(("[]", '{"metrics": {}}', '{"metrics": {"val/accuracy": "x"}}', "[" * 50_000)):
        assert job_in(tmp_path / str(number), damaged).result is None
    job = job_in(tmp_path / "job", '{"metr')
    assert job.read_outcome() is None
    assert [job.outcome_from(code).state for code in (75, 130, -15)] == ["stopped"] * 3
    assert "memory runs out" in job.outcome_from(-9).error
    assert "without a score" in job.outcome_from(0).error
    (job.folder / "error.txt").write_text("data.source: there is no /a/b.\na second line\n")
    assert job.outcome_from(1) == Outcome("failed", "data.source: there is no /a/b.")
    (job.folder / "error.txt").unlink()
    job.output.write_text("Epoch 1\nSegmentation fault\n\n")
    assert job.outcome_from(1).error == "Segmentation fault"
    job.write_outcome(Outcome("failed", "why"))
    assert job.read_outcome() == Outcome("failed", "why")
    job.command()
    assert job.read_outcome() is None


def test_errors_that_differ_in_numbers_and_paths_are_of_one_kind() -> None:
    one, other = (Outcome("failed", f"CUDA out of memory: {n} MiB in /tmp/{n}/x") for n in (12, 345))
    assert one.error_kind == other.error_kind
    assert one.error_kind != Outcome("failed", "another").error_kind


def test_unneeded_checkpoints_are_deleted(tmp_path: Path) -> None:
    job = job_in(tmp_path, checkpoint=True)
    checkpoints = tmp_path / "lightning_logs" / "cola" / "version_0" / "checkpoints"
    (checkpoints / "best.ckpt").touch()
    (checkpoints / "last.json").touch()
    job.remove_checkpoints(keep_best=True)
    assert [path.name for path in checkpoints.iterdir()] == ["best.ckpt"]
    job.remove_checkpoints(keep_best=False)
    assert not list(checkpoints.iterdir())


def test_a_second_driver_is_refused(tmp_path: Path) -> None:
    handle = lock_folder(tmp_path / "search", "the search")
    with pytest.raises(RunError, match="Another process is working on the search"):
        lock_folder(tmp_path / "search", "the search")
    assert handle is not None
    os.close(handle)
    again = lock_folder(tmp_path / "search", "the search")
    assert again is not None
    os.close(again)
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="Cannot make"):
        lock_folder(tmp_path / "file" / "search", "the search")
