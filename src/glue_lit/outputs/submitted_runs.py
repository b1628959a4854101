"""Which runs a submission is made from: the best of each task, or those that the user names."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from glue_lit.errors import RunError, UsageError
from glue_lit.evaluation.report.run_in_words import section
from glue_lit.outputs.submission import ENTRIES, family
from glue_lit.runs.listing import finite_number
from glue_lit.runs.locks import check_unlocked, is_locked
from glue_lit.runs.reading import read_record
from glue_lit.runs.run import Run, find_runs, open_run
from glue_lit.tasks.glue import TASKS, TaskSpec


@dataclass(frozen=True)
class SubmittedRun:
    """A run that predicts a task's test rows.

    Attributes:
        run: The run.
        score: The task's own metric (`TaskSpec.monitor`), whichever metric picked the checkpoint; ``None`` before the
            run has finished.
        is_comparable: Whether the score is one on all of GLUE's validation rows.
    """

    run: Run
    score: float | None
    is_comparable: bool


@dataclass(frozen=True)
class BestRuns:
    """The best run of each task.

    Attributes:
        chosen: The best run of each task, by the task's name, in the order of the submission's files.
        candidates: Number of runs that it was chosen from, by task.
        skipped: Why other runs cannot be used, by their directories.
    """

    chosen: dict[str, SubmittedRun]
    candidates: dict[str, int]
    skipped: dict[Path, str]


def best_runs(logs: Path) -> BestRuns:
    """Choose the best run of each task of GLUE among those with a best checkpoint that no process is training.

    A score on the demo corpus or on a part of the validation rows counts less than any on all rows, since it cannot be
    compared with them; runs without a score come last. Of equal runs, the newest is taken.

    Args:
        logs: The folder of all runs, such as ``lightning_logs``.

    Raises:
        RunError: There is no such run.
    """
    found: dict[str, list[SubmittedRun]] = {}
    skipped: dict[Path, str] = {}
    for run in reversed(find_runs(logs)):
        if (spec := TASKS.get(run.path.parent.name)) is None:
            continue
        if not (run.checkpoints / "best.ckpt").is_file():
            skipped[run.path] = "has no best checkpoint"
        elif is_locked(run):
            skipped[run.path] = "is being trained"
        else:
            found.setdefault(family(spec), []).append(_with_score(run, TASKS[family(spec)]))
    if not found:
        raise RunError(
            f"There is no run of a GLUE task with a checkpoint in {logs}. Train one first, e.g. `glue-lit fit --config "
            "cola`, name runs, or say where lightning_logs lies: `--trainer.default_root_dir DIR`."
        )
    order = [task for task in dict.fromkeys(entry.trained_as for entry in ENTRIES.values()) if task in found]
    chosen = {task: max(found[task], key=_rank) for task in order}  # of equal ones the first, which is the newest
    return BestRuns(chosen, {task: len(found[task]) for task in order}, skipped)


def _rank(one: SubmittedRun) -> tuple[bool, bool, float]:
    return one.score is not None and one.is_comparable, one.score is not None, one.score or 0.0


def named_runs(paths: Sequence[Path]) -> dict[str, SubmittedRun]:
    """Open runs of GLUE's tasks, by the task's name.

    Raises:
        UsageError: One is not a run of a GLUE task, or two are of the same.
        RunError: One does not exist, or is being trained.
    """
    runs: dict[str, SubmittedRun] = {}
    for path in paths:
        if path.is_file() and path.suffix.lower() == ".zip":
            raise UsageError(f"submit: {path} is no run directory. To check a zip: `--check {path}`.")
        run = open_run(path, "submit")
        name = run.setting("data.task")
        if (spec := TASKS.get(name or "")) is None:
            raise UsageError(f"{run.path} is a run of {name or 'no task'}, which is not a task of GLUE.")
        if (task := family(spec)) in runs:
            raise UsageError(f"{runs[task].run.path} and {run.path} are both runs of {task}; name only one of them.")
        check_unlocked(run)
        runs[task] = _with_score(run, TASKS[task])
    return runs


def _with_score(run: Run, task: TaskSpec) -> SubmittedRun:
    try:
        record = read_record(run)
    except RunError:
        record = {}
    score = finite_number(section(record, "metrics").get(task.monitor))
    split = str(task.monitored_split)
    rows = section(record, "data", "splits", split).get("rows")
    source = record.get("source") or run.setting("data.source")
    return SubmittedRun(run, score, source != "demo" and rows in (None, task.files[split].rows))
