"""The ``glue-lit`` command: an entry point that imports torch only for commands that need it."""

import gc
import sys
from collections.abc import Callable

from glue_lit.cli.registry import COMMANDS, Command
from glue_lit.cli.reporting import report_errors
from glue_lit.errors import UsageError, did_you_mean
from glue_lit.system.system_errors import check_memory_limit
from glue_lit.system.version import __version__


def _help() -> str:
    commands = "\n".join(f"  {name:<12}{command.help}" for name, command in COMMANDS.items())
    return f"""usage: glue-lit COMMAND [options]

Fine-tune any Hugging Face encoder on the GLUE benchmark.

commands:
{commands}

options:
  --help     this text; `glue-lit COMMAND --help` for a command's options
  --version  the version

examples:
  glue-lit fit --config cola
  glue-lit fit --config cola --model.learning_rate 5e-5 --data.source GLUE_FOLDER
  glue-lit validate --ckpt_path best
  tensorboard --logdir lightning_logs"""


def _function(command: Command) -> Callable[[], None]:
    if not command.needs_torch:
        return command.load()
    from glue_lit.system.lazy_imports import defer_scipy_signal
    from glue_lit.system.library_warnings import filter_warnings

    check_memory_limit()
    filter_warnings()
    # Imports create millions of objects and no garbage: collections would take a quarter of their time.
    gc.disable()
    try:
        with defer_scipy_signal():
            return command.load()
    finally:
        gc.freeze()  # later collections skip these objects too
        gc.enable()


def _run(arguments: list[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
    elif arguments[0] in ("-V", "--version", "version"):
        print(f"glue-lit {__version__}")
    elif arguments[0] not in COMMANDS:
        raise UsageError(
            f"there is no command {arguments[0]!r}.{did_you_mean(arguments[0], COMMANDS)} "
            f"The commands are: {', '.join(COMMANDS)}."
        )
    else:
        _function(COMMANDS[arguments[0]])()


def main() -> None:
    """Run the command line in ``sys.argv``; exits as `report_errors` says."""
    report_errors(lambda: _run(sys.argv[1:]))


if __name__ == "__main__":
    main()
