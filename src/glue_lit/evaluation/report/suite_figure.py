"""The figure of a suite: tasks by models, with the spread over seeds, beside what others have published."""

from typing import Any

from glue_lit.evaluation.report.canvas import MARKERS, MUTED, NAME, RULE, SERIES, Drawing, canvas, drawn, short
from glue_lit.evaluation.report.suite_table import Key, SuiteReport, metric_title


def suite_drawing(report: SuiteReport) -> Drawing:
    """Draw the scores: a row for each metric of each task, a dot and a line for each model."""
    lines = _lines(report.keys)
    with canvas(height=1.2 + 0.34 * len(lines) + 0.16 * (len(report.series) + len(report.published))) as (figure, axes):
        for number in range(len(report.series)):
            _dots(axes, report, lines, number)
        for number, (name, found) in enumerate(report.published.items()):
            places = [lines[key] for key in found]
            marker = MARKERS[-1 - number % len(MARKERS)]
            axes.plot(list(found.values()), places, marker, markerfacecolor="none", markeredgecolor=MUTED, markersize=6,
                      linestyle="none", label=short(f"{name}, published", NAME + 12))  # fmt: skip
        axes.set_yticks(list(lines.values()), [f"{task}  {metric_title(metric)}" for task, metric in lines])
        axes.set_ylim(max(lines.values()) + 0.6, -0.6)
        for line, (key, before) in enumerate(zip(report.keys[1:], report.keys, strict=False), start=1):
            if key[0] != before[0]:
                axes.axhline(line - 0.5, color=RULE, linewidth=0.6)
        axes.set_xlabel("score on the validation rows, times 100")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        figure.legend(loc="outside lower left", ncols=1, handlelength=1.0)
        note = "Dots: means over seeds; lines: one standard deviation to either side"
        note += "; x: accuracy of the commonest label, nothing trained." if _has_majority(report) else "."
        note += " Published figures are other people's runs, mostly the best of several." if report.published else ""
        return drawn(figure, "suite", "Scores by task and model", _words(report), note)


def _lines(keys: list[Key]) -> dict[Key, float]:
    return {key: float(number) for number, key in enumerate(keys)}


def _dots(axes: Any, report: SuiteReport, lines: dict[Key, float], number: int) -> None:
    one, colour = report.series[number], SERIES[number]
    shift = (number - (len(report.series) - 1) / 2) * 0.6 / len(report.series)
    places = [lines[key] + shift for key in one.figures]
    figures = list(one.figures.values())
    axes.hlines(
        places,
        [f.mean - (f.deviation or 0.0) for f in figures],
        [f.mean + (f.deviation or 0.0) for f in figures],
        color=colour,
        linewidth=1.6,
        alpha=0.6,
    )
    axes.plot([f.mean for f in figures], places, MARKERS[number], color=colour, markersize=5, linestyle="none",
              label=short(one.name, NAME + 12))  # fmt: skip
    axes.plot(list(one.majority.values()), [lines[key] + shift for key in one.majority], "x", color=colour)


def _has_majority(report: SuiteReport) -> bool:
    return any(one.majority for one in report.series)


def _words(report: SuiteReport) -> str:
    found = []
    for one in report.series:
        scores = "; ".join(f"{task} {metric_title(metric)} {f}" for (task, metric), f in one.figures.items())
        found.append(f"{one.name}: {scores}")
    return f"Scores times 100. {'. '.join(found)}."
