"""The content of a report as numbers: one run, or several side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from pathlib import Path

import numpy as np

from glue_lit.errors import RunError, UsageError
from glue_lit.evaluation.cut_points import with_levels
from glue_lit.evaluation.formulas import confusion_matrix, metric_titles
from glue_lit.evaluation.predictions import Floats, Predictions
from glue_lit.evaluation.reliability import Reliability, label_reliability, reliability
from glue_lit.evaluation.report.events import Curve, read_curves
from glue_lit.evaluation.report.examples import Example, mistakes, uncertain
from glue_lit.evaluation.report.label_table import LabelFindings, label_findings
from glue_lit.evaluation.report.run_in_words import Record, outcome, read_record_notes, section
from glue_lit.evaluation.report.slices import Slice, slices
from glue_lit.evaluation.report.texts import Texts
from glue_lit.evaluation.resampling import Score, scores_with_intervals, why_no_interval
from glue_lit.evaluation.significance import Comparison, compare
from glue_lit.runs.differences import flatten
from glue_lit.runs.run import Run
from glue_lit.system.printable import printable
from glue_lit.tasks.glue import TaskSpec, log_prefix

_TOLERANCE = 5e-3  # between scores; bfloat16 rounds differently in other batches
_WITHOUT_EFFECT = ("name", "trainer.default_root_dir", "ckpt_path", "data.cache_dir")  # on scores


@dataclass(frozen=True)
class Material:
    """What the report on one run is computed from."""

    run: Run
    task: TaskSpec
    split: str
    settings: Record  # its configuration
    recipe: dict[str, str]  # the settings that change the result, by title, in words
    predicted: Predictions
    texts: Texts  # of the predicted rows
    notes: Sequence[str] = ()  # what a reader must know about predictions and texts


@dataclass(frozen=True)
class Findings:
    """The content of a report on one run."""

    name: str  # in this report
    notes: list[str]  # what a reader must know
    recipe: dict[str, str]  # settings by title
    outcome: dict[str, str]  # time, device and the like by title
    rows: int  # number of labelled rows that were predicted
    scores: dict[str, Score]  # the task's metrics by name
    confusion: list[list[int]] | None  # rows by gold (first) and predicted label, where a row has one label
    curves: dict[str, Curve]  # training loss, and loss and metrics of the split
    best_step: int | None
    slices: list[Slice]
    reliability: Reliability | None  # where there are probabilities
    mistakes: list[Example]  # the most confident mistakes
    uncertain: list[Example]  # the least certain rows
    predicted: Predictions
    labels: LabelFindings | None = None  # of a multi-label task


@dataclass(frozen=True)
class Report:
    """A report on one run, or on several that predicted the same rows."""

    task: TaskSpec
    split: str
    runs: list[Findings]
    comparison: Comparison | None  # the second run against the first, where there are two
    differing: dict[str, list[str]] = field(default_factory=dict)  # settings by dotted key, a value for each run

    @property
    def metric(self) -> str:
        """The metric that picks checkpoints."""
        return self.task.metrics[0]

    @property
    def metric_title(self) -> str:
        """Title of that metric."""
        return metric_titles(self.task).get(self.metric, self.metric)


def build_report(materials: Sequence[Material]) -> Report:
    """Compute the content of a report.

    Raises:
        UsageError: The runs are of different tasks.
        RunError: Runs have different labels or metrics, or two runs have not predicted the same rows.
    """
    first = materials[0]
    check_same_tasks([(material.run, material.task) for material in materials])
    names = _display_names(materials)
    runs = [_findings(material, name) for material, name in zip(materials, names, strict=True)]
    comparison = None
    if len(runs) == 2:
        comparison = _compared(*materials)
    return Report(first.task, first.split, runs, comparison, _differing([material.settings for material in materials]))


def _compared(first: Material, second: Material) -> Comparison:
    """The second run against the first; of labels in order, each run has cut points of its own."""
    metric = first.task.scoring[0]
    if not metric.cut_points:
        return compare(metric, first.predicted, second.predicted)
    one, two = (with_levels(each.task, each.predicted) for each in (first, second))
    return compare(replace(metric, cut_points=()), one, two)


def check_same_tasks(runs: Sequence[tuple[Run, TaskSpec]]) -> None:
    """Refuse runs whose scores cannot be compared; predictions are not needed for it.

    Args:
        runs: Each run with its task.

    Raises:
        UsageError: The runs are of different tasks.
        RunError: Runs have different labels or metrics.
    """
    (first, task), *others = runs
    for run, other in others:
        if task.name != other.name:
            raise UsageError(
                f"report: {first.path} is of task {task.name}, {run.path} of {other.name}. Runs side by side need the "
                "same task; make a report for each."
            )
        if _scoring(task) != _scoring(other):
            raise RunError(
                f"report: task {task.name} has other labels or metrics in {run.path} than in {first.path}. Runs side "
                "by side need the same ones; make a report for each."
            )


def _scoring(task: TaskSpec) -> tuple[object, ...]:
    return task.labels, task.levels, [replace(metric, cut_points=()) for metric in task.scoring], task.positive


def _display_names(materials: Sequence[Material]) -> list[str]:
    """The names that ``--name`` gave, where they tell the runs apart; else those of `names_of`."""
    given = [printable(str(material.settings.get("name") or "")) for material in materials]
    folders = names_of([material.run.path for material in materials])
    return [name if name and given.count(name) == 1 else folder for name, folder in zip(given, folders, strict=True)]


def names_of(paths: Sequence[Path]) -> list[str]:
    """Short names of runs: the last two parts of their paths or, if two would be equal, the parts that differ.

    Runs of a suite, such as ``.../seed_0/lightning_logs/rte/version_0``, may differ in the seed alone.
    """
    parts = [path.absolute().parts[1:] for path in paths]
    for count in range(2, max(map(len, parts)) + 1):
        tails = [("",) * (count - len(part)) + part[-count:] for part in parts]
        if len(set(tails)) == len(tails):
            differs = [count == 2 or len(set(column)) > 1 for column in zip(*tails, strict=True)]
            names = ["/".join(part for part in compress(tail, differs) if part) for tail in tails]
            return [name or "/".join(tail[-2:]) for name, tail in zip(names, tails, strict=True)]
    return ["/".join(part[-2:]) for part in parts]


def _findings(material: Material, name: str) -> Findings:
    task, predicted, texts = material.task, material.predicted, material.texts
    record, record_notes = read_record_notes(material.run)
    curves, damaged = read_curves(material.run.path)
    logged = [f"{log_prefix(material.split)}/{metric}" for metric in ("loss", *task.metrics)]
    scores = scores_with_intervals(
        task.scoring, predicted.gold, predicted.values, probabilities=predicted.probabilities
    )
    best = section(record, "best").get("step")
    text_notes = [texts.problem] if texts.problem else []
    labels = len(task.labels) if task.is_multi_label else 1
    without = [(one, why_no_interval(one, len(predicted), predicted.probabilities, labels)) for one in task.scoring]
    text_notes += [f"{one.title(task.labels)} has no interval: {why}." for one, why in without if why]
    return Findings(
        name,
        [*material.notes, *record_notes, *damaged, *text_notes, *_disagreements(material, record, scores)],
        material.recipe,
        {"Run": "/".join(material.run.path.absolute().parts[-2:])} | outcome(record),
        len(predicted),
        scores,
        _confusion(task, predicted),
        {tag: curve for tag, curve in curves.items() if tag in ("train/loss", *logged)},
        best if isinstance(best, int) else None,
        slices(task, predicted, texts),
        None if predicted.probabilities is None else _reliability(task, predicted, predicted.probabilities),
        mistakes(task, predicted, texts),
        uncertain(task, predicted, texts),
        predicted,
        label_findings(task, predicted) if task.is_multi_label else None,
    )


def _confusion(task: TaskSpec, predicted: Predictions) -> list[list[int]] | None:
    if task.kind != "classification" and not task.levels:
        return None
    rows, labels = with_levels(task, predicted), task.levels or task.labels
    found: list[list[int]] = confusion_matrix(rows.gold, rows.values, len(labels)).tolist()
    return found


def _reliability(task: TaskSpec, predicted: Predictions, probabilities: Floats) -> Reliability:
    if task.is_multi_label:
        return label_reliability(probabilities, predicted.gold)
    return reliability(probabilities, predicted.gold.astype(np.int64))


def _disagreements(material: Material, record: Record, scores: Mapping[str, Score]) -> list[str]:
    """Notes on scores that differ between the predictions and the fit's record."""
    logged, titles = section(record, "metrics"), metric_titles(material.task)
    is_same_task = record.get("task") == material.task.name
    found = []
    for name, score in scores.items():
        value = logged.get(f"{log_prefix(material.split)}/{name}")
        if is_same_task and isinstance(value, float) and abs(value - score.value) > _TOLERANCE:
            found.append(
                f"metrics.json says {titles.get(name, name)} {value:.4f}, these predictions give {score.value:.4f}: "
                "the predictions are of other rows or of another checkpoint."
            )
    return found


def _differing(settings: Sequence[Record]) -> dict[str, list[str]]:
    flat = [{k: "null" if v in (None, {}) else str(v) for k, v in flatten(values).items()} for values in settings]
    keys = dict.fromkeys(key for values in flat for key in values if key not in _WITHOUT_EFFECT)
    rows = {key: [values.get(key, "null") for values in flat] for key in keys}
    return {key: row for key, row in rows.items() if len(set(row)) > 1}
