"""`run_submit`: the zip for the GLUE server, from the runs' predictions of the test rows, which are made if missing."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from glue_lit.errors import RunError, UsageError
from glue_lit.outputs.child_process import run_child, what_it_said
from glue_lit.outputs.submission import ENTRIES, Entry, entry_text, filled_text
from glue_lit.outputs.submission_zip import write_zip
from glue_lit.runs.prediction_record import checkpoint_fingerprint, read_prediction_record
from glue_lit.runs.run import Run
from glue_lit.system.console import count_of
from glue_lit.tasks.glue import TASKS


@dataclass(frozen=True)
class SubmittedFile:
    """A file of a submission.

    Attributes:
        name: Its name in the zip.
        rows: Number of rows.
        run: The run that predicted it; ``None`` if every row has the most frequent label.
    """

    name: str
    rows: int
    run: Path | None


@dataclass(frozen=True)
class SubmitResult:
    """A submission that was written.

    Attributes:
        zip: Its file.
        files: What is in it.
    """

    zip: Path
    files: tuple[SubmittedFile, ...]


def run_submit(
    runs: Mapping[str, Run],
    output: Path,
    *,
    fill_missing: bool = False,
    reuse: bool = False,
    source: str | None = None,
    overwrite: bool = False,
    on_predict: Callable[[str, Run, str], None] = lambda task, run, why: None,
) -> SubmitResult:
    """Predict the test rows where that is needed, and write the zip.

    Args:
        runs: The run of each task, by the name of the task; the one of mnli also predicts ax.
        output: The zip, written whole or not at all.
        fill_missing: Fill tasks without a run with their most frequent label.
        reuse: Also use predictions that were changed, or that have no record and are newer than the checkpoint.
        source: Where the test rows are; ``None`` for each run's own source.
        overwrite: Replace an earlier zip.
        on_predict: Called before a task's test rows are predicted, with the task, the run and the reason.

    Raises:
        UsageError: The zip exists, or the test rows would be those of the demo corpus.
        RunError: A task has no run, or its test rows cannot be predicted.
        DataError: Predictions are not those of the official test rows.
    """
    check_submission(output, source, overwrite)
    if not fill_missing:
        _check_complete(runs)
    for (task, name), why in _to_predict(runs, source, reuse).items():
        on_predict(name, runs[task], why)
        _predict(name, runs[task], source)
    texts, files = {}, []
    for entry in ENTRIES.values():
        run = runs.get(entry.trained_as)
        texts[entry.name] = filled_text(entry) if run is None else entry_text(entry, _predictions(entry, run))
        files.append(SubmittedFile(entry.name, entry.rows, None if run is None else run.path))
    write_zip(output, texts)
    return SubmitResult(output, tuple(files))


def check_submission(path: Path, source: str | None, overwrite: bool) -> None:
    """Stop before hours of predictions if the zip cannot be written, or would not be GLUE's.

    Raises:
        UsageError: The zip exists or has another ending, or the test rows would be those of the demo corpus.
        RunError: Its folder cannot be written.
    """
    if source == "demo":
        raise UsageError("--data.source: the test rows of the demo corpus are not GLUE's. Allowed: hub, a GLUE folder.")
    if path.suffix.lower() != ".zip" or path.is_dir():
        raise UsageError(f"--output: got {str(path)!r}, allowed: the name of a file that ends in .zip.")
    if path.exists() and not overwrite:
        raise UsageError(f"--output: {path} exists. Name another file, or pass `--overwrite`.")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise RunError(f"--output: cannot write in {folder}. Choose another folder.")


def _check_complete(runs: Mapping[str, Run]) -> None:
    missing = [entry for entry in ENTRIES.values() if entry.trained_as not in runs]
    if missing:
        tasks = ", ".join(dict.fromkeys(entry.trained_as for entry in missing))
        raise RunError(
            f"There is no run of {tasks}, so {', '.join(entry.name for entry in missing)} would be missing, and the "
            "server needs all files. Train them (`glue-lit fit --config TASK`), or pass "
            "`--fill_missing majority` to fill them with the most frequent label."
        )


def _predictions(entry: Entry, run: Run) -> Path:
    """The file that `test` writes with a run for an entry."""
    own = TASKS[run.setting("data.task") or entry.task.name]
    task = own if entry.name in own.submission.values() else entry.task
    return run.predictions / f"{run.prefix(task.name)}{entry.split}.jsonl"


def _to_predict(runs: Mapping[str, Run], source: str | None, reuse: bool) -> dict[tuple[str, str], str]:
    """What must be predicted, and why: by run (its task) and task, since both files of MNLI are made at once."""
    outdated: dict[tuple[str, str], str] = {}
    for entry in ENTRIES.values():
        if (run := runs.get(entry.trained_as)) is not None and (why := _why_outdated(entry, run, reuse)):
            outdated.setdefault((entry.trained_as, entry.task.name), why)
            run.checkpoint("best")  # if it is missing, the error names the others
            if source is None and run.setting("data.source") == "demo":
                raise UsageError(
                    f"{run.path} was trained on the demo corpus, whose test rows are not GLUE's. Say where those are: "
                    "`--data.source hub`, or a GLUE folder."
                )
    return outdated


def _why_outdated(entry: Entry, run: Run, reuse: bool) -> str:
    """Why a run's existing predictions cannot be used; empty if they can."""
    path, best = _predictions(entry, run), run.checkpoints / "best.ckpt"
    if not path.is_file():
        return "there are none"
    record = read_prediction_record(path)
    if record is None and run.setting("data.source") == "demo":
        return "they may be for the demo corpus"
    if record is None:  # nothing but its time tells what it is for
        newer = not best.is_file() or path.stat().st_mtime_ns > best.stat().st_mtime_ns
        return "" if reuse and newer else f"{path.name} does not say what it is for" if newer else "they are older"
    if record["changed"]:
        if reuse:
            return ""
        raise RunError(
            f"{path} was changed after `test` wrote it. `--reuse` uses it as it is; delete it to predict again."
        )
    if record.get("source") == "demo":
        return "they are for the demo corpus"
    if (rows := record.get("rows")) != entry.rows:
        return f"they are for {count_of(rows, 'row')}" if isinstance(rows, int) else "they are for other rows"
    other = best.is_file() and record.get("checkpoint_fingerprint") != checkpoint_fingerprint(best)
    return "they are from another checkpoint" if other else ""


def _predict(task: str, run: Run, source: str | None) -> None:
    """Predict all test rows of a task with a run's best checkpoint, in a process of its own."""
    own = TASKS[run.setting("data.task") or task]
    other = [] if own.submission == TASKS[task].submission else [f"--data.task={task}"]
    rows = [] if source is None else [f"--data.source={source}"]
    every = ["--data.test_limit=null", "--trainer.limit_test_batches=null"]
    status, errors = run_child(["test", "--run", str(run.path), *every, *other, *rows])
    if status:
        raise RunError(f"{task} cannot be predicted with {run.path}. {what_it_said(status, errors)}")
    sys.stderr.write(errors)
