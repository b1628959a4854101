"""The figures of a report, each drawn from numbers alone."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from glue_lit.evaluation.report.canvas import INK, MARKERS, MUTED, NAME, SERIES, Drawing, canvas, drawn, short
from glue_lit.evaluation.report.events import Curve
from glue_lit.evaluation.report.findings import Findings, Report
from glue_lit.evaluation.report.outcome_figures import (
    SCATTER_HEIGHT,
    draw_matrix,
    draw_scatter,
    grouped,
    has_shares,
    matrix_height,
)
from glue_lit.evaluation.report.slice_figure import slice_drawing
from glue_lit.evaluation.significance import Comparison

_POINTS = 200  # of a training curve; more would be a band


def drawings(report: Report) -> list[Drawing]:
    """All figures that there are numbers for."""
    several = len(report.runs) > 1
    found = [*_curve_drawings(report), slice_drawing(report)]
    for number, run in enumerate(report.runs, start=1):
        suffix, of = (f"-{number}", f", {short(run.name, NAME)}") if several else ("", "")
        draw = _scatter if run.confusion is None else _confusion
        found.append(draw(report, run, SERIES[number - 1], suffix, of))
    found.append(_calibration(report))
    if report.comparison is not None:
        found.append(_differences(report, report.comparison))
    return [drawing for drawing in found if drawing is not None]


def _legend(axes: Any, report: Report) -> None:
    """Names of the runs, above the plot, where there are several."""
    if len(report.runs) > 1:
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2, handlelength=1.4, columnspacing=1.2
        )


def _curve_drawings(report: Report) -> Iterator[Drawing | None]:
    for name, title, tags in (
        ("loss", "Loss", ("train/loss", f"{report.prefix}/loss")),
        ("learning", report.metric_title, (f"{report.prefix}/{report.metric}",)),
    ):
        if not any(run.curves.get(tag) for run in report.runs for tag in tags):
            continue
        with canvas(height=2.5) as (figure, axes):
            for run, colour, marker in zip(report.runs, SERIES, MARKERS, strict=False):
                _curves(axes, run, tags, colour, marker)
            axes.set_xlabel("optimizer steps")
            axes.margins(x=0.03)
            _legend(axes, report)
            heading = f"{title} while training"
            note = "Marks: after each evaluation, the ring is the best checkpoint."
            if len(tags) > 1:
                longest = max(
                    (len(run.curves[tags[0]].steps) for run in report.runs if tags[0] in run.curves), default=0
                )
                averaged = ", averaged" if longest > _POINTS else ""
                note = f"Thin: training rows{averaged}. With marks: dev rows, the ring is the best checkpoint."
            yield drawn(figure, name, heading, _curve_words(report, tags[-1], title), note)


def _curves(axes: Any, run: Findings, tags: Sequence[str], colour: str, marker: str) -> None:
    for tag in tags:
        curve = run.curves.get(tag)
        if curve is None:
            continue
        if tag.startswith("train/"):
            thin = thinned(curve)
            axes.plot(thin.steps, thin.values, color=colour, linewidth=1.0, alpha=0.55)
            continue
        axes.plot(curve.steps, curve.values, color=colour, marker=marker, markersize=4.5, label=short(run.name, NAME))
        # the curves of older versions count the steps before the last one, the checkpoint all that were made
        before = sum(step <= run.best_step for step in curve.steps) if run.best_step is not None else 0
        if before:
            at = ([curve.steps[before - 1]], [curve.values[before - 1]])
            axes.plot(*at, "o", color=colour, markersize=10, markerfacecolor="none")


def thinned(curve: Curve, points: int = _POINTS) -> Curve:
    """A curve of so many points at most, each the mean of those that it stands for."""
    if len(curve.steps) <= points:
        return curve
    edges = np.linspace(0, len(curve.steps), points + 1).astype(int)
    parts = [slice(start, end) for start, end in pairwise(edges)]
    return Curve([curve.steps[part][-1] for part in parts], [float(np.mean(curve.values[part])) for part in parts])


def _curve_words(report: Report, tag: str, title: str) -> str:
    ends = []
    for run in report.runs:
        if (curve := run.curves.get(tag)) is not None:
            first, last = (f"{curve.values[at]:.3f} at step {curve.steps[at]:,}" for at in (0, -1))
            ends.append(f"{run.name}: {first}, {last}")
    return f"{title} against optimizer steps. {'; '.join(ends)}."


def _confusion(report: Report, run: Findings, colour: str, suffix: str, of: str) -> Drawing:
    labels, counts = grouped(report.task.labels, run.confusion or [])
    with canvas(height=matrix_height(len(labels))) as (figure, axes):
        draw_matrix(axes, labels, counts, colour)
        note = "Darker: a larger share of the rows with that gold label."
        if has_shares(len(labels)):
            note = "Percentages are of the rows with that gold label."
        words = "; ".join(
            f"gold {gold}: " + ", ".join(f"{count:,} {name}" for name, count in zip(labels, row, strict=True))
            for gold, row in zip(labels, counts.tolist(), strict=True)
        )
        return drawn(figure, f"confusion{suffix}", f"Confusion matrix{of}", f"Predicted labels. {words}.", note)


def _scatter(report: Report, run: Findings, colour: str, suffix: str, of: str) -> Drawing:
    gold, values = run.predicted.gold, run.predicted.values
    with canvas(height=SCATTER_HEIGHT) as (figure, axes):
        dots = draw_scatter(axes, gold, values, colour)
        note = "On the dashed line, both are the same."
        if dots < len(gold):
            note += f" {dots:,} of {len(gold):,} rows, drawn at random."
        error = float(np.abs(gold - values).mean())
        words = f"Predicted against gold scores of {len(gold):,} rows; they are {error:.3f} apart on average."
        return drawn(figure, f"scatter{suffix}", f"Predicted against gold{of}", words, note)


def _calibration(report: Report) -> Drawing | None:
    curves = [(run, run.reliability, c, m) for run, c, m in zip(report.runs, SERIES, MARKERS, strict=False)]
    if all(of is None for _, of, _, _ in curves):
        return None
    with canvas(height=3.7, nrows=2, sharex=True, height_ratios=(4, 1)) as (figure, (axes, below)):
        least = 1 / max(2, len(report.task.labels))
        axes.plot([least, 1], [least, 1], color=MUTED, linewidth=0.9, linestyle=(0, (3, 3)))
        words = []
        for number, (run, of, colour, marker) in enumerate(curves):
            if of is None:
                continue
            at, right = [b.confidence for b in of.bins], [b.accuracy.value for b in of.bins]
            low, high = [b.accuracy.low for b in of.bins], [b.accuracy.high for b in of.bins]
            axes.vlines(at, low, high, color=colour, linewidth=1.1, alpha=0.6)
            axes.plot(
                at, right, color=colour, marker=marker, markersize=4.5, linewidth=1.2, label=short(run.name, NAME)
            )
            width = 0.02 / len(curves)
            places = [place + (number - (len(curves) - 1) / 2) * width for place in at]
            below.bar(places, [b.rows for b in of.bins], width=width * 0.9, color=colour, alpha=0.75)
            words.append(f"{run.name}: expected calibration error {of.error:.3f}")
        axes.set(ylabel="share right", ylim=(min(-0.02, 0), 1.04))
        below.set(xlabel="confidence (probability of the predicted label)", ylabel="rows")
        below.locator_params(axis="y", nbins=3)
        _legend(axes, report)
        note = "On the dashed line a model is right as often as it says; below, it is too sure. Lines: 95 % intervals."
        said = f"Share of right rows against confidence. {'; '.join(words)}."
        return drawn(figure, "calibration", "Calibration", said, note)


def _differences(report: Report, comparison: Comparison) -> Drawing | None:
    if not comparison.heights:
        return None
    edges, found = np.array(comparison.edges), comparison.difference
    with canvas(height=2.3) as (figure, axes):
        middles = (edges[:-1] + edges[1:]) / 2
        inside = (middles >= found.low) & (middles <= found.high)
        for shown, opacity in ((inside, 0.75), (~inside, 0.25)):
            axes.bar(
                middles[shown], np.array(comparison.heights)[shown], width=np.diff(edges)[shown] * 0.92,
                color=SERIES[1], alpha=opacity,
            )  # fmt: skip
        axes.axvline(0, color=INK, linewidth=1.1)
        axes.set(xlabel=f"difference in {report.metric_title}", yticks=[])
        axes.grid(visible=False)
        words = (
            f"Resampled differences in {report.metric_title}, {report.runs[1].name} minus {report.runs[0].name}: "
            f"95 % lie between {found.low:+.4f} and {found.high:+.4f}."
        )
        note = f"{comparison.resamples:,} resamples of the rows; 95 % of them are in the darker part. "
        note += f"Right of the line, {report.runs[1].name} is better."
        return drawn(figure, "comparison", "The difference, resampled", words, note)
