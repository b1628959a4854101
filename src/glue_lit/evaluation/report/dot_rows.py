"""Rows of dots with intervals: scores by slice, and scores by task."""

from collections.abc import Collection, Sequence
from typing import Any

from glue_lit.evaluation.report.canvas import MARKERS, SERIES
from glue_lit.evaluation.resampling import Score


def label_rows(axes: Any, places: Collection[float], names: Sequence[str], margins: tuple[float, float]) -> None:
    """Label the rows at these positions, counted from the top, with margins above 0 and below the last row."""
    axes.set_yticks(list(places), names)
    axes.set_ylim(max(places) + margins[1], -margins[0])
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def offset(number: int, count: int, width: float) -> float:
    """Offset of one of ``count`` series that share a row of this width."""
    return (number - (count - 1) / 2) * width / count


def draw_dots(axes: Any, places: Sequence[float], scores: Sequence[Score], number: int, label: str) -> None:
    """Draw the scores of a series as dots with intervals; its number picks colour and marker."""
    colour = SERIES[number]
    lows, highs = [score.low for score in scores], [score.high for score in scores]
    axes.hlines(places, lows, highs, color=colour, linewidth=1.4, alpha=0.6)
    axes.plot([score.value for score in scores], places, MARKERS[number], color=colour, markersize=4.5, label=label)
