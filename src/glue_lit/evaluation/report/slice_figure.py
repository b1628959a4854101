"""The figure of scores by slice: a dot and an interval for each group of rows and run."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from glue_lit.evaluation.report.canvas import MUTED, NAME, RULE, SERIES, Drawing, canvas, render, shorten
from glue_lit.evaluation.report.dot_rows import draw_dots, label_rows, offset
from glue_lit.evaluation.report.findings import Findings, Report
from glue_lit.evaluation.report.slices import MEASURES, SHARED_WORDS
from glue_lit.evaluation.report.texts import truncate

_MOST_ROWS = 60  # groups in the figure; the table has all of them
Key = tuple[str, str]  # a feature and one of its groups


def slice_drawing(report: Report) -> Drawing | None:
    """Draw the slices, each feature's groups below its name."""
    keys = slice_keys(report.runs)[:_MOST_ROWS]
    if not keys:
        return None
    measure = MEASURES[report.task.kind]
    with canvas(height=0.9 + 0.2 * len(keys) + 0.26 * len({feature for feature, _ in keys})) as (figure, axes):
        places = _draw_names(axes, keys)
        for number, run in enumerate(report.runs):
            _draw_run(axes, run, places, number, len(report.runs))
        axes.set_xlabel(measure)
        if len(report.runs) > 1:
            axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0, handlelength=1.0)
        meaning = f"{measure} (lower is better)" if report.task.is_regression else measure
        note = f"Dots: {meaning}; lines: 95 % intervals; dashed: all rows. Among many slices, chance makes some differ."
        if any(feature == SHARED_WORDS for feature, _ in keys):
            note += f" {SHARED_WORDS}: the share of the second text's words that the first contains."
        return render(figure, "slices", f"{measure.capitalize()} by group of rows", _describe(report, meaning), note)


def slice_keys(runs: Sequence[Findings]) -> list[Key]:
    """Feature and group of all slices, in their order."""
    return list(dict.fromkeys((part.feature, part.group) for run in runs for part in run.slices))


def _draw_names(axes: Any, keys: Sequence[Key]) -> dict[Key, float]:
    """Write the names of features and groups; return the position of each group, counted from the top."""
    places: dict[Key, float] = {}
    line = 0.0
    for feature, groups in groupby(keys, key=lambda key: key[0]):
        at = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center"}
        axes.text(-0.015, line - 0.95, feature, fontweight="bold", **at)
        if places:
            axes.axhline(line - 1.5, color=RULE, linewidth=0.6)
        for key in groups:
            places[key] = line
            line += 1.0
        line += 1.1
    label_rows(axes, places.values(), [truncate(group, 26) for _, group in keys], margins=(1.5, 0.7))
    return places


def _draw_run(axes: Any, run: Findings, places: dict[Key, float], number: int, count: int) -> None:
    gold, values = run.predicted.gold, run.predicted.values
    right = run.predicted.is_right
    overall = float(abs(gold - values).mean() if gold.dtype.kind == "f" else right.mean())
    colour = SERIES[number] if count > 1 else MUTED
    axes.axvline(overall, color=colour, linewidth=0.9, linestyle=(0, (3, 3)), alpha=0.7)
    scores = {(part.feature, part.group): part.value for part in run.slices}
    kept = [key for key in places if key in scores]
    lines = [places[key] + offset(number, count, 0.5) for key in kept]
    draw_dots(axes, lines, [scores[key] for key in kept], number, shorten(run.name, NAME))


def _describe(report: Report, measure: str) -> str:
    parts = []
    for run in report.runs:
        known = sorted((part for part in run.slices if part.rows >= 10), key=lambda part: part.value.value)
        if known:
            ends = (f"{part.value.value:.3f} ({part.feature}: {part.group})" for part in (known[0], known[-1]))
            parts.append(f"{run.name}: from {' to '.join(ends)}")
    return f"{measure[0].upper()}{measure[1:]} of groups of rows. {'; '.join(parts)}."
