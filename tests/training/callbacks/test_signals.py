"""Signals that stop a run. This file is also the script of two processes that gloo cannot connect."""

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import warm

from glue_lit.errors import Stopped
from glue_lit.training.callbacks.signals import StopRequest, requeue_job

ALONE: Any = SimpleNamespace(world_size=1)


@pytest.fixture
def listening() -> Iterator[StopRequest]:
    stop = StopRequest()
    with stop.listening():
        yield stop


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_training_is_a_request(listening: StopRequest, signum: int) -> None:
    listening.note_signals(ALONE)
    assert listening.agreed_signal(ALONE) == 0
    os.kill(os.getpid(), signum)
    assert listening.agreed_signal(ALONE) == signum


def test_the_first_signal_is_the_reason(listening: StopRequest) -> None:
    listening.note_signals(ALONE)
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    assert listening.agreed_signal(ALONE) == signal.SIGTERM


def test_a_second_ctrl_c_ends_the_run_at_once(listening: StopRequest) -> None:
    listening.note_signals(ALONE)
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(Stopped) as stopped:
        os.kill(os.getpid(), signal.SIGINT)
    assert stopped.value.exit_code == 130


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_outside_training_ends_the_run_at_once(listening: StopRequest, signum: int, status: int) -> None:
    with pytest.raises(Stopped) as stopped:
        os.kill(os.getpid(), signum)
    assert stopped.value.exit_code == status
    listening.note_signals(ALONE)
    listening.release_signals()
    with pytest.raises(Stopped), contextlib.suppress(Exception):  # a library's `except Exception` does not catch it
        os.kill(os.getpid(), signum)


def test_earlier_signal_handlers_are_restored() -> None:
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
    stop = StopRequest()
    with stop.listening():
        stop.note_signals(ALONE)
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)] == before


def test_signals_are_not_handled_in_python() -> None:
    before = signal.getsignal(signal.SIGINT)
    stop = StopRequest()  # as in `LastCheckpoint()` of a user's own program
    stop.note_signals(ALONE)
    assert signal.getsignal(signal.SIGINT) is before
    assert stop.agreed_signal(ALONE) == 0


def test_slurms_warning_signal_counts_only_under_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with StopRequest().listening():
        assert signal.getsignal(signal.SIGUSR1) is before
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    stop = StopRequest()
    with stop.listening():
        stop.note_signals(ALONE)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop.agreed_signal(ALONE) == signal.SIGUSR1


def main(rank: int) -> None:
    import torch

    def refuse(**options: Any) -> None:
        raise RuntimeError("no route to host")

    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)  # in place of NCCL
    torch.distributed.new_group = refuse
    trainer: Any = SimpleNamespace(
        world_size=2, is_global_zero=rank == 0, strategy=SimpleNamespace(root_device=torch.device("cpu")),
        fit_loop=SimpleNamespace(epoch_loop=SimpleNamespace()),
    )  # fmt: skip
    stop = StopRequest()
    with stop.listening():
        stop.note_signals(trainer)
        for batch in range(1, 50):
            if batch == 3 and rank == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            if signum := stop.agreed_signal(trainer):
                print(f"stopped by {signum} at batch {batch}")
                break


def test_processes_that_gloo_cannot_connect_stop_at_the_same_batch() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    ranks = [warm.start(__file__, rank, MASTER_ADDR="127.0.0.1", MASTER_PORT=port) for rank in range(2)]
    first, second = (rank.wait(60) for rank in ranks)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "looked for at every 20th batch only, because gloo cannot connect the processes: no route to" in first.stdout
    assert first.stdout.endswith("stopped by 15 at batch 20\n")
    assert second.stdout == "stopped by 15 at batch 20\n"


def scontrol(folder: Path, status: int = 0) -> Path:
    """A fake of SLURM's command that records its arguments."""
    folder.mkdir(exist_ok=True)
    program = folder / "scontrol"
    program.write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls\nexit {status}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return folder


@pytest.mark.parametrize(("status", "done"), [(0, True), (1, False)])
def test_slurm_is_asked_to_run_the_job_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, done: bool
) -> None:
    monkeypatch.setenv("PATH", f"{scontrol(tmp_path / 'bin', status)}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "1234")
    assert requeue_job() is done
    assert (tmp_path / "bin" / "calls").read_text() == "requeue 1234\n"


def test_without_scontrol_no_requeue_is_promised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert requeue_job() is False


def test_a_requeued_slurm_job_is_resumed(tmp_path: Path, tiny_model: Path) -> None:
    settings = {
        "data.task": "rte", "data.source": "demo", "data.train_limit": 40, "data.validation_limit": 9,
        "model.name_or_path": tiny_model, "trainer.accelerator": "cpu", "trainer.max_epochs": 2,
    }  # fmt: skip
    job = {
        "SLURM_JOB_ID": "7", "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
        "SLURM_JOB_NAME": "tune", "PATH": f"{scontrol(tmp_path / 'bin')}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1",
    }  # fmt: skip

    def run(**environment: str) -> subprocess.CompletedProcess[str]:
        script = Path(__file__).parents[2] / "faulty.py"
        arguments = (f"--{name}={value}" for name, value in settings.items())
        return warm.run(script, "fit", *arguments, folder=tmp_path, **job, **environment)

    first = run(FAULT="training:2:SIGUSR1:0", SLURM_RESTART_COUNT="0")
    assert first.returncode == 75, first.stderr
    assert "Stopped by SIGUSR1." in first.stdout
    assert "SLURM will restart this job, and the run will be resumed." in first.stdout
    assert (tmp_path / "bin" / "calls").read_text() == "requeue 7\n"
    second = run(SLURM_RESTART_COUNT="1")  # by the same command; the job may have others
    assert second.returncode == 0, second.stderr
    assert "SLURM has restarted job 7: resuming lightning_logs/rte/version_0." in second.stdout
    assert [path.name for path in (tmp_path / "lightning_logs" / "rte").iterdir()] == ["version_0"]
    assert (tmp_path / "lightning_logs" / "rte" / "version_0" / "metrics.json").is_file()


if __name__ == "__main__":
    main(int(sys.argv[1]))
