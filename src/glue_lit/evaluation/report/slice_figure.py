"""The figure of scores by slice: a dot and an interval for each group of rows and run."""

from collections.abc import Sequence
from typing import Any

from glue_lit.evaluation.report.canvas import MARKERS, MUTED, NAME, RULE, SERIES, Drawing, canvas, drawn, short
from glue_lit.evaluation.report.findings import Findings, Report
from glue_lit.evaluation.report.slices import SHARED_WORDS, Slice

_MOST_ROWS = 60  # groups in the figure; the table has all of them
Key = tuple[str, str]


def slice_drawing(report: Report) -> Drawing | None:
    """Draw the slices, the groups of a feature below its name."""
    keys = slice_keys(report.runs)[:_MOST_ROWS]
    if not keys:
        return None
    heads = list(dict.fromkeys(feature for feature, _ in keys))
    height = 0.9 + 0.2 * len(keys) + 0.26 * len(heads)
    with canvas(height=height) as (figure, axes):
        places = _places(keys)
        _names(axes, keys, places)
        for number, run in enumerate(report.runs):
            _dots(axes, run, places, number, len(report.runs))
        axes.set_ylim(max(places.values()) + 0.7, -1.5)
        axes.set_xlabel("mean absolute error" if report.task.is_regression else "accuracy")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        if len(report.runs) > 1:
            axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0, handlelength=1.0)
        what = "mean absolute error (lower is better)" if report.task.is_regression else "accuracy"
        title = "Mean absolute error" if report.task.is_regression else "Accuracy"
        note = f"Dots: {what}; lines: 95 % intervals; dashed: all rows. Of many slices, some stand out by chance."
        if any(feature == SHARED_WORDS for feature, _ in keys):
            note += f" {SHARED_WORDS}: how many of the second text's words are in the first."
        return drawn(figure, "slices", f"{title} by group of rows", _words(report, what), note)


def slice_keys(runs: Sequence[Findings]) -> list[Key]:
    """Feature and group of all slices, in their order."""
    return list(dict.fromkeys((part.feature, part.group) for run in runs for part in run.slices))


def overall(run: Findings) -> float:
    """The figure of the slices over all rows."""
    gold, values = run.predicted.gold, run.predicted.values
    return float(abs(gold - values).mean() if run.confusion is None else (gold == values).mean())


def _places(keys: Sequence[Key]) -> dict[Key, float]:
    """Where each group stands, from the top; a feature's name takes a line above them."""
    places, line, last = {}, -1.0, None
    for feature, group in keys:
        line += 1.0 if feature == last else 2.1 if last is not None else 1.0
        last = feature
        places[feature, group] = line
    return places


def _names(axes: Any, keys: Sequence[Key], places: dict[Key, float]) -> None:
    axes.set_yticks(list(places.values()), [name if len(name) <= 26 else f"{name[:25]}…" for _, name in keys])
    firsts: dict[str, float] = {}
    for (feature, _), line in places.items():
        firsts.setdefault(feature, line)
    for feature, line in firsts.items():
        at = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center"}
        axes.text(-0.015, line - 0.95, feature, fontweight="bold", **at)
        if line > 0.5:
            axes.axhline(line - 1.5, color=RULE, linewidth=0.6)


def _dots(axes: Any, run: Findings, places: dict[Key, float], number: int, count: int) -> None:
    colour, marker = SERIES[number], MARKERS[number]
    axes.axvline(overall(run), color=colour if count > 1 else MUTED, linewidth=0.9, linestyle=(0, (3, 3)), alpha=0.7)
    here: dict[Key, Slice] = {(part.feature, part.group): part for part in run.slices}
    shift = (number - (count - 1) / 2) * 0.5 / count
    kept = [(place + shift, here[key].value) for key, place in places.items() if key in here]
    lines = [line for line, _ in kept]
    axes.hlines(lines, [s.low for _, s in kept], [s.high for _, s in kept], color=colour, linewidth=1.4, alpha=0.6)
    axes.plot([s.value for _, s in kept], lines, marker, color=colour, markersize=4.5, label=short(run.name, NAME))


def _words(report: Report, what: str) -> str:
    parts = []
    for run in report.runs:
        known = sorted((part for part in run.slices if part.rows >= 10), key=lambda part: part.value.value)
        if known:
            ends = (known[0], known[-1])
            parts.append(
                f"{run.name}: from "
                + " to ".join(f"{part.value.value:.3f} ({part.feature}: {part.group})" for part in ends)
            )
    return f"{what[0].upper()}{what[1:]} of groups of rows. {'; '.join(parts)}."
