"""The error of a job, in a file in its folder, for the search or suite."""

import contextlib
from pathlib import Path

from glue_lit.system.environment import job_folder

_FILE = "error.txt"


def write_job_error(message: str) -> None:
    """Write the error that ends this process, if a search or suite started it."""
    folder = job_folder()
    if folder is not None:
        with contextlib.suppress(OSError):
            (folder / _FILE).write_text(message, encoding="utf-8")


def read_job_error(folder: Path) -> str:
    """The first line of the error in a job's folder; empty if there is none."""
    try:
        lines = (folder / _FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return lines[0][:500] if lines else ""


def remove_job_error(folder: Path) -> None:
    """Remove the error of an earlier start."""
    (folder / _FILE).unlink(missing_ok=True)
