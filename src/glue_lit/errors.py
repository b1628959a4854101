"""Errors that are a message to the user: what we got, what is allowed, what to do."""

import difflib
import signal
from collections.abc import Iterable


class GlueLitError(ValueError):
    """Base of every error that a user can act on; the command prints it without a traceback.

    Args:
        message: For the user.
        everywhere: Whether every process of the run raises it; the first of each machine prints it then.
    """

    exit_code = 1

    def __init__(self, message: str = "", everywhere: bool = False) -> None:
        super().__init__(message)
        self.everywhere = everywhere


class UsageError(GlueLitError):
    """A flag, a configuration key or a name that does not exist or does not fit."""

    exit_code = 2


class DataError(GlueLitError):
    """A file, a split or a row that cannot be read as what the task needs."""


class ModelError(GlueLitError):
    """A model or a tokenizer that cannot be loaded, or does not fit the task."""


class RunError(GlueLitError):
    """A run directory or a checkpoint that is missing or does not fit."""


class DivergenceError(RunError):
    """Training whose loss or gradient is no longer a number."""


class Stopped(BaseException):
    """A run that was asked to stop by a signal; no error, so no ``except Exception`` may keep it.

    Args:
        signum: The signal.
        agreed: Whether all processes of the run stop at the same point.
    """

    def __init__(self, signum: int, agreed: bool = False) -> None:
        super().__init__(signum)
        self.signum = signum
        self.agreed = agreed

    @property
    def exit_code(self) -> int:
        """130 for Ctrl-C, else 75 (``EX_TEMPFAIL`` of sysexits.h): run it again, it will go on."""
        return 130 if self.signum == signal.SIGINT else 75


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """``" Did you mean 'x'?"`` for the choice nearest to ``word``, or ``""`` when none is near."""
    near = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""
