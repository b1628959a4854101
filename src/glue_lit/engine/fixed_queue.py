"""Jobs that are known beforehand, some of which wait for others."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from glue_lit.engine.job import Job, Outcome, Progress
from glue_lit.errors import RunError
from glue_lit.runs.command_line import CommandLine
from glue_lit.system.console import duration, say
from glue_lit.system.files import write_text


class FixedQueue:
    """A queue of jobs that are known beforehand; those that have a result are not started again.

    Args:
        jobs: In the order in which they start.
        needs: By a job's name, the name of the job that must finish before it.

    Raises:
        RunError: A job's folder holds a training with other settings.
    """

    def __init__(self, jobs: Sequence[Job], needs: Mapping[str, str] | None = None) -> None:
        self.jobs = list(jobs)
        self.needs = dict(needs or {})
        self.print: Callable[[str], None] = say
        self.outcomes: dict[str, Outcome] = {}
        self.running: set[str] = set()
        for job in self.jobs:
            _check_same_settings(job)
            if job.result is not None:
                self.outcomes[job.name] = Outcome("finished")

    def next_job(self) -> Job | None:
        """The first that is neither started nor waits for another."""
        self._leave_out()
        for job in self.jobs:
            if job.name in self.outcomes or job.name in self.running:
                continue
            needed = self.needs.get(job.name)
            if needed is None or self._state(needed) == "finished":
                self.running.add(job.name)
                write_text(_settings_file(job), _settings(job))
                return job
        return None

    def _state(self, name: str) -> str | None:
        return self.outcomes[name].state if name in self.outcomes else None

    def _leave_out(self) -> None:
        """Count jobs that need a failed one as failed."""
        for job in self.jobs:
            needed = self.needs.get(job.name)
            if needed is not None and job.name not in self.outcomes and self._state(needed) == "failed":
                self.outcomes[job.name] = Outcome("failed", f"{needed}, which it starts from, has failed")
                self.print(f"{job.name} is left out: {needed}, which it starts from, has failed.")

    def record_progress(self, job: Job, progress: Progress) -> bool:
        """Stop none."""
        return False

    def record_outcome(self, job: Job, outcome: Outcome) -> None:
        """Record the outcome, and print it."""
        self.running.discard(job.name)
        if outcome.state == "stopped":
            return
        self.outcomes[job.name] = outcome
        result = job.result
        if outcome.state == "finished" and result is not None:
            job.remove_checkpoints(keep_best=True)
            monitor = result.get("monitor") or next(iter(result["metrics"]))
            value = result["metrics"].get(monitor)
            score = "undefined" if value is None else f"{value:.4f}"
            self.print(f"{job.name} finished: {monitor} {score} in {duration(result.get('wall_seconds'))}")
        else:
            self.print(f"{job.name} failed: {outcome.error}")
        self._leave_out()

    @property
    def waiting(self) -> int:
        """How many are not started."""
        return len(self.jobs) - len(self.outcomes) - len(self.running)

    def summary(self) -> str:
        """All of them in a line."""
        failed = sum(outcome.state == "failed" for outcome in self.outcomes.values())
        done = len(self.outcomes) - failed
        return f"{done} done, {len(self.running)} running, {self.waiting} waiting, {failed} failed"


def _settings_file(job: Job) -> Path:
    return job.folder / "arguments.txt"


def _settings(job: Job) -> str:
    """The arguments and the content of their configuration files: two trainings are the same if both are."""
    files = [Path(file).read_text(encoding="utf-8") for file in CommandLine(job.arguments).config_files]
    return "\n".join([*job.arguments, "", *files]) + "\n"


def _check_same_settings(job: Job) -> None:
    """Stop where the training in a job's folder was started with other settings: its result is of something else."""
    file = _settings_file(job)
    if file.is_file() and file.read_text(encoding="utf-8") != _settings(job):
        raise RunError(
            f"{job.folder} holds a training with other settings. Give this one a name of its own, or remove that "
            "folder."
        )
