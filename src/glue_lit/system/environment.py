"""Environment variables that say what this process belongs to; each of them is read here alone."""

import os
from pathlib import Path

JOB_FOLDER = "GLUE_LIT_JOB"  # set by a search or suite for the fits that it starts
_STARTER = "GLUE_LIT_PARENT"  # set by the first process of a fit for those that Lightning starts


def global_seed() -> int | None:
    """The seed that `lightning.seed_everything` was called with, in this process or the one that started it."""
    seed = os.environ.get("PL_GLOBAL_SEED")
    return None if seed is None else int(seed)


def local_rank() -> int:
    """Number of this process on its machine, from 0."""
    rank = os.environ.get("LOCAL_RANK", "0")
    return int(rank) if rank.isdecimal() else 0


def is_started_by_torchrun() -> bool:
    """Whether torchrun started this process; it kills all others as soon as one ends."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def slurm_job() -> str | None:
    """The id of the SLURM job that this process is part of."""
    return os.environ.get("SLURM_JOB_ID") or None


def is_slurm_restart() -> bool:
    """Whether SLURM has requeued the job and started it again."""
    return os.environ.get("SLURM_RESTART_COUNT", "0") not in ("", "0")


def setting_variable(command: str, key: str) -> str:
    """Name of the variable that gives a command a setting: GLUE_LIT_FIT__DATA__TASK for ``data.task`` of ``fit``."""
    return f"GLUE_LIT_{command}__{key.replace('.', '__')}".upper()


def cache_folder() -> str | None:
    """Folder of the token cache, if the user has chosen one."""
    return os.environ.get("GLUE_LIT_CACHE") or None


def is_debugging() -> bool:
    """Whether the user wants tracebacks in place of one-line errors."""
    return os.environ.get("GLUE_LIT_DEBUG") == "1"


def job_folder() -> Path | None:
    """Folder of the job that this process works on, if a search or suite has started it."""
    folder = os.environ.get(JOB_FOLDER)
    return Path(folder) if folder else None


def starter() -> int | None:
    """Id of the process that called `announce_starter`, in a process that it started."""
    found = os.environ.get(_STARTER, "")
    return int(found) if found.isdecimal() else None


def announce_starter() -> None:
    """Tell the processes that this one starts its id."""
    os.environ[_STARTER] = str(os.getpid())
