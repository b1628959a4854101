"""Run directories: finding, locking and creating them."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from glue_lit.errors import RunError
from glue_lit.runs.locks import check_unlocked, is_locked, lock_run
from glue_lit.runs.run import (
    LOGS,
    Run,
    best_checkpoint,
    claim_version,
    find_runs,
    newest_run,
    open_run,
    run_of_checkpoint,
    run_of_slurm_job,
    version_of,
)

MakeRun = Callable[..., Path]


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log folder of the working directory."""
    monkeypatch.chdir(tmp_path)
    return Path(LOGS)


@pytest.fixture
def make_run(logs: Path) -> MakeRun:
    """Create a run like that of a fit, newer than all earlier ones."""
    made: list[Path] = []

    def make(task: str, version: int, *checkpoints: str) -> Path:
        folder = logs / task / f"version_{version}"
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "config.yaml").write_text(f"data:\n  task: {task}\n", encoding="utf-8")
        made.append(folder)
        os.utime(folder / "config.yaml", (1_000_000 + len(made), 1_000_000 + len(made)))
        for name in checkpoints:
            (folder / "checkpoints" / name).write_bytes(b"")
        return folder

    return make


# ---------------------------------------------------------------- finding


def test_runs_are_found_oldest_first(logs: Path, make_run: MakeRun) -> None:
    made = [make_run("cola", 10), make_run("cola", 2), make_run("rte", 0)]
    assert [run.path for run in find_runs(logs)] == made  # by time, not by name
    assert [run.path for run in find_runs(logs, "cola")] == made[:2]
    assert newest_run(logs).path == made[2]
    assert newest_run(logs, "cola").path == made[1]


def test_runs_of_the_same_time_are_ordered_by_number(logs: Path, make_run: MakeRun) -> None:
    for version in (9, 10, 2):
        os.utime(make_run("cola", version) / "config.yaml", (5, 5))
    assert [version_of(run.path) for run in find_runs(logs)] == [2, 9, 10]


def test_a_resumed_run_is_the_newest(logs: Path, make_run: MakeRun) -> None:
    first, _ = make_run("cola", 0), make_run("cola", 1)
    os.utime(first / "config.yaml", (2_000_000, 2_000_000))
    assert newest_run(logs, "cola").path == first


def test_a_folder_without_a_configuration_is_not_a_run(logs: Path, make_run: MakeRun) -> None:
    real = make_run("cola", 0)
    (logs / "cola/version_1/checkpoints").mkdir(parents=True)  # created by a fit that failed at once
    (logs / "cola/backup").mkdir()
    (logs / "cola/backup/config.yaml").write_text("", encoding="utf-8")
    assert [run.path for run in find_runs(logs)] == [real]


def test_tasks_with_a_common_prefix_are_kept_apart(logs: Path, make_run: MakeRun) -> None:
    mnli, _ = make_run("mnli", 0), make_run("mnli-mm", 0)
    assert newest_run(logs, "mnli").path == mnli


def test_an_error_lists_the_runs_there_are(logs: Path, make_run: MakeRun) -> None:
    with pytest.raises(RunError, match=re.escape(f"There is no run in {LOGS}. Train one first, e.g. `glue-lit fit ")):
        newest_run(logs)
    make_run("rte", 0)
    make_run("cola", 0)
    expected = (
        f"There is no run of task sst2 in {LOGS}. There are runs of cola, rte. Train one first, "
        "e.g. `glue-lit fit --config sst2`, or name one: `--run DIR`."
    )
    with pytest.raises(RunError, match=re.escape(expected)):
        newest_run(logs, "sst2")


def test_open_run(logs: Path, make_run: MakeRun) -> None:
    folder = make_run("cola", 3)
    assert open_run(folder) == Run(folder)
    typo = f"{LOGS}/cola/verson_3"
    expected = f"--run: there is no directory '{typo}'. Did you mean '{folder}'? Runs are in {LOGS}/<task>/version_N."
    with pytest.raises(RunError, match=re.escape(expected)):
        open_run(Path(typo))
    with pytest.raises(RunError, match=re.escape(f"--run: {LOGS}/cola is not a run, it has no config.yaml. Runs are")):
        open_run(logs / "cola")


def test_run_of_a_checkpoint(logs: Path, make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run("cola", 0, "best.ckpt")
    assert run_of_checkpoint(folder / "checkpoints/best.ckpt") == Run(tmp_path / folder)
    assert run_of_checkpoint(tmp_path / folder / "checkpoints/best.ckpt") == Run(tmp_path / folder)
    assert run_of_checkpoint(folder / "best.ckpt") is None
    (tmp_path / "checkpoints").mkdir()
    assert run_of_checkpoint(tmp_path / "checkpoints/best.ckpt") is None  # no configuration beside that folder


def test_run_of_a_checkpoint_in_the_working_directory(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / make_run("cola", 0, "best.ckpt")
    monkeypatch.chdir(folder / "checkpoints")
    assert run_of_checkpoint(Path("best.ckpt")) == Run(folder)


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("version_0", 0),
        ("version_12", 12),
        ("version_", -1),
        ("version_x", -1),
        ("version_1.bak", -1),
        ("backup", -1),
        ("version_-1", -1),
        ("12", -1),
        ("version_²", -1),
    ],
)
def test_version_of_a_folder(name: str, version: int) -> None:
    assert version_of(Path("logs", name)) == version


# ---------------------------------------------------------------- checkpoints


def test_checkpoint_by_name(make_run: MakeRun) -> None:
    folder = make_run("cola", 0, "best.ckpt", "last.ckpt")
    assert Run(folder).checkpoint("best") == folder / "checkpoints/best.ckpt"
    assert Run(folder).checkpoint("last") == folder / "checkpoints/last.ckpt"


@pytest.mark.parametrize(
    ("there", "found"), [((), "none"), (("last.ckpt",), "last.ckpt"), (("z.ckpt", "a.ckpt"), "a.ckpt, z.ckpt")]
)
def test_an_error_lists_the_checkpoints_there_are(make_run: MakeRun, there: tuple[str, ...], found: str) -> None:
    folder = make_run("cola", 0, *there)
    expected = f"Run {folder} has no checkpoint best.ckpt; it has {found}. The first is written at the end of the first"
    with pytest.raises(RunError, match=re.escape(expected)):
        Run(folder).checkpoint("best")


def test_a_missing_checkpoint_names_the_newest_run_that_has_one(make_run: MakeRun) -> None:
    make_run("cola", 0, "best.ckpt")
    newest = make_run("cola", 1, "best.ckpt", "last.ckpt")
    make_run("cola", 2, "last.ckpt")
    folder = make_run("cola", 3)
    with pytest.raises(RunError, match=re.escape(f"The newest run that has one is `--run {newest}`.")):
        Run(folder).checkpoint("best")
    with pytest.raises(RunError, match=r"it has none\. .* Name another run with `--run DIR`\."):
        Run(folder).checkpoint("z")


# ---------------------------------------------------------------- the run of a job


def test_the_run_of_a_job_is_its_newest_with_a_last_checkpoint(logs: Path, make_run: MakeRun) -> None:
    def of_job(version: int, job: str, *checkpoints: str, command: tuple[str, ...] = ("fit",)) -> Path:
        folder = make_run("cola", version, *checkpoints)
        (folder / "slurm_job").write_text(json.dumps({"job": job, "command": command}), encoding="utf-8")
        return folder

    of_job(0, "4711", "last.ckpt")
    wanted = of_job(1, "4711", "last.ckpt")
    of_job(2, "4711", "best.ckpt")  # no checkpoint to resume from
    of_job(3, "47110", "last.ckpt")
    make_run("cola", 4, "last.ckpt")  # not of a job
    (make_run("cola", 5, "last.ckpt") / "slurm_job").write_bytes(b"\xff")
    other = of_job(6, "4711", "last.ckpt", command=("fit", "--seed_everything", "1"))
    assert run_of_slurm_job(logs, "4711", ["fit"]) == Run(wanted)
    assert run_of_slurm_job(logs, "4711", ["fit", "--seed_everything", "1"]) == Run(other)
    assert run_of_slurm_job(logs, "471", ["fit"]) is None
    assert run_of_slurm_job(logs / "nowhere", "4711", ["fit"]) is None


# ---------------------------------------------------------------- locking


def test_a_run_has_one_fit_at_a_time(make_run: MakeRun) -> None:
    run, other = Run(make_run("cola", 0)), Run(make_run("cola", 1))
    handle = lock_run(run)
    assert handle is not None
    expected = f"Run {run.path} is being trained by another process. Wait for it, or start a new run (leave out"
    with pytest.raises(RunError, match=re.escape(expected)):
        lock_run(run)
    elsewhere = lock_run(other)
    assert elsewhere is not None
    os.close(handle)
    again = lock_run(run)
    assert again is not None
    os.close(again)
    os.close(elsewhere)


def test_a_fit_is_refused_within_a_second(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(make_run("cola", 0))
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    handle = lock_run(run)
    assert handle is not None
    with pytest.raises(RunError, match="is being trained"):
        lock_run(run)
    assert 0 < sum(waits) < 1
    os.close(handle)


def test_a_refused_fit_leaves_no_open_handle(make_run: MakeRun) -> None:
    run = Run(make_run("cola", 0))
    handle = lock_run(run)
    assert handle is not None
    before = sorted(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else []
    with pytest.raises(RunError, match="is being trained"):
        lock_run(run)
    assert before == (sorted(os.listdir("/proc/self/fd")) if before else [])
    os.close(handle)


def test_a_killed_fit_releases_its_lock(make_run: MakeRun) -> None:
    run = Run(make_run("cola", 0))
    program = (
        "import sys, time; from pathlib import Path; from glue_lit.runs.locks import lock_run; from glue_lit.runs.run import Run; "
        "lock_run(Run(Path(sys.argv[1]))); print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(run.path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"locked\n"
            with pytest.raises(RunError, match="is being trained by another process"):
                lock_run(run)
        finally:
            process.kill()
            process.wait()
    handle = lock_run(run)
    assert handle is not None
    os.close(handle)


def test_a_file_system_without_locks_locks_nothing(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def fail(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", fail)
    run = Run(make_run("cola", 0))
    open_files = sorted(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else []
    assert lock_run(run) is None
    assert is_locked(run) is False
    assert lock_run(Run(Path("nowhere"))) is None
    assert is_locked(Run(Path("nowhere"))) is False
    assert open_files == (sorted(os.listdir("/proc/self/fd")) if open_files else [])


def test_the_newest_run_is_not_one_in_training(make_run: MakeRun) -> None:
    run = Run(make_run("cola", 0))
    check_unlocked(run)
    handle = lock_run(run)
    with pytest.raises(RunError, match=r"is being trained by another process\. Wait for it, or name another run"):
        check_unlocked(run)
    assert handle is not None
    os.close(handle)
    assert is_locked(run) is False


def test_reading_the_state_of_a_lock_does_not_block_a_fit(make_run: MakeRun) -> None:
    import fcntl

    run = Run(make_run("cola", 0))
    assert not is_locked(run)
    looker = os.open(run.path, os.O_RDONLY)
    fcntl.flock(looker, fcntl.LOCK_SH)
    assert not is_locked(run)  # another reader's lock is not a fit's
    threading.Timer(0.02, os.close, [looker]).start()
    handle = lock_run(run)  # waits until the reader is done
    assert handle is not None
    assert is_locked(run)
    os.close(handle)
    assert not is_locked(run)
    assert not is_locked(Run(Path("nowhere")))


# ---------------------------------------------------------------- creating


def test_versions_count_up(tmp_path: Path) -> None:
    folder = tmp_path / "deep/down/cola"
    assert [claim_version(folder) for _ in range(3)] == [0, 1, 2]
    assert sorted(path.name for path in folder.iterdir()) == ["version_0", "version_1", "version_2"]


def test_a_gap_is_not_filled(tmp_path: Path) -> None:
    # The number of a deleted run may still be in somebody's notes.
    (tmp_path / "version_7").mkdir()
    (tmp_path / "other").mkdir()
    assert claim_version(tmp_path) == 8


def test_two_processes_never_claim_the_same_version(tmp_path: Path) -> None:
    workers, each = 8, 5
    barrier = Barrier(workers)

    def claim(_: int) -> list[int]:
        barrier.wait()
        return [claim_version(tmp_path / "cola") for _ in range(each)]

    with ThreadPoolExecutor(workers) as pool:
        claimed = [version for versions in pool.map(claim, range(workers)) for version in versions]
    assert sorted(claimed) == list(range(workers * each))


def test_a_version_that_another_process_has_just_taken_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another process creates version_0 and version_1 between the reading of the folder and mkdir.
    for version in range(2):
        (tmp_path / f"version_{version}").mkdir()
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(()))
    assert claim_version(tmp_path) == 2


def test_a_run_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    folder = tmp_path / "file/cola"
    expected = f"Cannot make a run directory in {folder} (Not a directory). Choose another place with `--trainer."
    with pytest.raises(RunError, match=re.escape(expected)):
        claim_version(folder)


# ---------------------------------------------------------------- names of tasks


def test_the_run_that_a_message_suggests_is_of_the_same_task(tmp_path: Path) -> None:
    for task, version, names in (("rte", 0, ("best.ckpt",)), ("cola", 0, ())):
        folder = tmp_path / task / f"version_{version}"
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "config.yaml").write_text("{}", encoding="utf-8")
        for name in names:
            (folder / "checkpoints" / name).touch()
    with pytest.raises(RunError) as error:
        Run(tmp_path / "cola" / "version_0").checkpoint("best")
    assert "rte" not in str(error.value)


@pytest.mark.parametrize("task", ["/etc", "a**", "**", "[", "*", "\n", "../cola"])
def test_the_name_of_a_task_is_not_a_pattern(task: str, make_run: MakeRun, logs: Path) -> None:
    make_run("cola", 0)
    assert find_runs(logs, task) == []


# ---------------------------------------------------------------- what a training starts from


def test_the_best_checkpoint_of_a_run_or_the_file_itself_is_found(make_run: MakeRun) -> None:
    run = Path(make_run("mnli", 0))
    (run / "checkpoints" / "best.ckpt").write_bytes(b"x")
    assert best_checkpoint(str(run)) == run / "checkpoints" / "best.ckpt"
    (run / "handed_on.ckpt").write_bytes(b"x")
    assert best_checkpoint(str(run / "handed_on.ckpt")) == run / "handed_on.ckpt"
    for wrong in (str(run / "checkpoints"), str(run)[:-1]):
        with pytest.raises(RunError, match=r"model\.init_from: '.*' is neither a run directory .* nor a checkpoint\."):
            best_checkpoint(wrong)
    with pytest.raises(RunError, match=r"Did you mean 'lightning_logs/mnli/version_0'\?"):
        best_checkpoint("lightning_logs/mnli/version_")
    (run / "checkpoints" / "best.ckpt").unlink()
    with pytest.raises(RunError, match=r"has no checkpoint best\.ckpt"):
        best_checkpoint(str(run))


def test_predictions_of_another_task_have_its_name_as_prefix(make_run: MakeRun) -> None:
    run = Run(make_run("mnli", 0))
    assert (run.setting("data.task"), run.setting("data.nothing"), run.setting("data")) == ("mnli", None, None)
    assert run.prefix("mnli") == ""
    assert run.prefix("ax") == "ax-"


def test_an_error_names_the_flag_that_gave_the_run(make_run: MakeRun) -> None:
    run = make_run("mnli", 0)
    with pytest.raises(RunError, match=r"^--run: there is no directory 'nowhere'"):
        open_run(Path("nowhere"))
    with pytest.raises(RunError, match=r"^report: .* is not a run, it has no config\.yaml"):
        open_run(Path(run, "checkpoints"), "report")
