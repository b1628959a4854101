"""Everything that a report says, as numbers: of one run, and of several side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path

import numpy as np

from glue_lit.errors import RunError, UsageError
from glue_lit.evaluation.formulas import confusion_matrix, metric_titles
from glue_lit.evaluation.predictions import Predictions
from glue_lit.evaluation.reliability import Reliability, reliability
from glue_lit.evaluation.report.events import Curve, read_curves
from glue_lit.evaluation.report.examples import Example, mistakes, uncertain
from glue_lit.evaluation.report.run_in_words import Record, outcome, record_of, section
from glue_lit.evaluation.report.slices import Slice, slices
from glue_lit.evaluation.report.texts import Texts
from glue_lit.evaluation.resampling import Score, scores_with_intervals
from glue_lit.evaluation.significance import Comparison, compare
from glue_lit.runs.recipe import recipe
from glue_lit.runs.run import Run
from glue_lit.tasks.glue import TaskSpec, log_prefix

_SAME = 5e-3  # bfloat16 rounds differently in other batches; more than that has another reason


@dataclass(frozen=True)
class Material:
    """What is known of one run before anything is computed.

    Attributes:
        run: The run.
        task: What it predicted.
        split: The rows.
        settings: Its configuration.
        predicted: Its predictions.
        texts: The texts of the same rows.
        notes: What a reader has to know of them.
    """

    run: Run
    task: TaskSpec
    split: str
    settings: Record
    predicted: Predictions
    texts: Texts
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Findings:
    """What a report says of one run.

    Attributes:
        name: What the run is called in the report.
        notes: What a reader has to know.
        recipe: Settings, by what they are called.
        outcome: What its record says.
        rows: Labelled rows that were predicted.
        scores: The task's metrics, by name.
        confusion: Rows for each gold (first) and predicted label; nothing for regression.
        curves: Values over the steps: training loss, and loss and metrics of the split.
        best_step: Step of the best checkpoint, where known.
        slices: Scores of groups of rows.
        reliability: The calibration curve, where there are probabilities.
        mistakes: The most confident ones.
        uncertain: The least certain rows.
        predicted: The predictions.
    """

    name: str
    notes: list[str]
    recipe: dict[str, str]
    outcome: dict[str, str]
    rows: int
    scores: dict[str, Score]
    confusion: list[list[int]] | None
    curves: dict[str, Curve]
    best_step: int | None
    slices: list[Slice]
    reliability: Reliability | None
    mistakes: list[Example]
    uncertain: list[Example]
    predicted: Predictions


@dataclass(frozen=True)
class Report:
    """One run or several on the same rows.

    Attributes:
        task: The task.
        split: The rows.
        runs: What is said of each.
        comparison: What sets the second apart from the first, where there are two.
        differing: Settings in which runs differ: by key, the value of each.
    """

    task: TaskSpec
    split: str
    runs: list[Findings]
    comparison: Comparison | None
    differing: dict[str, list[str]] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """The metric that picks checkpoints."""
        return self.task.metrics[0]

    @property
    def metric_title(self) -> str:
        """What that is called."""
        return metric_titles(self.task).get(self.metric, self.metric)

    @property
    def prefix(self) -> str:
        """What precedes the names of the split's curves."""
        return log_prefix(self.split)


def report_of(materials: Sequence[Material]) -> Report:
    """Compute all that a report says.

    Raises:
        UsageError: The runs are of different tasks.
        RunError: Two runs have not predicted the same rows.
    """
    first = materials[0]
    for other in materials[1:]:
        _check_same_task(first, other)
    names = names_of([material.run.path for material in materials])
    runs = [_findings(material, name) for material, name in zip(materials, names, strict=True)]
    comparison = None
    if len(runs) == 2:
        comparison = compare(first.task.metrics[0], runs[0].predicted, runs[1].predicted, first.task.positive)
    differing = _differing([material.settings for material in materials]) if len(runs) > 1 else {}
    return Report(first.task, first.split, runs, comparison, differing)


def _check_same_task(first: Material, other: Material) -> None:
    if first.task.name != other.task.name:
        raise UsageError(
            f"report: {first.run.path} is of task {first.task.name}, {other.run.path} of {other.task.name}. Runs side "
            "by side need the same task; make a report for each."
        )
    here, there = ((task.labels, task.metrics, task.positive) for task in (first.task, other.task))
    if here != there:
        raise RunError(
            f"report: task {first.task.name} has other labels or metrics in {other.run.path} than in {first.run.path}, "
            "so that they cannot stand side by side; make a report for each."
        )


def names_of(paths: Sequence[Path]) -> list[str]:
    """What runs are called: the last two parts of their paths, or where these are the same, the parts that differ.

    Those of a suite are ``.../seed_0/lightning_logs/rte/version_0``: all that can be told apart there is the seed.
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
    record, problems = record_of(material.run)
    curves, damaged = read_curves(material.run.path)
    scores = scores_with_intervals(task.metrics, predicted.gold, predicted.values, task.positive)
    best = section(record, "best").get("step")
    of_text = [texts.problem] if texts.problem else []
    found = predicted.probabilities
    return Findings(
        name,
        [*material.notes, *problems, *damaged, *of_text, *_disagreement(material, record, scores)],
        recipe(material.settings),
        outcome(record),
        len(predicted),
        scores,
        None if task.is_regression else confusion_matrix(predicted.gold, predicted.values, len(task.labels)).tolist(),
        {name: curve for name, curve in curves.items() if name in _curve_names(task, material.split)},
        best if isinstance(best, int) else None,
        slices(task, predicted, texts),
        None if found is None else reliability(found, predicted.gold.astype(np.int64)),
        mistakes(task, predicted, texts),
        uncertain(task, predicted, texts),
        predicted,
    )


def _curve_names(task: TaskSpec, split: str) -> tuple[str, ...]:
    return ("train/loss", *(f"{log_prefix(split)}/{name}" for name in ("loss", *task.metrics)))


def _disagreement(material: Material, record: Record, scores: Mapping[str, Score]) -> list[str]:
    """Say so where the record of the fit has other scores than the predictions."""
    said, titles = section(record, "metrics"), metric_titles(material.task)
    found = []
    for name, score in scores.items():
        value = said.get(f"{log_prefix(material.split)}/{name}")
        if record.get("task") == material.task.name and isinstance(value, float) and abs(value - score.value) > _SAME:
            found.append(
                f"metrics.json says {titles.get(name, name)} {value:.4f}, these predictions {score.value:.4f}: they "
                "are of other rows, or of another checkpoint."
            )
    return found


def _differing(settings: Sequence[Record]) -> dict[str, list[str]]:
    """Settings in which runs differ, by dotted key."""
    flat = [dict(_flat(values)) for values in settings]
    keys = dict.fromkeys(key for values in flat for key in values)
    rows = {key: [values.get(key, "null") for values in flat] for key in keys if key not in _BESIDE_THE_POINT}
    return {key: row for key, row in rows.items() if len(set(row)) > 1}


_BESIDE_THE_POINT = ("trainer.default_root_dir", "ckpt_path", "data.cache_dir")  # where files lie changes no score


def _flat(values: Record, prefix: str = "") -> list[tuple[str, str]]:
    found = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", "null" if value is None else str(value)))
    return found
