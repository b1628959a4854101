"""Environment variables about this process and its job; each is read only here."""

import os
from pathlib import Path

JOB_FOLDER = "GLUE_LIT_JOB"  # set by a search or suite for the fits that it starts
_STARTER = "GLUE_LIT_PARENT"  # set by the first process of a fit for the processes that Lightning starts


def global_seed() -> int | None:
    """The seed of the last call of `lightning.seed_everything`, in this process or the one that started it."""
    seed = os.environ.get("PL_GLOBAL_SEED")
    return None if seed is None else int(seed)


def local_rank() -> int:
    """Rank of this process on its machine, from 0."""
    rank = os.environ.get("LOCAL_RANK", "0")
    return int(rank) if rank.isdecimal() else 0


def is_started_by_torchrun() -> bool:
    """Whether torchrun started this process; it kills all processes when one ends."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def slurm_job() -> str | None:
    """The id of the SLURM job that this process belongs to."""
    return os.environ.get("SLURM_JOB_ID") or None


def is_slurm_restart() -> bool:
    """Whether SLURM has requeued and restarted the job."""
    return os.environ.get("SLURM_RESTART_COUNT", "0") not in ("", "0")


def setting_variable(command: str, key: str) -> str:
    """Name of a setting's environment variable: GLUE_LIT_FIT__DATA__TASK for ``data.task`` of ``fit``."""
    return f"GLUE_LIT_{command}__{key.replace('.', '__')}".upper()


def cache_folder() -> str | None:
    """Folder of the token cache that the user has chosen, if any."""
    return os.environ.get("GLUE_LIT_CACHE") or None


def is_debugging() -> bool:
    """Whether the user wants tracebacks instead of one-line errors."""
    return os.environ.get("GLUE_LIT_DEBUG") == "1"


def job_folder() -> Path | None:
    """Folder of this process's job, if a search or suite started it."""
    folder = os.environ.get(JOB_FOLDER)
    return Path(folder) if folder else None


def starter() -> int | None:
    """Id of the process that called `announce_starter` and started this one; ``None`` without one."""
    found = os.environ.get(_STARTER, "")
    return int(found) if found.isdecimal() else None


def announce_starter() -> None:
    """Pass the id of this process to the processes that it starts."""
    os.environ[_STARTER] = str(os.getpid())
