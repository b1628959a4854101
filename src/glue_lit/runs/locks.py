"""Locks on run directories, so that two fits never write to the same one."""

import os
import time
from pathlib import Path

from glue_lit.errors import RunError
from glue_lit.runs.run import Run

_WAITS = (0.01, 0.02, 0.05, None)  # seconds before the next attempt


def lock(folder: Path, busy: str) -> int | None:
    """Lock a folder until the returned handle is closed or this process ends, however that happens.

    Returns ``None`` if the system or the file system has no such locks.

    Raises:
        RunError: Another process has locked it; the message is ``busy``.
    """
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):  # Windows has no fcntl
        return None
    try:
        for wait in _WAITS:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return handle
            except BlockingIOError:  # perhaps another process in `is_locked`, which takes a moment
                if wait is not None:
                    time.sleep(wait)
    except OSError:  # a file system without locks
        os.close(handle)
        return None
    os.close(handle)
    raise RunError(busy)


def lock_run(run: Run) -> int | None:
    """Keep other fits out of a run directory, as `lock` does.

    Raises:
        RunError: Another process is training this run.
    """
    wait = "Wait for it, or start a new run (leave out `--ckpt_path`)."
    return lock(run.path, f"Run {run.path} is being trained by another process. {wait}")


def is_locked(run: Run) -> bool:
    """Whether a process is training a run; ``False`` where the system has no locks.

    It takes a shared lock, so that two readers do not mistake each other for a fit.
    """
    try:
        import fcntl

        handle = os.open(run.path, os.O_RDONLY)
    except (ImportError, OSError):
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)  # other errors: a file system without locks
    finally:
        os.close(handle)
    return False


def check_unlocked(run: Run) -> None:
    """Refuse a run that is being trained.

    Raises:
        RunError: Another process is training it.
    """
    if is_locked(run):
        raise RunError(f"{run.path} is being trained by another process. Wait for it, or name another run.")
