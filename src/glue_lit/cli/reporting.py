"""The end of a command in an error: one message, and an exit status."""

import atexit
import os
import signal
import sys
from collections.abc import Callable

from glue_lit.errors import GlueLitError, Stopped
from glue_lit.system.environment import is_debugging, is_started_by_torchrun, local_rank
from glue_lit.system.job_error import write_job_error
from glue_lit.system.printable import printable_lines
from glue_lit.system.run_log import add_to_log, end_log
from glue_lit.system.streams import escape_unencodable, replace_closed_streams, restart_in_utf8_mode
from glue_lit.system.system_errors import explain_system_error, original_error

_RESERVE = 16 << 20  # bytes of address space, never written to; freed to print an error when memory has run out
_NO_MEMORY = b"glue-lit: error: There was not enough memory: raise the limit (`ulimit -v`, a container).\n"


def report_errors(run: Callable[[], None]) -> None:
    """Run a command, and print what is wrong as one message in place of a traceback.

    Exits with 2 for wrong usage, 1 for other errors, 130 after Ctrl-C, and 75 when a signal stopped a run.
    """
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # nothing is left to interrupt
    reserve = bytearray()
    try:
        replace_closed_streams()
        restart_in_utf8_mode()
        escape_unencodable()
        reserve = bytearray(_RESERVE)
        run()
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
