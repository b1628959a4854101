"""The driver with a simulated executor."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from glue_lit.engine import driver as module
from glue_lit.engine.driver import Driver
from glue_lit.engine.fixed_queue import FixedQueue
from glue_lit.engine.job import Job, Progress
from glue_lit.errors import RunError, Stopped


class SimulatedExecutor:
    """Jobs that take a number of turns each, then end with a status."""

    def __init__(self, slots: int, turns: int = 2, status: Callable[[Job], int] = lambda job: 0) -> None:
        self.slots, self.turns, self.status = slots, turns, status
        self.left: dict[str, tuple[Job, int]] = {}
        self.stopped: list[str] = []
        self.most = 0
        self.closed = False

    @property
    def free_slots(self) -> int:
        return self.slots - len(self.left)

    def start(self, job: Job) -> None:
        assert self.free_slots > 0
        self.left[job.name] = (job, self.turns)
        self.most = max(self.most, len(self.left))

    def pop_ended(self) -> list[tuple[Job, int]]:
        over = [job for job, turns in self.left.values() if turns == 0]
        self.left = {job.name: (job, turns - 1) for job, turns in self.left.values() if turns > 0}
        for job in over:
            job.folder.mkdir(parents=True, exist_ok=True)
            if self.status(job) == 0:
                run = job.folder / "lightning_logs" / "cola" / "version_0"
                run.mkdir(parents=True)
                (run / "config.yaml").touch()
                (run / "metrics.json").write_text('{"metrics": {"val/accuracy": 0.5}, "monitor": "val/accuracy"}')
        return [(job, 75 if job.name in self.stopped else self.status(job)) for job in over]

    def stop(self, job: Job) -> None:
        self.stopped.append(job.name)

    def close(self) -> None:
        self.closed = True
        self.left = {}


class SilentDisplay:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.shown: list[list[tuple[Job, Progress]]] = []

    def update(self, running: list[tuple[Job, Progress]]) -> None:
        self.shown.append(running)

    def print(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_INTERVAL", 0.001)


def jobs_in(folder: Path, *names: str) -> list[Job]:
    return [Job(name, folder / name, ("--data.task", "cola"), "cola") for name in names]


def test_all_slots_are_kept_busy(tmp_path: Path) -> None:
    queue, executor, view = FixedQueue(jobs_in(tmp_path, *"abcde")), SimulatedExecutor(2), SilentDisplay()
    queue.print = view.print
    Driver(queue, executor, view).work()
    assert executor.most == 2
    assert executor.closed
    assert {name: outcome.state for name, outcome in queue.outcomes.items()} == dict.fromkeys("abcde", "finished")
    assert view.lines[0] == "a finished: val/accuracy 0.5000 in ?"
    assert queue.summary() == "5 done, 0 running, 0 waiting, 0 failed"
    again = FixedQueue(jobs_in(tmp_path, *"abcde"))
    assert again.next_job() is None  # no job runs twice
    with pytest.raises(RunError, match="holds a training with other settings"):
        FixedQueue([Job("a", tmp_path / "a", ("--data.task", "rte"), "rte")])


def test_other_settings_in_the_same_file_are_another_training(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("data: {task: cola}")
    jobs = [Job("a", tmp_path / "a", ("--config", str(file)), "cola")]
    Driver(FixedQueue(jobs), SimulatedExecutor(1), SilentDisplay()).work()
    FixedQueue(jobs)
    file.write_text("data: {task: rte}")
    with pytest.raises(RunError, match="holds a training with other settings"):
        FixedQueue(jobs)


def test_a_job_waits_for_the_one_that_it_needs(tmp_path: Path) -> None:
    order = []

    class RecordingExecutor(SimulatedExecutor):
        def start(self, job: Job) -> None:
            order.append((job.name, set(self.left)))
            super().start(job)

    queue = FixedQueue(jobs_in(tmp_path, *"abc"), {"a": "c"})
    Driver(queue, RecordingExecutor(3), SilentDisplay()).work()
    assert [name for name, _ in order] == ["b", "c", "a"]
    assert "c" not in order[2][1]


def test_jobs_that_need_a_failed_one_are_left_out(tmp_path: Path) -> None:
    queue = FixedQueue(jobs_in(tmp_path, *"abcd"), {"b": "a", "c": "b"})
    Driver(queue, SimulatedExecutor(1, status=lambda job: int(job.name == "a")), SilentDisplay()).work()
    assert {name: outcome.state for name, outcome in queue.outcomes.items()} == {
        "a": "failed", "b": "failed", "c": "failed", "d": "finished"
    }  # fmt: skip
    assert queue.outcomes["c"].error == "b, which it starts from, failed"
    assert jobs_in(tmp_path, "a")[0].read_outcome() is not None


def test_three_equal_failures_in_a_row_end_the_driver(tmp_path: Path) -> None:
    def failing(error: Callable[[str], str]) -> FixedQueue:
        jobs = jobs_in(tmp_path / error("0"), *"123456")
        for job in jobs:
            job.folder.mkdir(parents=True)
            (job.folder / "error.txt").write_text(error(job.name))
        return FixedQueue(jobs)

    queue, executor = failing(lambda n: f"there is no /data/{n}"), SimulatedExecutor(1, status=lambda job: 1)
    with pytest.raises(RunError, match="3 trainings in a row failed in the same way") as error:
        Driver(queue, executor, SilentDisplay()).work()
    assert "there is no /data/3" in str(error.value)
    assert len(queue.outcomes) == 3
    assert executor.closed
    queue = failing(lambda n: "odd" if int(n) % 2 else "even")  # the failures alternate
    Driver(queue, SimulatedExecutor(1, status=lambda job: 1), SilentDisplay()).work()
    assert len(queue.outcomes) == 6
    queue = failing(lambda n: f"broken {n}")  # a success in between
    Driver(queue, SimulatedExecutor(1, status=lambda job: int(job.name not in "36")), SilentDisplay()).work()
    assert len(queue.outcomes) == 6


class PruningQueue(FixedQueue):
    """Prunes jobs that report a value below 0.5."""

    def record_progress(self, job: Job, progress: Progress) -> bool:
        return progress.values[-1][1] < 0.5


def test_a_pruned_job_is_stopped_once(tmp_path: Path) -> None:
    jobs = jobs_in(tmp_path, "good", "bad")
    for job in jobs:
        job.folder.mkdir()

    class Reporting(SimulatedExecutor):
        def pop_ended(self) -> list[tuple[Job, int]]:
            for job, _ in self.left.values():
                value = 0.9 if job.name == "good" else 0.1
                (job.folder / "progress.json").write_text(f'{{"step": 1, "steps": 9, "values": [[1, {value}]]}}')
            return super().pop_ended()

    queue, executor = PruningQueue(jobs), Reporting(2, turns=4, status=lambda job: 0 if job.name == "good" else 75)
    Driver(queue, executor, SilentDisplay()).work()
    assert executor.stopped == ["bad"]
    assert {name: outcome.state for name, outcome in queue.outcomes.items()} == {"good": "finished", "bad": "pruned"}


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_jobs_write_their_checkpoints(tmp_path: Path, signum: signal.Signals) -> None:
    queue, executor, view = FixedQueue(jobs_in(tmp_path, *"ab")), SimulatedExecutor(1, turns=10**6), SilentDisplay()
    threading.Timer(0.2, lambda: os.kill(os.getpid(), signum)).start()
    with pytest.raises(Stopped) as stopped:
        Driver(queue, executor, view).work()
    assert stopped.value.signum == signum
    assert executor.closed
    assert not queue.outcomes  # neither has ended: both are resumed later
    assert queue.waiting == 2
    assert view.lines[-1] == "Stopping 1 training; checkpoints are written first."
