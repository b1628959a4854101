"""A queue of jobs known in advance, some of which wait for others."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from glue_lit.engine.job import Job, Outcome, Progress
from glue_lit.errors import RunError
from glue_lit.runs.command_line import CommandLine
from glue_lit.system.console import duration, say
from glue_lit.system.files import write_text


class FixedQueue:
    """A queue of jobs known in advance; jobs with a result are not started again.

    Args:
        jobs: The jobs, in the order in which they start.
        needs: For a job's name, the name of the job that must finish first.

    Raises:
        RunError: A job's folder holds a training with other settings.
    """

    def __init__(self, jobs: Sequence[Job], needs: Mapping[str, str] | None = None) -> None:
        self.jobs = list(jobs)
        self.needs = dict(needs or {})
        self.print: Callable[[str], None] = say
        self.running: set[str] = set()
        for job in self.jobs:
            _check_same_settings(job)
        self.outcomes = {job.name: Outcome("finished") for job in self.jobs if job.result is not None}

    def next_job(self) -> Job | None:
        """The first job that has not started and waits for no other; jobs that need a failed job count as failed."""
        for job in self.jobs:
            if job.name in self.outcomes or job.name in self.running:
                continue
            needed = self.needs.get(job.name)
            outcome = Outcome("finished") if needed is None else self.outcomes.get(needed)
            if outcome is not None and outcome.state == "failed":
                self.outcomes[job.name] = Outcome("failed", f"{needed}, which it starts from, failed")
                self.print(f"{job.name} is skipped: {needed}, which it starts from, failed.")
                return self.next_job()  # others may need this one
            if outcome is not None and outcome.state == "finished":
                self.running.add(job.name)
                write_text(_settings_file(job), _settings(job))
                return job
        return None

    def record_progress(self, job: Job, progress: Progress) -> bool:
        """Never prune a job."""
        return False

    def record_outcome(self, job: Job, outcome: Outcome) -> None:
        """Record an outcome and print it; a stopped job returns to the queue."""
        self.running.discard(job.name)
        if outcome.state == "stopped":
            return
        self.outcomes[job.name] = outcome
        result = job.result
        if outcome.state != "finished" or result is None:
            self.print(f"{job.name} failed: {outcome.error}")
            return
        job.remove_checkpoints(keep_best=True)
        monitor = result.get("monitor") or next(iter(result["metrics"]))
        value = result["metrics"].get(monitor)
        score = "undefined" if value is None else f"{value:.4f}"
        self.print(f"{job.name} finished: {monitor} {score} in {duration(result.get('wall_seconds'))}")

    @property
    def waiting(self) -> int:
        """Number of jobs that have not started."""
        return len(self.jobs) - len(self.outcomes) - len(self.running)

    def summary(self) -> str:
        """A line that counts the jobs by state."""
        failed = sum(outcome.state == "failed" for outcome in self.outcomes.values())
        done = len(self.outcomes) - failed
        return f"{done} done, {len(self.running)} running, {self.waiting} waiting, {failed} failed"


def _settings_file(job: Job) -> Path:
    return job.folder / "arguments.txt"


def _settings(job: Job) -> str:
    """The arguments and the content of their configuration files, which together identify a training."""
    files = [Path(file).read_text(encoding="utf-8") for file in CommandLine(job.arguments).config_files]
    return "\n".join([*job.arguments, "", *files]) + "\n"


def _check_same_settings(job: Job) -> None:
    """Refuse a folder whose training had other settings: its result would be mistaken for this job's."""
    file = _settings_file(job)
    if file.is_file() and file.read_text(encoding="utf-8") != _settings(job):
        raise RunError(
            f"{job.folder} holds a training with other settings. Give this one another name, or remove that folder."
        )
