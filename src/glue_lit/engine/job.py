"""One training of many: its folder, its command, how far it has come and what it has come to."""

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
from glue_lit.runs.run import LOGS, Run, find_runs
from glue_lit.system.files import read_json, write_json

_OUTPUT, _PROGRESS, _OUTCOME, _STOP = "output.log", "progress.json", "outcome.json", "stop"
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
        state: ``finished``; ``failed``; ``pruned``, since it did not look good; ``stopped``, to go on later.
        error: What went wrong, in a line.
    """

    state: State
    error: str = ""

    @property
    def kind(self) -> str:
        """The error without what differs from one training to the next: numbers and paths."""
        return re.sub(r"\d+", "#", re.sub(r"\S*/\S*", "PATH", self.error))


@dataclass(frozen=True)
class Job:
    """One `glue-lit fit` in a process of its own.

    Attributes:
        name: What tables call it.
        folder: Holds its run, its output and its progress, and nothing else.
        arguments: Those of `fit`.
    """

    name: str
    folder: Path
    arguments: tuple[str, ...]

    @property
    def run(self) -> Run | None:
        """Its run, once that is begun."""
        runs = find_runs(self.folder / LOGS)
        return runs[-1] if runs else None

    @property
    def output(self) -> Path:
        """What its process has printed."""
        return self.folder / _OUTPUT

    @property
    def result(self) -> dict[str, Any] | None:
        """``metrics.json`` of its run, if that is finished."""
        run = self.run
        if run is None:
            return None
        try:
            found = read_json(run.metrics)
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and _are_figures(found.get("metrics")) else None

    @property
    def outcome(self) -> Outcome | None:
        """How it has ended, if it has."""
        if self.result is not None:
            return Outcome("finished")
        try:
            found = read_json(self.folder / _OUTCOME)
            return Outcome(found["state"], found["error"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, outcome: Outcome) -> None:
        """Write down how it has ended, if not by a result."""
        write_json(self.folder / _OUTCOME, {"state": outcome.state, "error": outcome.error})

    def progress(self) -> Progress:
        """How far it has come, as its process last said."""
        try:
            found = read_json(self.folder / _PROGRESS)
            values = tuple((int(number), float(value)) for number, value in found["values"] if value is not None)
            return Progress(int(found["step"]), int(found["steps"]), values)
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return Progress()

    def command(self) -> list[str]:
        """The command that begins it, or goes on with it; what cannot be gone on with is removed."""
        for name in (_STOP, _OUTCOME):
            (self.folder / name).unlink(missing_ok=True)
        run, start = self.run, [sys.executable, "-m", "glue_lit", "fit"]
        if run is not None and (run.checkpoints / "last.ckpt").is_file():
            return [*start, "--run", str(run.path), "--ckpt_path", "last"]
        shutil.rmtree(self.folder / LOGS, ignore_errors=True)
        (self.folder / _PROGRESS).unlink(missing_ok=True)
        return [*start, *self.arguments, "--trainer.default_root_dir", str(self.folder)]

    def ask_to_stop(self) -> None:
        """Leave word for whoever watches its process, on whichever machine."""
        (self.folder / _STOP).touch()

    @property
    def is_to_stop(self) -> bool:
        """Whether there is such a word."""
        return (self.folder / _STOP).exists()

    def ended(self, code: int) -> Outcome:
        """How it has ended.

        Args:
            code: Exit status of its process; below 0 the signal that killed it.
        """
        if self.result is not None:
            return Outcome("finished")
        if code in (75, 130, -signal.SIGTERM):  # it was asked to, and has written its last checkpoint if there was any
            return Outcome("stopped")
        if code < 0:
            return Outcome("failed", _killed(-code))
        return Outcome("failed", _last_words(self.output) if code else "it ended without a score; see its output.log")

    def thin_out(self, keep_best: bool) -> None:
        """Remove checkpoints that nobody needs once it is finished."""
        run = self.run
        for name in ("last.ckpt", "last.json", *(() if keep_best else ("best.ckpt",))):
            if run is not None:
                (run.checkpoints / name).unlink(missing_ok=True)


def _are_figures(metrics: Any) -> bool:
    """Whether it is what a run comes to: at least one metric, each a number or undefined."""
    if not isinstance(metrics, dict) or not metrics:
        return False
    return all(isinstance(value, int | float | None) for value in metrics.values())


def _killed(signum: int) -> str:
    name = signal.Signals(signum).name if signum in set(signal.Signals) else f"signal {signum}"
    why = ", as the system does when memory runs out" if name == "SIGKILL" else ""
    return f"its process was killed ({name}){why}"


def _last_words(output: Path) -> str:
    """The error message in what a process has printed, else its last line."""
    try:
        with output.open(encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in deque(file, maxlen=200) if line.strip()]
    except OSError:
        lines = []
    said = [line for line in lines if line.startswith("glue-lit: error")]
    text = said[-1].partition(": ")[2].partition(": ")[2] if said else (lines or ["it said nothing"])[-1]
    return text[:500]


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
