"""One training of many: its folder, its command, its progress and its outcome."""

import re
import shutil
import signal
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from glue_lit.errors import RunError
from glue_lit.runs.locks import lock_run
from glue_lit.runs.run import LOGS, Run
from glue_lit.system.files import read_json, write_json
from glue_lit.system.job_error import read_job_error, remove_job_error

PROGRESS_FILE = "progress.json"
_OUTCOME, _STOP = "outcome.json", "stop"
State = Literal["finished", "failed", "pruned", "stopped"]


@dataclass(frozen=True)
class Progress:
    """How far a training has come.

    Attributes:
        step: Optimizer steps done.
        steps: All of them; 0 if not known yet.
        values: The monitored metric after each validation, by its number from 1.
    """

    step: int = 0
    steps: int = 0
    values: tuple[tuple[int, float], ...] = ()

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return min(1.0, self.step / self.steps) if self.steps else 0.0


@dataclass(frozen=True)
class Outcome:
    """How a training has ended.

    Attributes:
        state: ``finished``; ``failed``; ``pruned``, since it did not look good; ``stopped``, to be resumed later.
        error: What went wrong, in a line.
    """

    state: State
    error: str = ""

    @property
    def error_kind(self) -> str:
        """The error without numbers and paths, which differ from one training to the next."""
        return re.sub(r"\d+", "#", re.sub(r"\S*/\S*", "PATH", self.error))


@dataclass(frozen=True)
class Job:
    """One `glue-lit fit` in a process of its own.

    Attributes:
        name: What tables call it.
        folder: Holds its run, its output and its progress, and nothing else.
        arguments: Those of `fit`.
        task: Its task, by whose name its run is found.
    """

    name: str
    folder: Path
    arguments: tuple[str, ...]
    task: str

    @property
    def run_path(self) -> Path:
        """Directory of its run: the first that `fit` makes in the folder."""
        return self.folder / LOGS / self.task / "version_0"

    @property
    def run(self) -> Run | None:
        """Its run, once that has begun."""
        run = Run(self.run_path)
        return run if run.config.is_file() else None

    @property
    def output(self) -> Path:
        """File of all that its process prints."""
        return self.folder / "output.log"

    @property
    def result(self) -> dict[str, Any] | None:
        """``metrics.json`` of its run, if that has finished."""
        try:
            result = read_json(Run(self.run_path).metrics)
        except (OSError, ValueError):
            return None
        return result if isinstance(result, dict) and _are_scores(result.get("metrics")) else None

    def read_outcome(self) -> Outcome | None:
        """How it has ended, if it has."""
        if self.result is not None:
            return Outcome("finished")
        try:
            saved = read_json(self.folder / _OUTCOME)
            return Outcome(saved["state"], saved["error"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write_outcome(self, outcome: Outcome) -> None:
        """Keep how it has ended, if it has no result."""
        write_json(self.folder / _OUTCOME, {"state": outcome.state, "error": outcome.error})

    def read_progress(self) -> Progress:
        """Its progress, as its process last wrote it."""
        return read_progress(self.folder)

    def command(self) -> list[str]:
        """The command that starts or resumes it; a run that has no checkpoint to resume from is removed."""
        remove_job_error(self.folder)
        for name in (_STOP, _OUTCOME):
            (self.folder / name).unlink(missing_ok=True)
        fit = [sys.executable, "-m", "glue_lit", "fit"]
        if self.run is not None and (self.run.checkpoints / "last.ckpt").is_file():
            return [*fit, "--run", str(self.run_path), "--ckpt_path", "last"]
        shutil.rmtree(self.folder / LOGS, ignore_errors=True)
        (self.folder / PROGRESS_FILE).unlink(missing_ok=True)
        return [*fit, *self.arguments, "--trainer.default_root_dir", str(self.folder)]

    def request_stop(self) -> None:
        """Ask whoever watches its process, on whichever machine, to stop it."""
        (self.folder / _STOP).touch()

    @property
    def stop_requested(self) -> bool:
        """Whether `request_stop` was called."""
        return (self.folder / _STOP).exists()

    def outcome_from(self, status: int) -> Outcome:
        """How it has ended.

        Args:
            status: Exit status of its process; below 0 the signal that killed it.
        """
        if self.result is not None:
            return Outcome("finished")
        if status in (75, 130, -signal.SIGTERM):  # it was asked to stop, and has written its last checkpoint
            return Outcome("stopped")
        if status < 0:
            return Outcome("failed", _describe_signal(-status))
        if status == 0:
            return Outcome("failed", f"it ended without a score; see its {self.output.name}")
        return Outcome("failed", read_job_error(self.folder) or _last_line(self.output))

    def remove_checkpoints(self, keep_best: bool) -> None:
        """Remove the checkpoints that nobody needs once it has finished."""
        for name in ("last.ckpt", "last.json", *(() if keep_best else ("best.ckpt",))):
            (Run(self.run_path).checkpoints / name).unlink(missing_ok=True)


def read_progress(folder: Path) -> Progress:
    """The progress that is written in a job's folder."""
    try:
        saved = read_json(folder / PROGRESS_FILE)
        values = tuple((int(number), float(value)) for number, value in saved["values"] if value is not None)
        return Progress(int(saved["step"]), int(saved["steps"]), values)
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return Progress()


def _are_scores(metrics: Any) -> bool:
    """Whether it holds at least one metric, each a number or undefined."""
    return (
        isinstance(metrics, dict) and bool(metrics) and all(isinstance(v, int | float | None) for v in metrics.values())
    )


def _describe_signal(signum: int) -> str:
    name = signal.Signals(signum).name if signum in set(signal.Signals) else f"signal {signum}"
    why = ", as the system does when memory runs out" if name == "SIGKILL" else ""
    return f"its process was killed ({name}){why}"


def _last_line(output: Path) -> str:
    """The last line of a process that ended without an error message, as one that crashes in a library does."""
    try:
        with output.open(encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in deque(file, maxlen=200) if line.strip()]
    except OSError:
        lines = []
    return (lines or ["it printed nothing"])[-1][:500]


def lock_folder(folder: Path, what: str) -> int | None:
    """Keep other drivers out of a folder until the handle is closed or this process ends.

    Args:
        folder: Made if it is not there.
        what: What it is, for the message.

    Raises:
        RunError: Another driver works in it, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"Cannot make {folder} ({error.strerror}). Choose another place.") from None
    try:
        return lock_run(Run(folder))
    except RunError:
        raise RunError(
            f"Another process is working on {what} {folder}. Wait for it, or give this one a name of its own."
        ) from None
