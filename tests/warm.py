"""Run Python programs in forks of a process that has already imported the heavy libraries.

The imports would take most of a test's time. A fork does what a new process does, except for what happens while the
interpreter starts (locales); tests of that start new processes, and so do the programs themselves. Libraries read
``HF_*`` when they are imported, so programs with different values are forks of different processes.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
HEAVY = (
    "lightning.pytorch.cli", "transformers.models.bert.modeling_bert", "torch.distributed", "datasets", "optuna",
    "scipy.stats", "tensorboard.backend.event_processing.event_accumulator",
)  # fmt: skip


class Program:
    """A program that is running in a fork."""

    def __init__(self, pid: int, folder: Path, ended: "dict[int, int]", arrived: threading.Condition) -> None:
        self.pid, self._folder, self._ended, self._arrived = pid, folder, ended, arrived

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal, or ``None`` while it runs."""
        return self._ended.get(self.pid)

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def wait(self, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """Wait for its end, and return status and output."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: self.pid in self._ended, timeout):
                os.kill(self.pid, 9)
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
        texts = [(self._folder / name).read_text(encoding="utf-8") for name in ("stdout", "stderr")]
        shutil.rmtree(self._folder)
        return subprocess.CompletedProcess([], self._ended[self.pid], *texts)


class Warm:
    """The process that is forked; all tests of a worker share it.

    Args:
        read_at_import: The variables that libraries read when they are imported.
    """

    def __init__(self, read_at_import: dict[str, str]) -> None:
        own = {name: value for name, value in os.environ.items() if not is_read_at_import(name)}
        self._server = subprocess.Popen(
            [sys.executable, str(HERE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=own | read_at_import,
        )  # fmt: skip
        self._pids: list[int] = []
        self._ended: dict[int, int] = {}
        self._arrived = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._server.stdout is not None
        for line in self._server.stdout:
            what, pid, status = line.split()
            with self._arrived:
                if what == "begun":
                    self._pids.append(int(pid))
                else:
                    self._ended[int(pid)] = int(status)
                self._arrived.notify_all()

    def start(
        self, arguments: list[str], folder: Path, environment: dict[str, str], stdin: Path | None, stdout: Path | None
    ) -> Program:
        """Start a program; see the function `start`."""
        output = Path(tempfile.mkdtemp(prefix="warm-"))
        for name in ("stdout", "stderr"):
            (output / name).touch()
        streams = [str(stdin or os.devnull), str(stdout or output / "stdout"), str(output / "stderr")]
        request = {"arguments": arguments, "folder": str(folder), "environment": environment, "streams": streams}
        assert self._server.stdin is not None
        with self._arrived:
            count = len(self._pids)
            self._server.stdin.write(json.dumps(request) + "\n")
            self._server.stdin.flush()
            assert self._arrived.wait_for(lambda: len(self._pids) > count, 120)
            return Program(self._pids[-1], output, self._ended, self._arrived)


def is_read_at_import(name: str) -> bool:
    """Whether libraries read a variable when they are imported, and never again."""
    return name.startswith("HF_") and name != "HF_TOKEN"


@cache
def _warm(read_at_import: tuple[tuple[str, str], ...]) -> Warm:
    return Warm(dict(read_at_import))  # it ends with this process, whose pipe it reads


def start(
    *arguments: object, folder: Path | None = None, stdin: Path | None = None, stdout: Path | None = None,
    **environment: str,
) -> Program:  # fmt: skip
    """Start a program.

    Args:
        arguments: Arguments of ``python``: ``-m`` and a module, ``-c`` and code, or a file, then the program's own.
        folder: Its working directory; this process's by default.
        stdin: A file, pipe or terminal to read from; nothing by default.
        stdout: A pipe or terminal to write to; by default a file that `Program.wait` reads.
        environment: Variables besides this process's.
    """
    everything = {**os.environ, **environment}
    read_at_import = tuple(sorted(item for item in everything.items() if is_read_at_import(item[0])))
    return _warm(read_at_import).start(
        [str(argument) for argument in arguments], folder or Path.cwd(), everything, stdin, stdout
    )


def run(*arguments: object, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; see `start`."""
    return start(*arguments, folder=folder, **environment).wait()


# ---------------------------------------------------------------- in the process that is forked


def serve() -> None:
    """Fork for every line of standard input."""
    from glue_lit.system.library_warnings import filter_warnings

    filter_warnings()
    gc.disable()
    for name in HEAVY:
        importlib.import_module(name)
    gc.freeze()  # otherwise every fork would scan all objects again when it ends
    gc.enable()
    while True:
        ready, _, _ = select.select([0], [], [], 0.02)
        while (ended := wait_for_any()) is not None:
            os.write(1, f"ended {ended[0]} {os.waitstatus_to_exitcode(ended[1])}\n".encode())
        if not ready:
            continue
        if not (line := read_line()):
            return
        if (pid := os.fork()) == 0:
            break
        os.write(1, f"begun {pid} 0\n".encode())
    become(**json.loads(line))


def wait_for_any() -> tuple[int, int] | None:
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, status) if pid else None


def read_line() -> bytes:
    """Read a line of standard input without a buffer, which a fork would share."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(0, 1)):
        line += byte
    return line


def become(arguments: list[str], folder: str, environment: dict[str, str], streams: list[str]) -> None:
    """Run the program and exit with its status, without freeing memory first, which would take longer.

    Args:
        arguments: As of `start`.
        folder: Its working directory.
        environment: Its whole environment.
        streams: Files, pipes or terminals for standard input, output and error.
    """
    status: object = None
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background processes ignore it
    try:
        for number, name in enumerate(streams):
            os.dup2(os.open(name, os.O_WRONLY if number else os.O_RDONLY), number)
        execute(arguments, folder, environment)
    except SystemExit as stop:
        status = stop.code
    if not isinstance(status, int | None):
        print(status, file=sys.stderr)
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]  # wait for threads, as the interpreter does
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit((status or 0) & 0xFF)


def execute(arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """Run the program."""
    subprocess.run = answering(subprocess.run)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    how, *rest = arguments
    if how == "-m":
        sys.argv = rest
        sys.path[0] = folder
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif how == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.path[0] = ""
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = arguments
        sys.path[0] = str(Path(how).parent)
        sys.path.insert(1, str(HERE.parent))
        runpy.run_path(how, run_name="__main__")


def answering(run: Any) -> Any:
    """Wrap ``subprocess.run`` so that the program which prints a driver's configurations is a fork, too."""

    def answered(command: list[str], **options: Any) -> Any:
        if command[1:] != ["-m", "glue_lit.cli.print_configurations"]:
            return run(command, **options)
        output = tempfile.mkdtemp(prefix="warm-")  # a TemporaryDirectory would end with the fork
        paths = [Path(output, name) for name in ("stdin", "stdout", "stderr")]
        for path in paths:
            path.write_text(options["input"] if path.stem == "stdin" else "", encoding="utf-8")
        sys.stdout.flush()
        if (pid := os.fork()) == 0:
            atexit._clear()  # the driver's own clean-up, such as removing its temporary folders
            sys.stdout = sys.__stdout__  # `--json` replaces it
            become(command[1:], os.getcwd(), dict(os.environ), [str(path) for path in paths])
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        texts = [path.read_text(encoding="utf-8") for path in paths[1:]]
        shutil.rmtree(output)
        return subprocess.CompletedProcess(command, status, *texts)

    return answered


if __name__ == "__main__":
    serve()
