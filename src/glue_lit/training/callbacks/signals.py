"""Signals that ask a run to stop: Ctrl-C, SIGTERM, and SLURM's warning that its time is up."""

import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Callback

from glue_lit.errors import Stopped
from glue_lit.system.environment import slurm_job
from glue_lit.training.lightning_internals import skip_sigterm_exchange

_MINUTES = 5  # how long one process may wait for another to agree; a lost one is noticed much earlier


class StopRequest:
    """Whether a signal has asked the run to stop, and since when all of its processes agree on it.

    While training, a signal is noted, and the run stops between two batches, on every device after the same
    one. At any other time, and at the second Ctrl-C, it ends what is being done by raising `Stopped`.
    """

    def __init__(self) -> None:
        self._signum = 0
        self._is_listening = False
        self._is_training = False
        self._group: Any = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Receive the signals; what received them before does so again at the end."""
        before = {signum: signal.getsignal(signum) for signum in self._signals()}
        self._is_listening = True
        self._install()
        try:
            yield
        finally:
            self._is_listening = self._is_training = False
            if threading.current_thread() is threading.main_thread():
                for signum, handler in before.items():
                    signal.signal(signum, handler)

    @staticmethod
    def _signals() -> list[int]:
        # SLURM sends SIGUSR1 ahead of its time limit, if asked to by `sbatch --signal=USR1@120`.
        warning = [signal.SIGUSR1] if slurm_job() is not None and hasattr(signal, "SIGUSR1") else []
        return [signal.SIGINT, signal.SIGTERM, *warning]

    def _install(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for signum in self._signals():
                signal.signal(signum, self._receive)

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if self._is_training and not (signum == signal.SIGINT == self._signum):
            self._signum = self._signum or signum
            return
        raise Stopped(signum)

    def note_signals(self, trainer: Any) -> None:
        """Training begins on every process: note signals from now on.

        Lightning has replaced our handlers by its own; with several processes, its SIGTERM
        handler waits for the others inside the handler, for good if they are waiting elsewhere.
        """
        if not self._is_listening:
            return
        if trainer.world_size > 1 and torch.distributed.is_initialized():
            self._group = torch.distributed.new_group(backend="gloo", timeout=timedelta(minutes=_MINUTES))
            skip_sigterm_exchange(trainer)
        self._install()
        self._is_training = True

    def release_signals(self) -> None:
        """Training has ended: a signal ends the program at once."""
        self._is_training = False

    def agreed_signal(self, trainer: Any) -> int:
        """The signal that any process has received, 0 for none; every process has to ask at the same point."""
        if self._group is None:
            return self._signum
        flag = torch.tensor([self._signum], device="cpu")  # which gloo is for
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX, group=self._group)
        return int(flag)

    def reinstall(self) -> None:
        """Receive signals again after Lightning has replaced our handlers for an evaluation."""
        if self._is_listening:
            self._install()


class EvaluationSignals(Callback):
    """Let a signal end an evaluation at once.

    Args:
        stop: Receives the signals.
    """

    def __init__(self, stop: StopRequest) -> None:
        self.stop = stop

    def on_validation_start(self, *_: Any) -> None:
        """Receive signals during `validate`."""
        self.stop.reinstall()

    def on_test_start(self, *_: Any) -> None:
        """Receive signals during `test`."""
        self.stop.reinstall()

    def on_predict_start(self, *_: Any) -> None:
        """Receive signals during `predict`."""
        self.stop.reinstall()


def requeue_job() -> bool:
    """Ask SLURM to run this job again; whether it will."""
    job = slurm_job() or ""
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
