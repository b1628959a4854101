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
from lightning.pytorch import Callback, LightningModule, Trainer

from glue_lit.errors import Stopped
from glue_lit.system.console import say
from glue_lit.system.environment import slurm_job
from glue_lit.training.gathering import gather_values
from glue_lit.training.lightning_internals import skip_sigterm_exchange

_MINUTES = 5  # to wait for the other processes; a death is noticed much earlier
_SELDOM = 20  # batches between two exchanges that wait for the device


class StopRequest:
    """Signals that ask a run to stop.

    During training a signal is noted, and all devices stop after the same batch. At any other time, and at the second
    Ctrl-C, it raises `Stopped` at once.
    """

    def __init__(self) -> None:
        self._signum = 0
        self._is_listening = False
        self._is_training = False
        self._is_shared = False  # with other processes
        self._group: Any = None  # for exchanges of the hosts; None if only the devices are connected
        self._calls = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Receive the signals within the block, then restore the earlier handlers."""
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
        """Note signals from now on; every process calls this as training begins.

        Lightning has replaced our handlers by its own. Its SIGTERM handler waits for the other processes, which may
        be waiting elsewhere.
        """
        if not self._is_listening:
            return
        if trainer.world_size > 1 and torch.distributed.is_initialized():
            self._is_shared, self._group = True, _connect_hosts(trainer)
            skip_sigterm_exchange(trainer)
        self._install()
        self._is_training = True

    def release_signals(self) -> None:
        """Let a signal end the program at once again, after training."""
        self._is_training = False

    def agreed_signal(self, trainer: Any) -> int:
        """The signal that any process has received, 0 for none. Collective under DDP.

        If only the devices are connected, all processes look at every twentieth call, since the host waits for that.
        """
        if not self._is_shared:
            return self._signum
        self._calls += 1
        if self._group is None and self._calls % _SELDOM:
            return 0
        flag = torch.tensor([self._signum], device="cpu" if self._group else trainer.strategy.root_device)
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX, group=self._group)
        return int(flag)

    def reinstall(self) -> None:
        """Replace the handlers that Lightning has installed for an evaluation."""
        if self._is_listening:
            self._install()


def _connect_hosts(trainer: Any) -> Any:
    """A group of all processes whose exchanges no device waits for; ``None`` where gloo cannot connect them."""
    group, error = None, ""
    try:
        group = torch.distributed.new_group(backend="gloo", timeout=timedelta(minutes=_MINUTES))
    except (RuntimeError, OSError) as refused:  # as on a cluster on which only NCCL's network is open
        error = " ".join(str(refused).split())[:200]
    if not any(errors := gather_values(error)):
        return group
    if trainer.is_global_zero:
        say(
            f"Signals to stop are looked for at every {_SELDOM}th batch only, because gloo cannot connect the "
            f"processes: {next(filter(None, errors))}"
        )
    return None


class EvaluationSignals(Callback):
    """Let a signal end an evaluation at once.

    Args:
        stop: Receives the signals.
    """

    def __init__(self, stop: StopRequest) -> None:
        self.stop = stop

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Receive signals from now on."""
        self.stop.reinstall()

    on_test_start = on_predict_start = on_validation_start


def requeue_job() -> bool:
    """Ask SLURM to run this job again; returns whether it will."""
    job = slurm_job() or ""
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
