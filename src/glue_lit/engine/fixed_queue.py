"""Trainings that are known beforehand, some of which wait for others."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from glue_lit.engine.job import Job, Outcome, Progress
from glue_lit.errors import RunError
from glue_lit.runs.command_line import CommandLine
from glue_lit.system.console import duration, say
from glue_lit.system.files import write_text


class FixedQueue:
    """A queue of jobs that are known beforehand; those that have a result are not begun again.

    Args:
        jobs: In the order in which they are begun.
        needs: By a job's name, the name of the job that must have finished before.

    Raises:
        RunError: A job's folder holds a training with other settings.
    """

    def __init__(self, jobs: Sequence[Job], needs: Mapping[str, str] | None = None) -> None:
        self.jobs = list(jobs)
        self.needs = dict(needs or {})
        self.say: Callable[[str], None] = say
        self.outcomes: dict[str, Outcome] = {}
        self.running: set[str] = set()
        for job in self.jobs:
            _check_same(job)
            if job.result is not None:
                self.outcomes[job.name] = Outcome("finished")

    def next(self) -> Job | None:
        """The first that is neither begun nor waits for another."""
        self._give_up()
        for job in self.jobs:
            if job.name in self.outcomes or job.name in self.running:
                continue
            first = self.needs.get(job.name)
            if first is None or self.outcomes.get(first, Outcome("stopped")).state == "finished":
                self.running.add(job.name)
                write_text(_settings_file(job), _settings(job))
                return job
        return None

    def _give_up(self) -> None:
        """Jobs that wait for one that has failed have failed, too."""
        for job in self.jobs:
            first = self.needs.get(job.name)
            if first is not None and job.name not in self.outcomes:
                of_first = self.outcomes.get(first)
                if of_first is not None and of_first.state == "failed":
                    self.outcomes[job.name] = Outcome("failed", f"{first}, which it starts from, has failed")
                    self.say(f"{job.name} is left out: {first}, which it starts from, has failed.")

    def report(self, job: Job, progress: Progress) -> bool:
        """None is given up."""
        return False

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Note it, and say so."""
        self.running.discard(job.name)
        if outcome.state == "stopped":
            return
        self.outcomes[job.name] = outcome
        result = job.result
        if outcome.state == "finished" and result is not None:
            job.thin_out(keep_best=True)
            monitor = result.get("monitor") or next(iter(result["metrics"]))
            value = result["metrics"].get(monitor)
            shown = "undefined" if value is None else f"{value:.4f}"
            self.say(f"{job.name} finished: {monitor} {shown} in {duration(result.get('wall_seconds'))}")
        else:
            self.say(f"{job.name} failed: {outcome.error}")
        self._give_up()

    @property
    def waiting(self) -> int:
        """How many are not begun."""
        return len(self.jobs) - len(self.outcomes) - len(self.running)

    def summary(self) -> str:
        """A line on all of them."""
        failed = sum(outcome.state == "failed" for outcome in self.outcomes.values())
        done = len(self.outcomes) - failed
        return f"{done} done, {len(self.running)} running, {self.waiting} waiting, {failed} failed"


def _settings_file(job: Job) -> Path:
    return job.folder / "arguments.txt"


def _settings(job: Job) -> str:
    """The arguments, and what is in their configuration files: two trainings are the same if both are."""
    files = [Path(file).read_text(encoding="utf-8") for file in CommandLine(job.arguments).config_files]
    return "\n".join([*job.arguments, "", *files]) + "\n"


def _check_same(job: Job) -> None:
    """Stop where a folder's training was begun with other settings: its result is of something else."""
    try:
        before = _settings_file(job).read_text(encoding="utf-8")
    except OSError:
        return
    if before != _settings(job):
        raise RunError(
            f"{job.folder} holds a training with other settings. Give this one a name of its own, or remove that "
            "folder."
        )
