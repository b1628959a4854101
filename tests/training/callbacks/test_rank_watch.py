import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from glue_lit.training.callbacks.rank_watch import _describe_exit, is_lost_connection

CHILD = "from glue_lit.training.callbacks.rank_watch import die_with_parent; die_with_parent(); print('up', flush=True); import time; time.sleep(60)"
PARENT = f"""
import os, subprocess, sys, time
from glue_lit.training.callbacks.rank_watch import die_with_parent
die_with_parent()
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], env=dict(os.environ, LOCAL_RANK="1"), stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_no_process_outlives_the_one_that_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLUE_LIT_PARENT", raising=False)
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert is_running(child)
    parent.kill()
    parent.communicate()
    until = time.monotonic() + 20
    while is_running(child) and time.monotonic() < until:
        time.sleep(0.1)
    assert not is_running(child)


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:14923"), True),
        (RuntimeError("NCCL communicator was aborted on rank 0"), True),
        (RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"), False),
        (ValueError("connection"), False),
    ],
)
def test_errors_of_a_lost_connection_are_recognised(error: Exception, lost: bool) -> None:
    assert is_lost_connection(error) is lost


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (-signal.SIGKILL, "(pid 12) was killed by SIGKILL"),
        (-200, "(pid 12) was killed by signal 200"),
        (1, "(pid 12) ended with exit status 1; its own message is above"),
    ],
)
def test_the_end_of_a_process_in_words(status: int, words: str) -> None:
    assert _describe_exit(SimpleNamespace(pid=12, returncode=status)) == words
