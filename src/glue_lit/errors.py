"""Errors with a message for the user: what was given, what is allowed, what to do."""

import difflib
import signal
from collections.abc import Iterable

RULE_OF_PATHS = (
    "A relative path is looked up in the working directory, then beside the configuration file that names it."
)


class GlueLitError(ValueError):
    """Base of the errors that a user can act on; commands print them without a traceback.

    Args:
        message: The message for the user.
        everywhere: Whether all processes of the run raise it; then only the first of each machine prints it.
    """

    exit_code = 1

    def __init__(self, message: str = "", everywhere: bool = False) -> None:
        super().__init__(message)
        self.everywhere = everywhere


class UsageError(GlueLitError):
    """A flag, a configuration key or a name that does not exist or does not fit."""

    exit_code = 2


class DataError(GlueLitError):
    """A file, split or row that does not fit the task."""


class ModelError(GlueLitError):
    """A model or a tokenizer that cannot be loaded, or does not fit the task."""


class RunError(GlueLitError):
    """A run directory or a checkpoint that is missing or does not fit."""


class DivergenceError(RunError):
    """A loss or gradient that is not finite."""


class Stopped(BaseException):
    """A signal asked the run to stop. It is not an ``Exception``, so that ``except Exception`` does not catch it.

    Args:
        signum: Number of the signal.
        agreed: Whether all processes of the run stop at the same step.
    """

    def __init__(self, signum: int, agreed: bool = False) -> None:
        super().__init__(signum)
        self.signum = signum
        self.agreed = agreed

    @property
    def exit_code(self) -> int:
        """130 for Ctrl-C, else 75 (``EX_TEMPFAIL`` of sysexits.h), which means that it can be resumed."""
        return 130 if self.signum == signal.SIGINT else 75


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """``" Did you mean 'x'?"`` for the choice nearest to ``word``, or ``""`` when none is near."""
    near = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""


def enumerated(words: Iterable[str]) -> str:
    """Words as in a sentence: ``a``, ``a and b``, ``a, b and c``."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
