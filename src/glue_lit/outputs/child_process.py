"""Commands that other commands run, in a process of their own."""

import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import IO

from glue_lit.system.stopping import stopping_at_sigterm


def run_child(arguments: Sequence[str], output: IO[str] | None = None) -> tuple[int, str]:
    """Run ``glue-lit ARGUMENTS`` to its end; returns its exit status and what it wrote to standard error.

    Args:
        arguments: The command and its flags.
        output: Where its standard output goes; ``None`` for this process's own.
    """
    with stopping_at_sigterm():  # which ends the child, too
        done = subprocess.run(
            [sys.executable, "-m", "glue_lit", *arguments],
            stdout=output, stderr=subprocess.PIPE, text=True, errors="replace", check=False,
        )  # fmt: skip
    return done.returncode, done.stderr


def what_it_said(status: int, errors: str) -> str:
    """The error message of a process that failed."""
    if said := re.findall(r"^glue-lit: error(?: \(rank \d+\))?: (.*)$", errors, re.MULTILINE):
        return str(said[-1])
    if status < 0:
        return f"Its process was ended by {signal.Signals(-status).name}; SIGKILL often means that memory ran out."
    last = "".join(errors.strip().splitlines()[-1:])
    return f"Its process ended with status {status}{f': {last[:300]}' if last else '.'}"
