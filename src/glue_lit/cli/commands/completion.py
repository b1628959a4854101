"""``glue-lit completion``: a script that lets a shell complete commands, flags and values."""

import argparse
import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from glue_lit.cli.commands.flags import Flags
from glue_lit.cli.registry import COMMANDS
from glue_lit.errors import GlueLitError, UsageError

_FLAG = re.compile(r"^\s+(?:ARG: +)?(?:-\w(?: \w+)?, )?(--[\w.]+)(?: \{([^}]*)\})?", re.MULTILINE)
_PATH = re.compile(r".*(?:config|file|path|dir|source|run|compare|check|init_from)")


def main() -> None:
    """Print the script.

    Raises:
        UsageError: shtab is not installed.
    """
    flags = Flags("glue-lit completion", description="Print a script for tab completion, made by shtab.")
    flags.add_argument("shell", choices=["bash", "zsh", "tcsh"])
    shell = flags.parse_args(sys.argv[2:]).shell
    try:
        import shtab
    except ImportError:
        raise UsageError("completion: shtab is not installed: `pip install 'glue-lit[completion]'`.") from None
    print(shtab.complete(_parser(shtab.FILE), shell))


def _parser(file: Any) -> argparse.ArgumentParser:
    """All commands with their flags, which come from each command's ``--help``.

    Args:
        file: shtab's mark of an argument that is a file.
    """
    parser = argparse.ArgumentParser("glue-lit")
    commands = parser.add_subparsers()
    for name, command in COMMANDS.items():
        own = commands.add_parser(name, help=command.help, add_help=False)
        for flag, values in _flags_of(name):
            action: Any = own.add_argument(flag, choices=values)
            if values is None and _PATH.fullmatch(flag):
                action.complete = file
        words: Any = own.add_argument("words", nargs="*")
        words.complete = file
    return parser


def _flags_of(command: str) -> Iterator[tuple[str, list[str] | None]]:
    """Each flag of a command, with its values where there are a few."""
    arguments, columns = sys.argv, os.environ.get("COLUMNS")
    sys.argv, os.environ["COLUMNS"] = ["glue-lit", command, "--help"], "100000"  # so that nothing is wrapped
    try:
        with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit, GlueLitError):
            COMMANDS[command].load()()
    finally:
        sys.argv = arguments
        os.environ.pop("COLUMNS")
        os.environ.update({} if columns is None else {"COLUMNS": columns})
    for flag, values in dict(_FLAG.findall(printed.getvalue())).items():
        yield flag, values.split(",") if values else None
