"""The figure of a suite: tasks by models, with the spread over seeds, beside published scores."""

from itertools import pairwise
from typing import Any

from glue_lit.evaluation.report.canvas import MARKERS, MUTED, NAME, RULE, SERIES, Drawing, canvas, render, shorten
from glue_lit.evaluation.report.dot_rows import draw_dots, label_rows, offset
from glue_lit.evaluation.report.suite_table import Series, SuiteReport, metric_title
from glue_lit.evaluation.resampling import Score

_NAME = NAME + 12  # characters; the legend has one column


def suite_drawing(report: SuiteReport) -> Drawing:
    """Draw the scores: a row for each metric of each task, a dot and a line for each model."""
    lines = {key: float(number) for number, key in enumerate(report.keys)}
    with canvas(height=1.2 + 0.34 * len(lines) + 0.16 * (len(report.series) + len(report.published))) as (figure, axes):
        names = [f"{task}  {metric_title(metric)}" for task, metric in report.keys]
        label_rows(axes, lines.values(), names, margins=(0.6, 0.6))
        for number, one in enumerate(report.series):
            shift = offset(number, len(report.series), 0.6)
            _draw_series(axes, one, {key: line + shift for key, line in lines.items()}, number)
        for number, (name, found) in enumerate(report.published.items()):
            marker = MARKERS[-1 - number % len(MARKERS)]
            axes.plot(list(found.values()), [lines[key] for key in found], marker, markerfacecolor="none",
                      markeredgecolor=MUTED, markersize=6, label=shorten(f"{name}, published", _NAME))  # fmt: skip
        for (before, _), key in pairwise(report.keys):
            if key[0] != before:
                axes.axhline(lines[key] - 0.5, color=RULE, linewidth=0.6)
        axes.set_xlabel("score on the validation rows, times 100")
        figure.legend(loc="outside lower left", ncols=1, handlelength=1.0)
        note = "Dots: means over seeds; lines: one standard deviation to either side"
        has_majority = any(one.majority for one in report.series)
        note += "; x: accuracy of the most frequent label, without training." if has_majority else "."
        note += " Published scores are other people's runs, mostly the best of several." if report.published else ""
        return render(figure, "suite", "Scores by task and model", _describe(report), note)


def _draw_series(axes: Any, one: Series, places: dict[tuple[str, str], float], number: int) -> None:
    spreads = [(figure.mean, figure.deviation or 0.0) for figure in one.figures.values()]
    scores = [Score(mean, mean - spread, mean + spread) for mean, spread in spreads]
    draw_dots(axes, [places[key] for key in one.figures], scores, number, shorten(one.name, _NAME))
    axes.plot(list(one.majority.values()), [places[key] for key in one.majority], "x", color=SERIES[number])


def _describe(report: SuiteReport) -> str:
    found = []
    for one in report.series:
        scores = "; ".join(f"{task} {metric_title(metric)} {f}" for (task, metric), f in one.figures.items())
        found.append(f"{one.name}: {scores}")
    return f"Scores times 100. {'. '.join(found)}."
