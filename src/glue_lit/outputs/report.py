"""`write_report`: a page and figures on one run, or on several side by side."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glue_lit.errors import UsageError, did_you_mean
from glue_lit.outputs.reported_rows import OnPredict, find_rows
from glue_lit.runs.locks import check_unlocked
from glue_lit.runs.prediction_record import read_prediction_record
from glue_lit.runs.recipe import recorded_recipe
from glue_lit.runs.run import Run
from glue_lit.system.console import count_of
from glue_lit.system.files import open_atomic_binary, write_text
from glue_lit.tasks.custom import CustomTask
from glue_lit.tasks.glue import TaskSpec
from glue_lit.tasks.spec import known_cut_points

if TYPE_CHECKING:  # what they import may not be installed
    from glue_lit.evaluation.report.canvas import Drawing
    from glue_lit.evaluation.report.findings import Material, Report

_NEEDED = {"jinja2": "jinja2", "matplotlib": "matplotlib", "scipy": "scipy"}
_MOST_RUNS = 6  # colours that all readers can tell apart
PAGE = "report.html"


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
    test_file: Path | None
    on_predict: OnPredict


@dataclass(frozen=True)
class _Described:
    """A run, its configuration, and the task that its report is on."""

    run: Run
    settings: dict[str, Any]
    task: TaskSpec
    custom: CustomTask


def write_report(
    runs: Sequence[Run],
    output: Path | None = None,
    *,
    split: str | None = None,
    slices: Sequence[str] = (),
    task: str | None = None,
    source: str | None = None,
    test_file: Path | None = None,
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
        test_file: File with the test rows of a task of one's own; ``None`` for the run's, or the one predicted last.
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
    from glue_lit.evaluation.report.findings import build_report, check_same_tasks
    from glue_lit.evaluation.report.page import page

    wanted = _Wanted(split, slices, task, source, test_file, on_predict)
    described = [_describe(run, task) for run in runs]
    check_same_tasks([(each.run, each.task) for each in described])  # before minutes are spent on predictions
    report = build_report([_material(each, wanted) for each in described])
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
        UsageError: It is a file, or a new name that ends as a page's or a figure's.
    """
    if output.is_dir() or not (output.exists() or output.suffix.lower() in (".html", ".htm", ".png")):
        return
    raise UsageError(
        f"--output: {output} names a file. Allowed: a folder, which is created if missing, for {PAGE} and its figures."
    )


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


def _describe(run: Run, name: str | None) -> _Described:
    from glue_lit.evaluation.report.run_in_words import read_settings, task_in

    settings = read_settings(run)
    return _Described(run, settings, *task_in(settings, run, name))


def _material(described: _Described, wanted: _Wanted) -> "Material":
    """Predictions and texts of a run; missing predictions are made."""
    from glue_lit.evaluation.cut_points import describe_cut_points
    from glue_lit.evaluation.predictions import read_predictions
    from glue_lit.evaluation.report.findings import Material
    from glue_lit.evaluation.report.texts import read_texts
    from glue_lit.evaluation.thresholds import describe_thresholds

    run, settings, task, custom = described.run, described.settings, described.task, described.custom
    split = _split(task, wanted.split)
    rows = find_rows(run, task, custom, split, wanted.source, wanted.test_file)
    notes = rows.predict(wanted.on_predict)
    record = read_prediction_record(rows.predictions)
    if task.levels:
        task = replace(task, cut_points=known_cut_points(record or {}, task))
    predicted = read_predictions(rows.predictions, task, record)
    if predicted.unlabelled:
        notes.append(f"Left out without a gold label: {count_of(predicted.unlabelled, 'row')}.")
    if predicted.thresholds is not None and (line := describe_thresholds(task, predicted.thresholds.tolist())):
        notes.append(line)
    if line := describe_cut_points(task):
        notes.append(line)
    texts = read_texts(task, rows.open, predicted, record, wanted.slices)
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


def _write(output: Path, text: str, figures: Sequence["Drawing"]) -> tuple[Path, ...]:
    """Write page and pictures, and delete pictures of an earlier report that this one does not have."""
    paths = tuple(output / f"{figure.name}.png" for figure in figures)
    if (output / PAGE).is_file():
        for kind in ("loss", "learning", "slices", "confusion*", "labels*", "scatter*", "calibration", "comparison"):
            for path in set(output.glob(f"{kind}.png")).difference(paths):
                path.unlink()
    for path, figure in zip(paths, figures, strict=True):
        with open_atomic_binary(path) as file:
            file.write(figure.png)
    write_text(output / PAGE, text)
    return paths
