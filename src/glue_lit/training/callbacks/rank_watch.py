"""The processes of a run watch each other, so that none outlives the others or waits for a dead one."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from glue_lit.system.environment import announce_starter, local_rank, starter
from glue_lit.system.job_error import write_job_error
from glue_lit.system.run_log import add_to_log
from glue_lit.training.lightning_internals import quiet_child_observer

_EVERY = 1.0  # seconds between two checks
_SILENT = 30  # checks without a sign of life after which a process counts as dead
_LEFT = 15.0  # seconds for this process to end by itself once another is dead


def die_with_parent() -> None:
    """If Lightning started this process for another device, end it as soon as its parent process ends."""
    parent = os.getppid()
    if local_rank() == 0:
        announce_starter()
    elif starter() == parent:  # not another launcher
        _start_thread("parent", lambda: _watch_parent(parent))


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_EVERY)
    os._exit(1)


def _end_soon() -> None:
    time.sleep(_LEFT)
    os._exit(1)


def _start_thread(name: str, work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, name=f"glue-lit-{name}", daemon=True)
    thread.start()
    return thread


class RankWatch(Callback):
    """Notice within a minute that another process of the run has died, name it, and end this one.

    The end of a child process is noticed at once. Every process also writes signs of life to the store through which
    the processes found each other. If the transport notices a death itself (gloo does, NCCL waits for half an hour),
    `explain` gives the reason for its error.

    Args:
        advise: Returns a line to print after the death of a process, or ``None``.

    Attributes:
        dead: Which process has died, and how; ``None`` while all are alive.
    """

    def __init__(self, advise: Callable[[], str | None] = lambda: None) -> None:
        self.dead: str | None = None
        self._advise = advise
        self._is_over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._started: list[Any] = []  # processes of other ranks
        self._unanswered: int | None = None  # checks since rank 0's store answered last

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start watching if there are other processes."""
        if trainer.world_size == 1 or self._threads:
            return
        self._started = list(getattr(trainer.strategy.launcher, "procs", []))
        quiet_child_observer()
        rank, world = trainer.global_rank, trainer.world_size
        self._threads = [
            _start_thread("children", self._watch_children),
            _start_thread("ranks", lambda: self._watch_ranks(rank, world)),
        ]

    def close(self, failed: bool) -> None:
        """Stop watching at the end of the run, and disconnect the processes.

        Args:
            failed: Whether the run ended by an error; other processes may then be dead, so nothing waits for them.
        """
        self._is_over.set()
        if not self._threads:
            return
        if failed:
            _start_thread("end", _end_soon)
        for thread in self._threads:
            thread.join(2 * _EVERY)
        if torch.distributed.is_initialized() and not (failed and torch.distributed.get_backend() == "nccl"):
            torch.distributed.destroy_process_group()  # otherwise its threads can abort this process

    def explain(self, seconds: float = 5.0) -> str | None:
        """Which process has died; ``None`` if no death is noticed within ``seconds``."""
        until = time.monotonic() + seconds
        while self._threads and self.dead is None and time.monotonic() < until:
            time.sleep(0.1)
        return self.dead

    def _end_all(self, reason: str) -> None:
        self.dead = self.dead or reason
        if self._is_over.wait(_LEFT):  # this process has failed by itself, as it should
            return
        lines = [f"glue-lit: error: {self.dead}", self._advise()]
        text = "\n".join(line for line in lines if line)
        print(text, file=sys.stderr, flush=True)
        add_to_log(text)
        write_job_error(self.dead)
        for process in self._started:
            process.kill()
        os._exit(1)

    def _watch_children(self) -> None:
        while not self._is_over.wait(_EVERY / 4):
            for number, process in enumerate(self._started):
                if process.poll() not in (None, 0):
                    return self._end_all(f"rank {number + 1} {_describe_exit(process)}.")
            if self._unanswered is None:
                continue
            self._unanswered += 1  # checks, not seconds, which also pass while this process is suspended
            if self._unanswered > 4 * _SILENT:
                return self._end_all(f"rank 0 has died or hangs: its store has not answered for {_SILENT} s.")
        return None

    def _watch_ranks(self, rank: int, world: int) -> None:
        from torch.distributed import TCPStore  # type: ignore[attr-defined]

        following = (rank + 1) % world
        seen, quiet, beats = b"", 0, 0
        try:
            store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), timeout=timedelta(seconds=20))
        except (KeyError, RuntimeError):
            return  # they found each other in another way, e.g. through MPI
        try:
            self._unanswered = 0
            store.set(f"glue-lit/{rank}/who", f"pid {os.getpid()} on {socket.gethostname()}")
            store.set(f"glue-lit/{rank}/alive", "0")
            while not self._is_over.wait(_EVERY):
                beats += 1
                store.set(f"glue-lit/{rank}/alive", str(beats))
                alive = f"glue-lit/{following}/alive"
                now = store.get(alive) if store.check([alive]) else seen
                quiet = quiet + 1 if now == seen else 0
                seen = now
                if quiet > _SILENT and now != b"over":
                    who = store.get(f"glue-lit/{following}/who").decode() if now else "never seen"
                    return self._end_all(f"rank {following} ({who}) has died or hangs: no sign of life for {quiet} s.")
                self._unanswered = 0
            self._unanswered = None
            store.set(f"glue-lit/{rank}/alive", "over")
        except RuntimeError:  # the store is in rank 0's process
            self._unanswered = None
            if not self._is_over.wait(5) and rank:
                self._end_all("rank 0 has died: its store cannot be reached.")


def is_lost_connection(error: Exception) -> bool:
    """Whether an error is one that the transport raises when another process is gone."""
    words = ("connection", "gloo", "nccl", "peer", "timed out", "store", "broken pipe")
    return isinstance(error, RuntimeError | OSError) and any(word in str(error).lower() for word in words)


def _describe_exit(process: Any) -> str:
    status = process.returncode
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return f"(pid {process.pid}) was killed by {name}"
    return f"(pid {process.pid}) ended with exit status {status}; its own message is above"
