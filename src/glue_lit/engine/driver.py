"""The loop of a search or suite: keep all slots busy, follow the jobs, and stop them once they have checkpoints."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from glue_lit.engine.executor import Executor
from glue_lit.engine.job import Job, Outcome, Progress
from glue_lit.engine.progress_table import ProgressTable
from glue_lit.errors import RunError, Stopped
from glue_lit.system.console import count_of

_INTERVAL = 0.5  # seconds between turns: a job takes minutes, a turn a millisecond


class Queue(Protocol):
    """Decides which job is next, and records progress and outcomes."""

    def next_job(self) -> Job | None:
        """A job that can start now."""

    def record_progress(self, job: Job, progress: Progress) -> bool:
        """Record a job's progress; returns whether to prune the job."""

    def record_outcome(self, job: Job, outcome: Outcome) -> None:
        """Record how a job ended."""


class Driver:
    """Run the jobs of a queue.

    Args:
        queue: Decides which job is next.
        executor: Runs the jobs.
        display: Shows their progress.
        patience: How many failures of the same kind in a row end the loop.
    """

    def __init__(self, queue: Queue, executor: Executor, display: ProgressTable, patience: int = 3) -> None:
        self.queue = queue
        self.executor = executor
        self.display = display
        self.patience = patience
        self._running: dict[Job, Progress] = {}
        self._pruned: set[Job] = set()
        self._failures: list[str] = []
        self._signum = 0

    def work(self) -> None:
        """Run until the queue is empty and all jobs have ended.

        Raises:
            RunError: ``patience`` jobs in a row failed in the same way.
            Stopped: A signal stopped the loop; all jobs have written their checkpoints.
        """
        with self._note_signals():
            try:
                while not self._signum and self._turn():
                    time.sleep(_INTERVAL)
            finally:
                self._close()
        if self._signum:
            raise Stopped(self._signum)

    def _turn(self) -> bool:
        """Start, follow and end jobs once; return whether work is left."""
        while self.executor.free_slots > 0 and (job := self.queue.next_job()) is not None:
            self._running[job] = job.read_progress()
            self._pruned.discard(job)
            self.executor.start(job)
        for job, before in self._running.items():
            progress = self._running[job] = job.read_progress()
            is_new = progress.values != before.values
            if is_new and job not in self._pruned and self.queue.record_progress(job, progress):
                self._pruned.add(job)
                self.executor.stop(job)
        ended = self.executor.pop_ended()
        for job, status in ended:
            self._end(job, status)
        self.display.update(list(self._running.items()))
        return bool(self._running or ended)  # the end of a job may let another start

    def _end(self, job: Job, status: int) -> None:
        del self._running[job]
        outcome = job.outcome_from(status)
        if outcome.state == "stopped" and not self._signum:
            outcome = Outcome("pruned") if job in self._pruned else Outcome("failed", "something else stopped it")
        if outcome.state in ("failed", "pruned"):
            job.write_outcome(outcome)
        self.queue.record_outcome(job, outcome)
        if outcome.state == "stopped":
            return
        self._failures = [*self._failures, outcome.error_kind] if outcome.state == "failed" else []
        last = self._failures[-self.patience :]
        if len(last) == self.patience and len(set(last)) == 1:
            raise RunError(
                f"{self.patience} trainings in a row failed in the same way, so the others are not started: "
                f"{outcome.error} The last one's full output is in {job.output}."
            )

    def _close(self) -> None:
        """Let the running jobs write their checkpoints."""
        if self._running:
            self.display.print(f"Stopping {count_of(len(self._running), 'training')}; checkpoints are written first.")
        self.executor.close()
        for job in self._running:
            self.queue.record_outcome(job, job.outcome_from(75))
        self._running = {}

    @contextmanager
    def _note_signals(self) -> Iterator[None]:
        """Note the first signal, raise at the second; Python allows this only in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {signum: signal.signal(signum, self._note_signal) for signum in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def _note_signal(self, signum: int, frame: FrameType | None) -> None:
        if self._signum:
            raise Stopped(signum)
        self._signum = signum
