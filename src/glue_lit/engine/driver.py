"""The loop that keeps slots busy: it starts jobs, listens to them, and ends in good order."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from glue_lit.engine.job import Job, Outcome, Progress
from glue_lit.errors import RunError, Stopped

_EVERY = 0.5  # seconds between two looks: a training takes many, and looking takes a millisecond


class Queue(Protocol):
    """What is to be trained, and what is made of it."""

    def next(self) -> Job | None:
        """A job that can start now."""

    def report(self, job: Job, progress: Progress) -> bool:
        """Take note of how far a job has come; whether it is to be given up."""

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Take note of how a job has ended."""


class Executor(Protocol):
    """Where jobs run."""

    @property
    def free(self) -> int:
        """How many jobs can be started now."""

    def start(self, job: Job) -> None:
        """Begin a job, or go on with it."""

    def ended(self) -> list[tuple[Job, int]]:
        """Jobs that have ended, with their exit status."""

    def stop(self, job: Job) -> None:
        """Ask a job to write its checkpoint and end."""

    def close(self) -> None:
        """End all jobs."""


class Display(Protocol):
    """What the user sees."""

    def show(self, running: list[tuple[Job, Progress]]) -> None:
        """Show how far the running jobs have come."""

    def event(self, text: str) -> None:
        """Say that something has happened."""


class Driver:
    """Work through a queue.

    Args:
        queue: What is to be trained.
        executor: Where.
        view: Tells the user.
        patience: So many failures of one kind in a row end it.
    """

    def __init__(self, queue: Queue, executor: Executor, view: Display, patience: int = 3) -> None:
        self.queue = queue
        self.executor = executor
        self.view = view
        self.patience = patience
        self._running: dict[str, tuple[Job, Progress]] = {}
        self._given_up: set[str] = set()
        self._failures: list[str] = []
        self._signum = 0

    def work(self) -> None:
        """Work until nothing is left.

        Raises:
            RunError: Too many failures of one kind in a row.
            Stopped: A signal has asked for it; all jobs have written their checkpoints.
        """
        with self._listening():
            try:
                while not self._signum and self._turn():
                    time.sleep(_EVERY)
            finally:
                self._close()
        if self._signum:
            raise Stopped(self._signum)

    def _turn(self) -> bool:
        """Look at everything once; whether anything is left to do."""
        while self.executor.free > 0 and (job := self.queue.next()) is not None:
            self._running[job.name] = (job, job.progress())
            self._given_up.discard(job.name)
            self.executor.start(job)
        for name, (job, before) in self._running.items():
            progress = job.progress()
            self._running[name] = (job, progress)
            if progress.values != before.values and name not in self._given_up and self.queue.report(job, progress):
                self._given_up.add(name)
                self.executor.stop(job)
        ended = self.executor.ended()
        for job, code in ended:
            self._end(job, code)
        self.view.show(list(self._running.values()))
        return bool(self._running or ended)  # others may have waited for one that has ended

    def _end(self, job: Job, code: int) -> None:
        del self._running[job.name]
        outcome = job.ended(code)
        if outcome.state == "stopped" and not self._signum:
            outcome = Outcome("pruned") if job.name in self._given_up else Outcome("failed", "it was asked to stop")
        if outcome.state in ("failed", "pruned"):
            job.keep(outcome)
        self.queue.ended(job, outcome)
        if outcome.state == "stopped":
            return
        self._failures = [*self._failures, outcome.kind] if outcome.state == "failed" else []
        last = self._failures[-self.patience :]
        if len(last) == self.patience and len(set(last)) == 1:
            raise RunError(
                f"{self.patience} trainings in a row failed in the same way, so the others are not begun: "
                f"{outcome.error} All of the last one's output is in {job.output}."
            )

    def _close(self) -> None:
        """Let the jobs that still run write their checkpoints; a second signal ends them at once."""
        if self._running:
            self.view.event(f"Stopping {len(self._running)} training(s); they write their checkpoints first.")
        self.executor.close()
        for job, _ in list(self._running.values()):
            outcome = job.ended(75)
            self.queue.ended(job, outcome)
        self._running = {}

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Take note of signals, where they can be."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signums = (signal.SIGINT, signal.SIGTERM)
        before = {signum: signal.getsignal(signum) for signum in signums}
        for signum in signums:
            signal.signal(signum, self._receive)
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if self._signum:
            raise Stopped(signum)
        self._signum = signum
