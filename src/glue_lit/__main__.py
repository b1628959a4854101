"""The ``glue-lit`` command: a thin entry that answers what it can before anything heavy is imported."""

import atexit
import gc
import os
import signal
import sys
from collections.abc import Callable

from glue_lit.errors import GlueLitError, Stopped, UsageError, did_you_mean
from glue_lit.system.environment import is_debugging, is_started_by_torchrun, local_rank
from glue_lit.system.printable import printable_lines
from glue_lit.system.run_log import end_log, keep
from glue_lit.system.streams import open_streams, print_anything, speak_utf8
from glue_lit.system.system_errors import check_memory_limit, refusal, told
from glue_lit.system.version import __version__

_RESERVE = 16 << 20  # bytes of address space, none of it written to: what is left to say that memory is out
_NO_MEMORY = b"glue-lit: error: There was not enough memory: raise the limit (`ulimit -v`, a container).\n"

_COMMANDS = {
    "fit": "fine-tune a model on a task",
    "validate": "score a checkpoint on the validation rows",
    "test": "score or predict the test rows with a checkpoint",
    "predict": "predict a split, a file, a text or standard input with a checkpoint",
    "export": "write a run's model for others: a folder, ONNX, the Hub",
    "submit": "write or check the zip for the GLUE leaderboard",
    "tune": "search hyperparameters: many short trainings, then the best settings",
    "suite": "train all tasks over several seeds: means, spreads, the GLUE average",
    "runs": "list the runs, best first, or compare some of them",
    "report": "write a page and figures on a run, or on several side by side",
    "tasks": "list the tasks",
    "show": "print random examples of a task",
}


def _help() -> str:
    commands = "\n".join(f"  {name:<10}{what}" for name, what in _COMMANDS.items())
    return f"""usage: glue-lit COMMAND [options]

Fine-tune any Hugging Face encoder on the GLUE benchmark.

commands:
{commands}

options:
  --help     this text; `glue-lit COMMAND --help` for a command's options
  --version  the version

examples:
  glue-lit fit --config configs/cola.yaml
  glue-lit fit --config configs/cola.yaml --model.learning_rate 5e-5 --data.source GLUE_FOLDER
  glue-lit validate --ckpt_path best
  tensorboard --logdir lightning_logs"""


def _command(name: str) -> Callable[[], None]:
    if name == "tasks":
        from glue_lit.cli.commands.tasks import main
    elif name == "runs":
        from glue_lit.cli.commands.runs import main
    elif name == "submit":
        from glue_lit.cli.commands.submit import main
    elif name == "report":
        from glue_lit.cli.commands.report import main
    elif name == "show":
        from glue_lit.cli.commands.show import main
    elif name == "tune":
        from glue_lit.cli.commands.tune import main
    elif name == "suite":
        from glue_lit.cli.commands.suite import main
    else:
        from glue_lit.system.library_warnings import hush

        check_memory_limit()
        hush()
        # Millions of objects are made here and none is garbage: looking for it takes a quarter of the time.
        gc.disable()
        try:
            if name == "export":
                from glue_lit.cli.commands.export import main
            elif name == "predict" and _own_predict(sys.argv[2:]):
                from glue_lit.cli.commands.predict import main
            else:
                from glue_lit.cli.trainer_commands import main
        finally:
            gc.freeze()  # nor will they be looked at later
            gc.enable()
    return main


def _own_predict(arguments: list[str]) -> bool:
    """Whether `predict` is asked for something else than a split of the run's data as it is."""
    own = ("--text", "--text_pair", "--file", "--columns", "--output", "--json", "--devices", "--calibrate")
    return any(argument.partition("=")[0] in (*own, "--help", "-h") for argument in arguments)


def _run(arguments: list[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
    elif arguments[0] in ("-V", "--version", "version"):
        print(f"glue-lit {__version__}")
    elif arguments[0] not in _COMMANDS:
        raise UsageError(
            f"there is no command {arguments[0]!r}.{did_you_mean(arguments[0], _COMMANDS)} "
            f"The commands are: {', '.join(_COMMANDS)}."
        )
    else:
        _command(arguments[0])()


def main() -> None:
    """Run the command line in ``sys.argv``.

    Exits with 2 for wrong usage, 1 for other errors, 130 after Ctrl-C, and 75 when a signal stopped a run.
    """
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # all is done: there is nothing to interrupt
    reserve = bytearray()
    try:
        open_streams()
        speak_utf8()
        print_anything()
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
            os._exit(1)  # whatever would still run has no room either
        sys.exit(error.exit_code if isinstance(error, GlueLitError) else 1)
    finally:
        end_log()


def _print_error(error: Exception) -> None:
    rank = local_rank()
    # One message is enough, but under torchrun, which kills the others as soon as one has ended.
    is_told = isinstance(error, GlueLitError) and error.everywhere and not is_started_by_torchrun()
    if rank > 0 and is_told:
        return
    where = f" (rank {rank})" if rank else ""
    message = str(error) if isinstance(error, GlueLitError) else _unexpected(error)
    lines = [f"glue-lit: error{where}: {message}", *getattr(error, "__notes__", [])]
    # A message quotes what stands in a file.
    text = printable_lines("\n".join(lines))
    print(text, file=sys.stderr, flush=True)
    keep(text)


def _unexpected(error: Exception) -> str:
    if (refused := refusal(error)) is not None:
        return refused
    error = told(error)
    text = " ".join(str(error).split())[:500]
    return f"{type(error).__name__}: {text} (GLUE_LIT_DEBUG=1 shows where.)"


if __name__ == "__main__":
    main()
