"""`delete_runs`: remove run directories with their checkpoints, and nothing else."""

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from glue_lit.errors import RunError
from glue_lit.runs.locks import is_locked, lock_run
from glue_lit.runs.run import LOGS, Run, is_version

# What fits, evaluations and reports write into a run; names with a leading dot are files that are being written.
_OF_A_RUN = re.compile(
    r"\..*|config\.yaml|metrics\.json|log\.txt|slurm_job|hparams\.yaml|metrics\.csv|checkpoints|predictions|report(-.*)?"
    r"|events\.out\.tfevents\..*"
)


@dataclass(frozen=True)
class DeletableRun:
    """A run that may be deleted.

    Attributes:
        run: The run.
        size: Bytes of its files.
    """

    run: Run
    size: int


def find_deletable(paths: Sequence[Path]) -> tuple[DeletableRun, ...]:
    """The runs in these directories, each once.

    Raises:
        RunError: One is no run, is being trained, or holds files that glue-lit did not write.
    """
    runs = {os.path.realpath(path): Run(path) for path in paths}
    for run in runs.values():
        _check_deletable(run)
    return tuple(DeletableRun(run, _size(run.path)) for run in runs.values())


def delete_runs(runs: Sequence[DeletableRun]) -> None:
    """Delete runs, one after the other.

    Raises:
        RunError: One is being trained by now, or cannot be deleted; those before it are gone.
    """
    for one in runs:
        lock = lock_run(one.run)
        try:
            shutil.rmtree(one.run.path)
        except OSError as error:
            raise RunError(f"--delete: {error.filename} cannot be deleted ({error.strerror}).") from None
        finally:
            if lock is not None:
                os.close(lock)


def _check_deletable(run: Run) -> None:
    path = run.path
    if path.is_symlink():
        raise RunError(f"--delete: {path} is a link to {os.path.realpath(path)}. Name the run itself.")
    if not path.is_dir():
        raise RunError(f"--delete: there is no directory {str(path)!r}. `glue-lit runs` lists the runs.")
    try:
        names = sorted(entry.name for entry in path.iterdir())
    except OSError as error:
        raise RunError(f"--delete: {path} cannot be read ({error.strerror}).") from None
    if not run.config.is_file() and not (is_version(path) and {"checkpoints", "metrics.json"} & set(names)):
        raise RunError(f"--delete: {path} is not a run, it has no config.yaml. Runs are in {LOGS}/<task>/version_N.")
    if others := [name for name in names if not _OF_A_RUN.fullmatch(name)]:
        raise RunError(
            f"--delete: {path} holds {', '.join(map(repr, others[:5]))}, which glue-lit did not write there, so "
            "nothing is deleted. Move what you want to keep."
        )
    if is_locked(run):
        raise RunError(f"--delete: {path} is being trained by another process, so nothing is deleted. Stop it first.")


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
