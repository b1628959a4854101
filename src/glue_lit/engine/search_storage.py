"""The database of a search's study: a file in its folder, or one on a server."""

import random
import re
import time
from pathlib import Path

import optuna
from optuna.study import Study, StudyDirection

from glue_lit.errors import RunError, UsageError

_ATTEMPTS = 8  # to create the tables of a database


def open_study(folder: Path, higher_is_better: bool, storage: str | None) -> Study:
    """Open the study of a search, or create it.

    Args:
        folder: Folder of the search, whose name is the study's.
        higher_is_better: Whether a higher value is better.
        storage: URL of a database; ``None`` for a file in the folder.

    Raises:
        RunError: The database cannot be used.
        UsageError: The driver of the database is not installed.
    """
    url = storage or f"sqlite:///{(folder / 'study.db').absolute()}"
    direction = StudyDirection.MAXIMIZE if higher_is_better else StudyDirection.MINIMIZE
    for attempts_left in reversed(range(_ATTEMPTS)):
        try:
            return optuna.create_study(study_name=folder.name, storage=url, direction=direction, load_if_exists=True)
        except ImportError as error:
            raise UsageError(
                f"--tune.storage: {error.name or error} is not installed; for PostgreSQL "
                "`pip install 'glue-lit[postgres]'`."
            ) from None
        except Exception as error:  # SQLAlchemy has a class for each error of a database
            # When two drivers create the tables at the same time, one fails.
            if attempts_left and re.search(r"already exists|duplicate key|UniqueViolation", str(error)):
                time.sleep(random.uniform(0.2, 1.0))
                continue
            reason = " ".join(str(error).split())[:200]
            raise RunError(
                f"The search's database {_without_password(url)} cannot be used: {reason}.{_remedy(reason)}"
            ) from error
    raise AssertionError("unreachable")


def _remedy(reason: str) -> str:
    """What to do about an error of a database file; empty for other errors."""
    if "locked" in reason:
        return " Another program (a dashboard, a copy) has locked it: close that, and run the command again."
    if "not a database" in reason or "malformed" in reason:
        return " It is damaged: restore a copy, or start a search with another name (`--tune.name NAME`)."
    if "unable to open" in reason or "readonly" in reason:
        return " Check that it is a file and that you may write it, or choose another folder with --tune.name."
    return ""


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"{head.rpartition(':')[0]}:...@{tail}" if at else url
