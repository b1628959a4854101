"""`write_report`: a page and figures on one run, or on several side by side."""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glue_lit.errors import RunError, UsageError, did_you_mean
from glue_lit.outputs.child_process import run_child, what_it_said
from glue_lit.runs.locks import check_unlocked
from glue_lit.runs.prediction_record import checkpoint_fingerprint, read_prediction_record
from glue_lit.runs.recipe import recorded_recipe
from glue_lit.runs.run import Run
from glue_lit.system.console import count_of
from glue_lit.system.files import open_atomic_binary, write_text
from glue_lit.tasks.glue import TaskSpec

if TYPE_CHECKING:  # what they import may not be installed
    from glue_lit.evaluation.report.canvas import Drawing
    from glue_lit.evaluation.report.findings import Material, Report

_NEEDED = {"jinja2": "jinja2", "matplotlib": "matplotlib", "scipy": "scipy"}
_MOST_RUNS = 6  # colours that all readers can tell apart
PAGE = "report.html"
OnPredict = Callable[[Run, str, str], None]


@dataclass(frozen=True)
class ReportResult:
    """A report that was written.

    Attributes:
        report: Its numbers.
        page: The HTML file.
        figures: The PNG files.
    """

    report: "Report"
    page: Path
    figures: tuple[Path, ...]


@dataclass(frozen=True)
class _Wanted:
    """Which rows a report is on."""

    split: str | None
    slices: Sequence[str]
    task: str | None
    source: str | None
    on_predict: OnPredict


def write_report(
    runs: Sequence[Run],
    output: Path | None = None,
    *,
    split: str | None = None,
    slices: Sequence[str] = (),
    task: str | None = None,
    source: str | None = None,
    on_predict: OnPredict = lambda run, split, why: None,
) -> ReportResult:
    """Write a page and its figures; predictions that are missing or outdated are made first.

    Args:
        runs: One run, or several of the same task.
        output: The folder; ``None`` for ``report`` in the run, or in the working directory for several.
        split: A labelled split; ``None`` for the one whose metric picks the checkpoint.
        slices: Columns of the data to group rows by, besides the task's own.
        task: Another task that the runs have predicted.
        source: Where the rows are; ``None`` for the run's own source.
        on_predict: Called before a split is predicted, with the run, the split and the reason.

    Raises:
        UsageError: A package is not installed, a run is named twice, or there is no such split, task or column.
        RunError: The runs cannot be compared, one is being trained, or predictions cannot be made.
        DataError: A file of predictions is damaged.
    """
    check_installed()
    _check_runs(runs)
    output = _folder(runs, output, task, split)
    from glue_lit.evaluation.report.figures import drawings
    from glue_lit.evaluation.report.findings import build_report
    from glue_lit.evaluation.report.page import page

    wanted = _Wanted(split, slices, task, source, on_predict)
    report = build_report([_material(run, wanted) for run in runs])
    figures = drawings(report)
    text = page(report, figures)
    return ReportResult(report, output / PAGE, _write(output, text, figures))


def check_installed() -> None:
    """Stop if a package is missing that reports need.

    Raises:
        UsageError: It names the packages, and how to install them.
    """
    missing = [package for name, package in _NEEDED.items() if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"report: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed. Install what a "
            "report needs: pip install 'glue-lit[report]'"
        )


def check_output(output: Path) -> None:
    """Stop at a file where a folder is to be written.

    Raises:
        UsageError: It is a file.
    """
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output: {output} is a file. Allowed: a folder, which is created if missing.")


def _check_runs(runs: Sequence[Run]) -> None:
    if len(runs) > _MOST_RUNS:
        raise UsageError(f"report: got {len(runs)} runs, allowed: at most {_MOST_RUNS} side by side.")
    seen: dict[Path, Path] = {}
    for run in runs:
        if (there := run.path.resolve()) in seen:
            raise UsageError(f"report: {seen[there]} and {run.path} are the same run; name it once.")
        seen[there] = run.path
        check_unlocked(run)


def _folder(runs: Sequence[Run], output: Path | None, task: str | None, split: str | None) -> Path:
    if output is None:
        beside = "-".join(part for part in (task, split) if part)
        output = Path("report") if len(runs) > 1 else runs[0].path / (f"report-{beside}" if beside else "report")
    check_output(output)
    return output


def _material(run: Run, wanted: _Wanted) -> "Material":
    """Predictions and texts of a run; missing predictions are made."""
    from glue_lit.data.sources import open_split
    from glue_lit.evaluation.predictions import read_predictions
    from glue_lit.evaluation.report.findings import Material
    from glue_lit.evaluation.report.run_in_words import read_settings, section, task_in
    from glue_lit.evaluation.report.texts import read_texts

    settings = read_settings(run)
    task, custom = task_in(settings, run, wanted.task)
    split = _split(task, wanted.split)
    path, notes = _predictions(run, task, split, wanted)
    record = read_prediction_record(path)
    predicted = read_predictions(path, task, record)
    if predicted.unlabelled:
        notes.append(f"Left out without a gold label: {count_of(predicted.unlabelled, 'row')}.")
    source = wanted.source or (record or {}).get("source") or section(settings, "data").get("source") or "hub"
    texts = read_texts(task, partial(open_split, task, str(source), split, custom), predicted, record, wanted.slices)
    return Material(run, task, split, settings, _recipe(run, settings), predicted, texts, notes)


def _recipe(run: Run, settings: dict[str, Any]) -> dict[str, str]:
    from glue_lit.evaluation.report.run_in_words import read_record_notes

    if (recorded := recorded_recipe(read_record_notes(run)[0], settings)) is not None:
        return recorded
    from glue_lit.training.provenance import recipe_of  # which takes seconds, for a run that did not finish

    return recipe_of(settings)


def _split(task: TaskSpec, wanted: str | None) -> str:
    if wanted is None:
        return task.monitored_split or task.test_splits[0]
    if wanted not in task.files:
        raise UsageError(
            f"--split: task {task.name} has no split {wanted!r}.{did_you_mean(wanted, task.files)} "
            f"Allowed: {', '.join(task.files)}."
        )
    return wanted


def _predictions(run: Run, task: TaskSpec, split: str, wanted: _Wanted) -> tuple[Path, list[str]]:
    """The file of predictions, made if necessary, and notes on it for the reader."""
    path, best = run.predictions / f"{run.prefix(task.name)}{split}.jsonl", run.checkpoints / "best.ckpt"
    # rows of another task, such as ax, may come from another source
    own = run.setting("data.source") if run.setting("data.task") == task.name else None
    why, notes = _why_outdated(path, best, wanted.source or own)
    if why:
        run.checkpoint("best")  # if it is missing, the error names the others
        wanted.on_predict(run, split, why)
        _predict(run, task, split, wanted.source)
    return path, notes


def _why_outdated(path: Path, best: Path, source: str | None) -> tuple[str, list[str]]:
    """Why predictions cannot be used (empty if they can), and notes on them if they can."""
    if not path.is_file():
        return "there are no predictions yet", []
    record = read_prediction_record(path)
    if record is None:
        return "", [f"{path.name} does not say which checkpoint it is from; delete it to predict again."]
    if record["changed"]:
        return "", [f"{path.name} was changed after it was written, and is used as it is; delete it to predict again."]
    if source is not None and record.get("source") != source:
        return f"its predictions are for other rows, from {record.get('source')}", []
    if not best.is_file():
        return "", ["The run's best checkpoint is missing; these are its last predictions."]
    if record.get("checkpoint_fingerprint") != checkpoint_fingerprint(best):
        return "its predictions are from another checkpoint", []
    if "temperature" in record:
        return "", [f"Probabilities in {path.name} are scaled by a temperature (`predict --calibrate`)."]
    return "", []


def _predict(run: Run, task: TaskSpec, split: str, source: str | None) -> None:
    """Predict a split with a run's best checkpoint, in a process of its own."""
    other = [] if run.setting("data.task") == task.name else [f"--data.task={task.name}"]
    rows = [] if source is None else [f"--data.source={source}"]
    arguments = ["predict", "--run", str(run.path), "--ckpt_path", "best", f"--data.predict_split={split}"]
    status, errors = run_child([*arguments, *other, *rows])
    if status:
        raise RunError(f"{split} cannot be predicted with {run.path}. {what_it_said(status, errors)}")


def _write(output: Path, text: str, figures: Sequence["Drawing"]) -> tuple[Path, ...]:
    """Write page and pictures, and delete pictures of an earlier report that this one does not have."""
    paths = tuple(output / f"{figure.name}.png" for figure in figures)
    if (output / PAGE).is_file():
        for kind in ("loss", "learning", "slices", "confusion*", "scatter*", "calibration", "comparison"):
            for path in set(output.glob(f"{kind}.png")).difference(paths):
                path.unlink()
    for path, figure in zip(paths, figures, strict=True):
        with open_atomic_binary(path) as file:
            file.write(figure.png)
    write_text(output / PAGE, text)
    return paths
