"""The figures of a report, drawn from its numbers."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from glue_lit.evaluation.reliability import Reliability
from glue_lit.evaluation.report.canvas import INK, MARKERS, MUTED, NAME, SERIES, Drawing, canvas, render, shorten
from glue_lit.evaluation.report.dot_rows import offset
from glue_lit.evaluation.report.events import Curve
from glue_lit.evaluation.report.findings import Findings, Report
from glue_lit.evaluation.report.label_figure import label_drawing
from glue_lit.evaluation.report.outcome_figures import outcome_figure
from glue_lit.evaluation.report.slice_figure import slice_drawing
from glue_lit.evaluation.significance import Comparison
from glue_lit.tasks.glue import log_prefix

_POINTS = 200  # at most, of a training curve; noise turns more points into a band


def drawings(report: Report) -> list[Drawing]:
    """All figures that the report has numbers for."""
    found = [*_curve_drawings(report), slice_drawing(report)]
    draw = label_drawing if report.task.is_multi_label else _outcome
    found += [draw(report, number) for number in range(len(report.runs))]
    found.append(_calibration(report))
    if report.comparison is not None:
        found.append(_differences(report, report.comparison))
    return [drawing for drawing in found if drawing is not None]


def _add_legend(axes: Any, report: Report) -> None:
    """Name the runs above the plot, where there are several."""
    if len(report.runs) > 1:
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2, handlelength=1.4, columnspacing=1.2
        )


def _curve_drawings(report: Report) -> Iterator[Drawing]:
    prefix = log_prefix(report.split)
    for name, title, tags in (
        ("loss", "Loss", ("train/loss", f"{prefix}/loss")),
        ("learning", report.metric_title, (f"{prefix}/{report.metric}",)),
    ):
        if not any(tag in run.curves for run in report.runs for tag in tags):
            continue
        with canvas(height=2.5) as (figure, axes):
            for number, run in enumerate(report.runs):
                _draw_curves(axes, run, tags, number)
            axes.set_xlabel("optimizer steps")
            axes.margins(x=0.03)
            _add_legend(axes, report)
            note = "One marker for each evaluation; the ring marks the best checkpoint."
            if len(tags) > 1:
                trained = (run.curves[tags[0]] for run in report.runs if tags[0] in run.curves)
                averaged = ", averaged" if any(len(curve.steps) > _POINTS for curve in trained) else ""
                note = f"Thin: training rows{averaged}. With markers: dev rows; the ring marks the best checkpoint."
            yield render(figure, name, f"{title} while training", _describe_curves(report, tags[-1], title), note)


def _draw_curves(axes: Any, run: Findings, tags: Sequence[str], number: int) -> None:
    colour = SERIES[number]
    for tag, curve in ((tag, run.curves[tag]) for tag in tags if tag in run.curves):
        if tag.startswith("train/"):
            thin = thin_out(curve)
            axes.plot(thin.steps, thin.values, color=colour, linewidth=1.0, alpha=0.55)
            continue
        label = shorten(run.name, NAME)
        axes.plot(curve.steps, curve.values, color=colour, marker=MARKERS[number], markersize=4.5, label=label)
        # in curves of older versions, a step is one less than in their checkpoints
        before = sum(step <= run.best_step for step in curve.steps) if run.best_step is not None else 0
        if before:
            at = ([curve.steps[before - 1]], [curve.values[before - 1]])
            axes.plot(*at, "o", color=colour, markersize=10, markerfacecolor="none")


def thin_out(curve: Curve, points: int = _POINTS) -> Curve:
    """Reduce a curve to at most ``points`` points, each the mean of those it replaces."""
    if len(curve.steps) <= points:
        return curve
    edges = np.linspace(0, len(curve.steps), points + 1).astype(int)
    parts = [slice(start, end) for start, end in pairwise(edges)]
    return Curve([curve.steps[part][-1] for part in parts], [float(np.mean(curve.values[part])) for part in parts])


def _describe_curves(report: Report, tag: str, title: str) -> str:
    ends = []
    for run in report.runs:
        if (curve := run.curves.get(tag)) is not None:
            first, last = (f"{curve.values[at]:.3f} at step {curve.steps[at]:,}" for at in (0, -1))
            ends.append(f"{run.name}: {first}, {last}")
    return f"{title} against optimizer steps. {'; '.join(ends)}."


def _outcome(report: Report, number: int) -> Drawing:
    run = report.runs[number]
    name, title = "confusion", "Confusion matrix"
    if report.task.is_regression and run.confusion is None:
        name, title = "scatter", "Predicted against gold"
    if len(report.runs) > 1:
        name, title = f"{name}-{number + 1}", f"{title}, {shorten(run.name, NAME)}"
    with outcome_figure(report.task, run.predicted, SERIES[number], run.confusion) as (figure, words, note):
        return render(figure, name, title, words, note)


def _calibration(report: Report) -> Drawing | None:
    curves = {number: run.reliability for number, run in enumerate(report.runs) if run.reliability is not None}
    if not curves:
        return None
    with canvas(height=3.7, nrows=2, sharex=True, height_ratios=(4, 1)) as (figure, (axes, below)):
        is_multi_label = report.task.is_multi_label
        least = 0 if is_multi_label else 1 / max(2, len(report.task.labels))
        axes.plot([least, 1], [least, 1], color=MUTED, linewidth=0.9, linestyle=(0, (3, 3)))
        for number, curve in curves.items():
            _draw_reliability(axes, below, curve, number, len(report.runs), report.runs[number].name)
        axes.set(ylabel="share of rows with the label" if is_multi_label else "accuracy", ylim=(-0.02, 1.04))
        what = "probability of a label" if is_multi_label else "confidence (probability of the predicted label)"
        below.set(xlabel=what, ylabel="rows x labels" if is_multi_label else "rows")
        below.locator_params(axis="y", nbins=3)
        _add_legend(axes, report)
        note = "On the dashed line, accuracy equals confidence; below it, the model is overconfident. "
        if is_multi_label:
            note = (
                "On the dashed line, the share of rows equals the probability; below it, the probability is too high. "
            )
        note += "Vertical lines: 95 % intervals."
        errors = (f"{report.runs[n].name}: expected calibration error {curve.error:.3f}" for n, curve in curves.items())
        words = (
            "Share of rows with a label against its probability" if is_multi_label else "Accuracy against confidence"
        )
        words = f"{words}. {'; '.join(errors)}."
        return render(figure, "calibration", "Calibration", words, note)


def _draw_reliability(axes: Any, below: Any, curve: Reliability, number: int, count: int, name: str) -> None:
    colour = SERIES[number]
    at, right = [b.confidence for b in curve.bins], [b.accuracy for b in curve.bins]
    axes.vlines(at, [s.low for s in right], [s.high for s in right], color=colour, linewidth=1.1, alpha=0.6)
    axes.plot(
        at, [s.value for s in right], color=colour, marker=MARKERS[number], markersize=4.5, linewidth=1.2,
        label=shorten(name, NAME),
    )  # fmt: skip
    places = [place + offset(number, count, 0.02) for place in at]
    below.bar(places, [b.rows for b in curve.bins], width=0.018 / count, color=colour, alpha=0.75)


def _differences(report: Report, comparison: Comparison) -> Drawing | None:
    if not comparison.heights:
        return None
    edges, found = np.array(comparison.edges), comparison.difference
    with canvas(height=2.3) as (figure, axes):
        middles = (edges[:-1] + edges[1:]) / 2
        inside = (middles >= found.low) & (middles <= found.high)
        for shown, opacity in ((inside, 0.75), (~inside, 0.25)):
            heights, widths = np.array(comparison.heights)[shown], np.diff(edges)[shown] * 0.92
            axes.bar(middles[shown], heights, width=widths, color=SERIES[1], alpha=opacity)
        axes.axvline(0, color=INK, linewidth=1.1)
        axes.set(xlabel=f"difference in {report.metric_title}", yticks=[])
        axes.grid(visible=False)
        first, second = (run.name for run in report.runs)
        words = (
            f"Resampled differences in {report.metric_title}, {second} minus {first}: "
            f"95 % lie between {found.low:+.4f} and {found.high:+.4f}."
        )
        note = f"{comparison.resamples:,} resamples of the rows; 95 % of them are in the darker part. "
        note += f"{'Left' if comparison.lower_is_better else 'Right'} of the line, {second} is better."
        return render(figure, "comparison", "The difference, resampled", words, note)
