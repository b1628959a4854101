"""The ``glue-lit`` command: an entry point that imports torch only for commands that need it."""

import atexit
import gc
import os
import signal
import sys
from collections.abc import Callable

from glue_lit.cli.registry import COMMANDS, Command
from glue_lit.errors import GlueLitError, Stopped, UsageError, did_you_mean
from glue_lit.system.environment import is_debugging, is_started_by_torchrun, local_rank
from glue_lit.system.job_error import write_job_error
from glue_lit.system.printable import printable_lines
from glue_lit.system.run_log import add_to_log, end_log
from glue_lit.system.streams import escape_unencodable, replace_closed_streams, restart_in_utf8_mode
from glue_lit.system.system_errors import check_memory_limit, explain_system_error, original_error
from glue_lit.system.version import __version__

_RESERVE = 16 << 20  # bytes of address space, never written to; freed to print an error when memory has run out
_NO_MEMORY = b"glue-lit: error: There was not enough memory: raise the limit (`ulimit -v`, a container).\n"


def _help() -> str:
    commands = "\n".join(f"  {name:<10}{command.help}" for name, command in COMMANDS.items())
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
    from glue_lit.system.library_warnings import filter_warnings

    check_memory_limit()
    filter_warnings()
    # Imports create millions of objects and no garbage: collections would take a quarter of their time.
    gc.disable()
    try:
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
    """Run the command line in ``sys.argv``.

    Exits with 2 for wrong usage, 1 for other errors, 130 after Ctrl-C, and 75 when a signal stopped a run.
    """
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # nothing is left to interrupt
    reserve = bytearray()
    try:
        replace_closed_streams()
        restart_in_utf8_mode()
        escape_unencodable()
        reserve = bytearray(_RESERVE)
        _run(sys.argv[1:])
    except BrokenPipeError:  # `glue-lit show | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        sys.exit(130)
    except Stopped as stopped:
        sys.exit(stopped.exit_code)
    except Exception as error:
        reserve.clear()
        if is_debugging():
            raise
        try:
            _print_error(error)
        except MemoryError:
            os.write(2, _NO_MEMORY)
            os._exit(1)  # cleaning up would run out of memory too
        sys.exit(error.exit_code if isinstance(error, GlueLitError) else 1)
    finally:
        end_log()


def _print_error(error: Exception) -> None:
    rank = local_rank()
    # Rank 0 prints it for all ranks, except under torchrun, which kills the other ranks as soon as one has ended.
    is_printed_by_first = isinstance(error, GlueLitError) and error.everywhere and not is_started_by_torchrun()
    if rank > 0 and is_printed_by_first:
        return
    where = f" (rank {rank})" if rank else ""
    message = str(error) if isinstance(error, GlueLitError) else _unexpected(error)
    lines = [f"glue-lit: error{where}: {message}", *getattr(error, "__notes__", [])]
    write_job_error(message)
    text = printable_lines("\n".join(lines))  # a message may quote control characters from a file
    print(text, file=sys.stderr, flush=True)
    add_to_log(text)


def _unexpected(error: Exception) -> str:
    if (explanation := explain_system_error(error)) is not None:
        return explanation
    error = original_error(error)
    text = " ".join(str(error).split())[:500]
    return f"{type(error).__name__}: {text} (GLUE_LIT_DEBUG=1 shows the traceback.)"


if __name__ == "__main__":
    main()
