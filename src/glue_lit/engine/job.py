"""A job: one training of a search or suite, with its folder, command, progress and outcome."""

import re
import shutil
import signal
import sys
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from glue_lit.errors import RunError
from glue_lit.runs.locks import lock
from glue_lit.runs.reading import read_record
from glue_lit.runs.run import LOGS, Run
from glue_lit.system.files import read_json, write_json
from glue_lit.system.job_error import read_job_error, remove_job_error

_PROGRESS, _OUTCOME, _STOP = "progress.json", "outcome.json", "stop"
State = Literal["finished", "failed", "pruned", "stopped"]


@dataclass(frozen=True)
class Progress:
    """Progress of a training.

    Attributes:
        step: Optimizer steps done.
        steps: Optimizer steps in total; 0 if not known yet.
        values: For each validation its number, from 1, and the monitored metric.
    """

    step: int = 0
    steps: int = 0
    values: tuple[tuple[int, float], ...] = ()

    @property
    def share(self) -> float:
        """Share of the steps that are done, from 0 to 1."""
        return min(1.0, self.step / self.steps) if self.steps else 0.0

    @classmethod
    def read(cls, folder: Path) -> "Progress":
        """Read the progress from a job's folder; a missing or damaged file means no progress."""
        try:
            saved = read_json(folder / _PROGRESS)
            values = tuple((int(number), float(value)) for number, value in saved["values"] if value is not None)
            return cls(int(saved["step"]), int(saved["steps"]), values)
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return cls()

    def write(self, folder: Path) -> None:
        """Write the progress into a job's folder, for the driver."""
        write_json(folder / _PROGRESS, asdict(self))


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes:
        state: ``finished``; ``failed``; ``pruned``, as its values did not look good; ``stopped``, to be resumed.
        error: What went wrong, in one line.
    """

    state: State
    error: str = ""

    @property
    def error_kind(self) -> str:
        """The error without numbers and paths, which differ between jobs that fail for the same reason."""
        return re.sub(r"\d+", "#", re.sub(r"\S*/\S*", "PATH", self.error))


@dataclass(frozen=True)
class Job:
    """One `glue-lit fit` in its own process.

    Attributes:
        name: Name in tables and messages.
        folder: Folder of its run, output and progress; no other job uses it.
        arguments: Arguments of `fit`.
        task: Name of its task, under which `fit` puts the run.
    """

    name: str
    folder: Path
    arguments: tuple[str, ...]
    task: str

    @property
    def run_path(self) -> Path:
        """Directory of its run, the first that `fit` creates in the folder."""
        return self.folder / LOGS / self.task / "version_0"

    @property
    def run(self) -> Run | None:
        """Its run; ``None`` before it has started."""
        run = Run(self.run_path)
        return run if run.config.is_file() else None

    @property
    def output(self) -> Path:
        """File with everything that its process prints."""
        return self.folder / "output.log"

    @property
    def result(self) -> dict[str, Any] | None:
        """Content of its run's ``metrics.json``; ``None`` before it has finished, or if a metric is not a number."""
        try:
            result = read_record(Run(self.run_path))
        except RunError:
            return None
        metrics = result.get("metrics") or {}
        return result if metrics and all(isinstance(v, int | float | None) for v in metrics.values()) else None

    def read_outcome(self) -> Outcome | None:
        """How it ended; ``None`` before that."""
        if self.result is not None:
            return Outcome("finished")
        try:
            saved = read_json(self.folder / _OUTCOME)
            return Outcome(saved["state"], saved["error"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write_outcome(self, outcome: Outcome) -> None:
        """Record how a job without a result ended."""
        write_json(self.folder / _OUTCOME, {"state": outcome.state, "error": outcome.error})

    def read_progress(self) -> Progress:
        """The progress that its process last wrote."""
        return Progress.read(self.folder)

    def command(self) -> list[str]:
        """Prepare the folder; return the command that resumes the run, or starts it if it has no checkpoint."""
        remove_job_error(self.folder)
        for name in (_STOP, _OUTCOME):
            (self.folder / name).unlink(missing_ok=True)
        fit = [sys.executable, "-m", "glue_lit", "fit"]
        if self.run is not None and (self.run.checkpoints / "last.ckpt").is_file():
            return [*fit, "--run", str(self.run_path), "--ckpt_path", "last"]
        shutil.rmtree(self.folder / LOGS, ignore_errors=True)
        (self.folder / _PROGRESS).unlink(missing_ok=True)
        return [*fit, *self.arguments, "--trainer.default_root_dir", str(self.folder)]

    def request_stop(self) -> None:
        """Ask the watcher of its process, which may be on another machine, to stop it."""
        (self.folder / _STOP).touch()

    @property
    def stop_requested(self) -> bool:
        """Whether `request_stop` was called since the last start."""
        return (self.folder / _STOP).exists()

    def outcome_from(self, status: int) -> Outcome:
        """How it ended, from the exit status of its process (negative for the signal that killed it)."""
        if self.result is not None:
            return Outcome("finished")
        if status in (75, 130, -signal.SIGTERM):  # it was stopped, and has written its last checkpoint
            return Outcome("stopped")
        if status < 0:
            name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
            why = ", as the system does when memory runs out" if name == "SIGKILL" else ""
            return Outcome("failed", f"its process was killed ({name}){why}")
        if status == 0:
            return Outcome("failed", f"it ended without a score; see its {self.output.name}")
        return Outcome("failed", read_job_error(self.folder) or _last_line(self.output))

    def remove_checkpoints(self, keep_best: bool) -> None:
        """Remove the checkpoints that are not needed after it has finished."""
        for name in ("last.ckpt", "last.json", *(() if keep_best else ("best.ckpt",))):
            (Run(self.run_path).checkpoints / name).unlink(missing_ok=True)


def _last_line(output: Path) -> str:
    """The last line of output, for a process that crashed in a library without writing an error."""
    try:
        with output.open(encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in deque(file, maxlen=200) if line.strip()]
    except OSError:
        lines = []
    return (lines or ["it printed nothing"])[-1][:500]


def lock_folder(folder: Path, what: str) -> int | None:
    """Create the folder of ``what`` (a search or suite) and lock it as `lock` does.

    Raises:
        RunError: Another driver uses it, or it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"Cannot make {folder} ({error.strerror}). Choose another place.") from None
    busy = f"Another process is working on {what} {folder}. Wait for it, or give this one another name."
    return lock(folder, busy)
