"""The parser of the commands that are not the trainer's, which reports errors in one message."""

import argparse
import re
from typing import NoReturn

from glue_lit.errors import UsageError, did_you_mean


class Flags(argparse.ArgumentParser):
    """``argparse`` with our errors; named as ``glue-lit COMMAND``."""

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
        hint = did_you_mean(unknown, flags) if unknown != message.split(" ")[0] else ""
        raise UsageError(f"{command}: {message}.{hint} The flags are: {', '.join(flags)}.")
