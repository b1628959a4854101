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

from lightning.pytorch import Callback, LightningModule, Trainer

_EVERY = 1.0  # seconds between two looks
_SILENT = 40  # looks without a sign of life after which a process counts as dead
_LEFT = 15.0  # seconds for this process to end by itself once another is dead
_PARENT = "GLUE_LIT_PARENT"


def die_with_parent() -> None:
    """In a process that Lightning started for another device: end as soon as the one that started it does."""
    parent = os.environ.get(_PARENT)
    if parent is None:
        os.environ[_PARENT] = str(os.getpid())  # for the processes that this one starts
    elif int(parent) != os.getpid() and os.environ.get("LOCAL_RANK", "0") != "0":
        _thread("parent", lambda: _watch_parent(int(parent)))


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_EVERY)
    os._exit(1)


def _thread(name: str, work: Callable[[], None]) -> None:
    threading.Thread(target=work, name=f"glue-lit-{name}", daemon=True).start()


class RankWatch(Callback):
    """Notice within a minute that another process of the run has died, and end this one, naming it.

    A process that this one started is seen to end at once; for any other there is a sign of life in the
    store through which the processes found each other. Where the transport notices a death itself (gloo
    does, NCCL waits for half an hour), `explain` gives the reason for its error.
    """

    def __init__(self) -> None:
        self.dead: str | None = None
        self._is_over = threading.Event()
        self._is_started = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start watching, once there are processes to watch."""
        if trainer.world_size == 1 or self._is_started:
            return
        self._is_started = True
        started = list(getattr(trainer.strategy.launcher, "procs", []))
        for thread in threading.enumerate():  # Lightning's own kills this process without a word
            if thread.name == "child-process-observer":
                thread._child_processes = []  # type: ignore[attr-defined]
        if started:
            _thread("children", lambda: self._watch_children(started))
        _thread("ranks", lambda: self._watch_ranks(trainer.global_rank, trainer.world_size))

    def close(self) -> None:
        """The run is over: others may end."""
        self._is_over.set()

    def explain(self, seconds: float = 5.0) -> str | None:
        """Which process died, if one did; waits a little to find out."""
        until = time.monotonic() + seconds
        while self._is_started and self.dead is None and time.monotonic() < until:
            time.sleep(0.1)
        return self.dead

    def _found(self, what: str, others: tuple[Any, ...] = ()) -> None:
        self.dead = self.dead or what
        if self._is_over.wait(_LEFT):  # it failed by itself, as it should
            return
        print(f"glue-lit: error: {self.dead}", file=sys.stderr, flush=True)
        for process in others:
            process.kill()
        os._exit(1)

    def _watch_children(self, processes: list[Any]) -> None:
        while not self._is_over.wait(_EVERY / 4):
            for number, process in enumerate(processes):
                if process.poll() not in (None, 0):
                    others = tuple(other for other in processes if other is not process)
                    return self._found(f"rank {number + 1} {_how(process)}. Its own message, if any, is above.", others)
        return None

    def _watch_ranks(self, rank: int, world: int) -> None:
        from torch.distributed import TCPStore  # type: ignore[attr-defined]

        following = (rank + 1) % world
        seen, quiet, beats = b"", 0, 0
        try:
            store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), timeout=timedelta(seconds=20))
        except (KeyError, RuntimeError):
            return  # found each other in another way, e.g. through MPI
        me = f"pid {os.getpid()} on {socket.gethostname()}"
        try:
            store.set(f"glue-lit/{rank}/who", me)
            while not self._is_over.wait(_EVERY):
                beats += 1
                store.set(f"glue-lit/{rank}/alive", str(beats))
                if not store.check([f"glue-lit/{following}/alive"]):
                    continue
                now = store.get(f"glue-lit/{following}/alive")
                quiet = quiet + 1 if now == seen else 0
                seen = now
                if now == b"over":
                    continue
                if quiet > _SILENT:
                    who = store.get(f"glue-lit/{following}/who").decode()
                    return self._found(f"rank {following} ({who}) has died or hangs: no sign of life for {quiet} s.")
            store.set(f"glue-lit/{rank}/alive", "over")
        except RuntimeError:  # the store is in rank 0's process
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
    return f"(pid {process.pid}) ended with exit status {status}"
