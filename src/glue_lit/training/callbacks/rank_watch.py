"""Processes that watch each other, so that none is left behind and none waits for one that is gone."""

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

_EVERY = 1.0  # seconds between two looks
_SILENT = 30  # looks without a sign of life after which a process counts as dead
_LEFT = 15.0  # seconds for this process to end by itself once another is dead


def die_with_parent() -> None:
    """In a process that Lightning started for another device: end as soon as the one that started it does."""
    parent = os.getppid()
    if local_rank() == 0:
        announce_starter()
    elif starter() == parent:  # and no other launcher
        _thread("parent", lambda: _watch_parent(parent))


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_EVERY)
    os._exit(1)


def _end_soon() -> None:
    time.sleep(_LEFT)
    os._exit(1)


def _thread(name: str, work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, name=f"glue-lit-{name}", daemon=True)
    thread.start()
    return thread


class RankWatch(Callback):
    """Notice within a minute that another process of the run has died, and end this one, naming it.

    A process that this one started is seen to end at once; for any other there is a sign of life in the
    store through which the processes found each other. Where the transport notices a death itself (gloo
    does, NCCL waits for half an hour), `explain` gives the reason for its error.

    Args:
        advise: Gives a line to print after the death of a process, if there is something to say.

    Attributes:
        dead: What has happened, once something has.
    """

    def __init__(self, advise: Callable[[], str | None] = lambda: None) -> None:
        self.dead: str | None = None
        self._advise = advise
        self._is_over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._started: list[Any] = []  # processes of other ranks
        self._unanswered: int | None = None  # looks since rank 0's store answered last

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start watching, once there are processes to watch."""
        if trainer.world_size == 1 or self._threads:
            return
        self._started = list(getattr(trainer.strategy.launcher, "procs", []))
        quiet_child_observer()
        rank, world = trainer.global_rank, trainer.world_size
        self._threads = [
            _thread("children", self._watch_children),
            _thread("ranks", lambda: self._watch_ranks(rank, world)),
        ]

    def close(self, failed: bool) -> None:
        """The run is over: others may end, and so does what connects them.

        Args:
            failed: It ended by an error, so the others may be gone and must not be waited for.
        """
        self._is_over.set()
        if not self._threads:
            return
        if failed:
            _thread("end", _end_soon)
        for thread in self._threads:
            thread.join(2 * _EVERY)
        if torch.distributed.is_initialized() and not (failed and torch.distributed.get_backend() == "nccl"):
            torch.distributed.destroy_process_group()  # else its threads can end this process with an abort

    def explain(self, seconds: float = 5.0) -> str | None:
        """Which process died, if one did; waits a little to find out."""
        until = time.monotonic() + seconds
        while self._threads and self.dead is None and time.monotonic() < until:
            time.sleep(0.1)
        return self.dead

    def _found(self, what: str) -> None:
        self.dead = self.dead or what
        if self._is_over.wait(_LEFT):  # it failed by itself, as it should
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
                    return self._found(f"rank {number + 1} {_how(process)}.")
            if self._unanswered is None:
                continue
            self._unanswered += 1  # looks, not seconds, which pass while this process is suspended
            if self._unanswered > 4 * _SILENT:
                return self._found(f"rank 0 has died or hangs: its store has not answered for {_SILENT} s.")
        return None

    def _watch_ranks(self, rank: int, world: int) -> None:
        from torch.distributed import TCPStore  # type: ignore[attr-defined]

        following = (rank + 1) % world
        seen, quiet, beats = b"", 0, 0
        try:
            store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), timeout=timedelta(seconds=20))
        except (KeyError, RuntimeError):
            return  # found each other in another way, e.g. through MPI
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
                    return self._found(f"rank {following} ({who}) has died or hangs: no sign of life for {quiet} s.")
                self._unanswered = 0
            self._unanswered = None
            store.set(f"glue-lit/{rank}/alive", "over")
        except RuntimeError:  # the store is in rank 0's process
            self._unanswered = None
            if not self._is_over.wait(5) and rank:
                self._found("rank 0 has died: its store cannot be reached.")


def is_lost_connection(error: Exception) -> bool:
    """Whether an error is what the transport says when another process has gone."""
    words = ("connection", "gloo", "nccl", "peer", "timed out", "store", "broken pipe")
    return isinstance(error, RuntimeError | OSError) and any(word in str(error).lower() for word in words)


def _how(process: Any) -> str:
    status = process.returncode
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return f"(pid {process.pid}) was killed by {name}"
    return f"(pid {process.pid}) ended with exit status {status}; its own message is above"
