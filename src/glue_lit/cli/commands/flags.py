"""The parser of the commands that are not the trainer's, which reports errors in one message."""

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from glue_lit.cli.usual_names import nearest_flag
from glue_lit.errors import UsageError, did_you_mean
from glue_lit.runs.command_line import arguments_of
from glue_lit.runs.config_values import texts_in_list


class Flags(argparse.ArgumentParser):
    """``argparse`` with our errors; named as ``glue-lit COMMAND``."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse the words; a list may be several words, or one in brackets."""
        lists = [flag for action in self._actions if action.nargs == "+" for flag in action.option_strings]
        words: list[str] = []
        for argument in arguments_of(args or ()):
            is_one = argument.flag in lists and len(argument.values) == 1
            texts = texts_in_list(argument.values[0]) if is_one else None
            words += argument.words if texts is None else [argument.flag, *texts]
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        """Name the closest flag instead of printing the usage.

        Raises:
            UsageError: Always.
        """
        if match := re.match(r"argument (\S+): expected one argument", message):
            raise UsageError(f"{match[1]} needs a value; one that begins with a dash is written {match[1]}=VALUE.")
        command = self.prog.removeprefix("glue-lit ")
        unknown = message.removeprefix("unrecognized arguments: ").split(" ")[0].partition("=")[0]
        flags = [option for action in self._actions for option in action.option_strings]
        near = did_you_mean(unknown, flags) or nearest_flag(unknown, flags)
        hint = near if unknown != message.split(" ")[0] else ""
        raise UsageError(f"{command}: {message}.{hint} The flags are: {', '.join(flags)}.")
