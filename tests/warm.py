"""Run Python programs in forks of a process that has already imported the heavy libraries.

The imports would take most of a test's time. A fork does what a new process does, except for what happens while the
interpreter starts (locales); tests of that start new processes, and so do the programs themselves. Libraries read
``HF_*`` when they are imported, so programs with different values are forks of different processes.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
HEAVY = (
    "lightning.pytorch.cli", "transformers.models.bert.modeling_bert", "torch.distributed", "datasets", "optuna",
    "scipy.stats", "tensorboard.backend.event_processing.event_accumulator",
)  # fmt: skip
OWN = ("glue_lit", "glue_lit.__main__", "glue_lit.cli.print_configurations")  # the modules of glue-lit's processes
NUMBER = struct.Struct("q")  # over a connection: the length of a request; then the pid, and in the end the exit status


class Server:
    """The process that is forked; all tests of a worker share it, and the programs that they start.

    Args:
        read_at_import: The variables that libraries read when they are imported.
    """

    def __init__(self, read_at_import: dict[str, str]) -> None:
        own = {name: value for name, value in os.environ.items() if not is_read_at_import(name)}
        self.address = str(Path(tempfile.mkdtemp(prefix="warm-"), "socket"))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.address)
            listener.listen()
            # Standard output is a pipe, since Python keeps whether it can seek: in a file it could, a fork's terminal not.
            self._process = subprocess.Popen(
                [sys.executable, str(HERE), self.address, str(listener.fileno())], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, env=own | read_at_import, pass_fds=[listener.fileno()],
            )  # fmt: skip
        atexit.register(self._close)

    def _close(self) -> None:
        self._process.communicate()  # it ends when the pipe does
        shutil.rmtree(Path(self.address).parent)


class Popen(subprocess.Popen[Any]):
    """``subprocess.Popen``, with forks of a server in place of glue-lit's processes.

    Args:
        command: A program and its arguments.
        paths: Pipes or terminals that a fork opens itself in place of standard input and output.
        options: Those of ``subprocess.Popen``.
    """

    def __init__(self, command: Any, *more: Any, paths: Sequence[Path | None] | None = None, **options: Any) -> None:
        self._connection: socket.socket | None = None
        self._paths = paths
        self._leads = options.get("start_new_session", False)
        super().__init__(command, *more, **options)

    def _execute_child(self, command: Any, *others: Any) -> None:
        folder, environment, streams = others[4], others[5], others[9:15]
        environment = dict(os.environ if environment is None else environment)
        if self._paths is None and not is_own(command):
            super()._execute_child(command, *others)  # type: ignore[misc]
            return
        request = {
            "arguments": [str(word) for word in command[1:]], "folder": str(folder or Path.cwd()),
            "environment": environment, "paths": [path and str(path) for path in self._paths or ()],
            "leads": self._leads, "parent": os.getpid(),
        }  # fmt: skip
        content = json.dumps(request).encode()
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(_server_of(environment))
        own = [number if given < 0 else given for number, given in enumerate((streams[0], streams[3], streams[5]))]
        socket.send_fds(self._connection, [NUMBER.pack(len(content))], own)
        self._connection.sendall(content)
        self._close_pipe_fds(*streams)  # type: ignore[attr-defined]
        self.pid = self._received()
        self._child_created = True

    def _received(self) -> int:
        assert self._connection is not None
        content = self._connection.recv(NUMBER.size, socket.MSG_WAITALL)
        return int(NUMBER.unpack(content)[0])

    def _try_wait(self, flags: int) -> tuple[int, int]:
        if self._connection is None:
            return super()._try_wait(flags)  # type: ignore[misc, no-any-return]
        if flags & os.WNOHANG and not select.select([self._connection], [], [], 0)[0]:
            return 0, 0
        status = self._received()
        self._connection.close()
        return self.pid, status

    def _internal_poll(self, *dead: Any, **options: Any) -> int | None:
        if self._connection is None:
            return super()._internal_poll(*dead, **options)  # type: ignore[misc, no-any-return]
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode


class Program:
    """A program that is running in a fork, whose output is kept in a folder."""

    def __init__(self, process: Popen, folder: Path) -> None:
        self.pid, self.poll, self.send_signal = process.pid, process.poll, process.send_signal
        self._process, self._folder = process, folder

    def wait(self, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """Wait for its end, and return status and output."""
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        texts = [(self._folder / name).read_text(encoding="utf-8") for name in ("stdout", "stderr")]
        shutil.rmtree(self._folder)
        return subprocess.CompletedProcess([], status, *texts)


def is_own(command: Any) -> bool:
    """Whether a command runs glue-lit or a file of the tests in a process of its own."""
    match command:
        case [sys.executable, "-m", module, *_]:
            return module in OWN
        case [sys.executable, str() as file, *_]:
            return HERE.parent in Path(file).parents and Path(file) != HERE
    return False


def is_read_at_import(name: str) -> bool:
    """Whether libraries read a variable when they are imported, and never again."""
    return name.startswith("HF_") and name != "HF_TOKEN"


_forked_from: str | None = None  # address of the server that this process is a fork of


def _server_of(environment: dict[str, str]) -> str:
    if _forked_from is not None:
        return _forked_from
    return _server(tuple(sorted(item for item in environment.items() if is_read_at_import(item[0])))).address


@cache
def _server(read_at_import: tuple[tuple[str, str], ...]) -> Server:
    return Server(dict(read_at_import))


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
    output = Path(tempfile.mkdtemp(prefix="warm-"))
    with (output / "stdout").open("wb") as out, (output / "stderr").open("wb") as errors:
        process = Popen(
            [sys.executable, *map(str, arguments)], paths=[stdin, stdout], stdin=subprocess.DEVNULL, stdout=out,
            stderr=errors, cwd=folder, env={**os.environ, **environment},
        )  # fmt: skip
    return Program(process, output)


def run(*arguments: object, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; see `start`."""
    return start(*arguments, folder=folder, **environment).wait()


# ---------------------------------------------------------------- in the process that is forked


def serve(address: str, listener: socket.socket) -> None:
    """Fork for every connection; see `Popen`."""
    global _forked_from
    from glue_lit.system.library_warnings import filter_warnings

    filter_warnings()
    gc.disable()
    for name in HEAVY:
        importlib.import_module(name)
    gc.freeze()  # otherwise every fork would scan all objects again when it ends
    gc.enable()
    waiting: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([0, listener], [], [], 0.02)
        while (ended := wait_for_any()) is not None:
            with waiting.pop(ended[0]) as connection, contextlib.suppress(OSError):  # nobody may wait for it any more
                connection.sendall(NUMBER.pack(ended[1]))
        if 0 in ready:
            os._exit(0)  # without freeing memory first
        if listener not in ready:
            continue
        connection, _ = listener.accept()
        size, streams, _, _ = socket.recv_fds(connection, NUMBER.size, 3)
        request = connection.recv(NUMBER.unpack(size)[0], socket.MSG_WAITALL)
        if (pid := os.fork()) == 0:
            break
        for stream in streams:
            os.close(stream)
        waiting[pid] = connection
        connection.sendall(NUMBER.pack(pid))
    _forked_from = address
    become(streams, **json.loads(request))


def wait_for_any() -> tuple[int, int] | None:
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, status) if pid else None


def become(
    streams: list[int],
    arguments: list[str],
    folder: str,
    environment: dict[str, str],
    paths: list[str | None],
    leads: bool,
    parent: int,
) -> None:
    """Run the program and exit with its status, without freeing memory first, which would take longer.

    Args:
        streams: Standard input, output and error.
        arguments: As of `start`.
        folder: Its working directory.
        environment: Its whole environment.
        paths: Pipes or terminals in place of standard input and output.
        leads: Whether it leads a new session.
        parent: The process that has started it.
    """
    status: object = None
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background processes ignore it
    try:
        os.getppid = lambda: parent if is_alive(parent) else 1
        if leads:
            os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        for number, path in enumerate(paths):
            if path is not None:
                os.dup2(os.open(path, os.O_WRONLY if number else os.O_RDONLY), number)
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


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def execute(arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """Run the program."""
    subprocess.Popen = Popen  # type: ignore[misc]
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


if __name__ == "__main__":
    serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
