"""Who trains a run: its directory is locked, so that two fits never write into one."""

import os
import time

from glue_lit.errors import RunError
from glue_lit.runs.run import Run

_LOOKS = (0.01, 0.02, 0.05)  # seconds to try a lock again after


def lock_run(run: Run) -> int | None:
    """Keep other fits out of a run directory until the returned handle is closed or this process ends.

    ``None`` where the system has no such locks.

    Raises:
        RunError: Another process is training this run.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    handle = None
    try:
        handle = os.open(run.path, os.O_RDONLY)
        for patience in (*_LOOKS, None):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:  # maybe by `is_locked`, for a moment
                if patience is None:
                    raise
                time.sleep(patience)
        return handle
    except BlockingIOError:
        os.close(handle)  # type: ignore[arg-type]
        raise RunError(
            f"Run {run.path} is being trained by another process. Wait for it, or start a run of its own "
            "(leave `--ckpt_path` out)."
        ) from None
    except OSError:  # a file system without locks
        if handle is not None:
            os.close(handle)
        return None


def is_locked(run: Run) -> bool:
    """Whether a process is training a run, as far as the system has locks.

    The lock is asked for as a shared one, so that two who look do not take each other for a fit.
    """
    try:
        import fcntl

        handle = os.open(run.path, os.O_RDONLY)
    except (ImportError, OSError):
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(handle)
    return False


def check_unlocked(run: Run) -> None:
    """Stop where a run is asked for that has not ended.

    Raises:
        RunError: A process is training it.
    """
    if is_locked(run):
        raise RunError(f"{run.path} is being trained by another process. Wait for it, or name another run.")
