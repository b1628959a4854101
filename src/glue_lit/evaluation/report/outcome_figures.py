"""Predicted against gold: a confusion matrix, or a scatter plot of scores. Needs only matplotlib."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from numpy.typing import ArrayLike

from glue_lit.evaluation.cut_points import with_levels
from glue_lit.evaluation.formulas import confusion_matrix
from glue_lit.evaluation.predictions import Predictions, Values
from glue_lit.evaluation.report.canvas import MUTED, canvas
from glue_lit.evaluation.report.texts import truncate
from glue_lit.system.console import count_of
from glue_lit.tasks.glue import TaskSpec

_DOTS = 2_000
_MOST_LABELS = 12  # in a confusion matrix; the rarer ones share a row


@contextmanager
def outcome_figure(
    task: TaskSpec, predicted: Predictions, colour: str, counts: ArrayLike | None = None
) -> Iterator[tuple[Figure, str, str]]:
    """A confusion matrix, or a scatter plot of scores; with a description, and a note on how to read it.

    Args:
        task: Its labels, or none for scores.
        predicted: The rows.
        colour: Of the cells or dots.
        counts: The confusion matrix, if it is known.
    """
    names = task.levels or task.labels
    if not names:
        with canvas(height=3.6) as (figure, axes):
            yield figure, *_draw_scatter(axes, predicted.gold, predicted.values, colour)
        return
    if counts is None:
        rows = with_levels(task, predicted)
        counts = confusion_matrix(rows.gold, rows.values, len(names))
    labels, matrix = group_labels(names, counts)
    with canvas(height=1.2 + min(2.6, 0.55 * len(labels))) as (figure, axes):
        yield figure, *_draw_matrix(axes, labels, matrix, colour)


def group_labels(labels: Sequence[str], counts: ArrayLike) -> tuple[list[str], np.ndarray]:
    """Labels and counts of a matrix; if there are too many labels to read, the rarest are merged."""
    matrix = np.array(counts)
    if len(labels) <= _MOST_LABELS:
        return list(labels), matrix
    frequency = matrix.sum(axis=0) + matrix.sum(axis=1)
    kept = np.sort(np.argsort(-frequency, kind="stable")[: _MOST_LABELS - 1])
    rest = np.setdiff1d(np.arange(len(labels)), kept)
    picks = np.zeros((_MOST_LABELS, len(labels)), dtype=int)
    picks[np.arange(len(kept)), kept] = 1
    picks[-1, rest] = 1
    return [*(labels[place] for place in kept), f"({len(rest)} others)"], picks @ matrix @ picks.T


def _draw_matrix(axes: Any, labels: Sequence[str], counts: np.ndarray, colour: str) -> tuple[str, str]:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    has_shares = len(labels) <= 4  # room for them beside the counts
    size = 9 if has_shares else 7 if len(labels) <= 8 else 5.5
    for (row, column), share in np.ndenumerate(shares):
        style: Any = {"boxstyle": "round,pad=0,rounding_size=0.05", "facecolor": colour, "edgecolor": "none"}
        # opacity, unlike a colour scale, works on a dark page, too
        axes.add_patch(FancyBboxPatch((column - 0.46, row - 0.46), 0.92, 0.92, alpha=0.04 + 0.5 * share, **style))
        words = f"{counts[row, column]:,}" + (f"\n{share:.0%}" if has_shares else "")
        axes.text(column, row, words, ha="center", va="center", fontsize=size, linespacing=1.5)
    ticks = range(len(labels))
    names = [truncate(label, 18) for label in labels]
    rotation, place = (0, "center") if len(labels) <= 3 else (40, "right")
    axes.set_xticks(ticks, names, rotation=rotation, ha=place)
    axes.set_yticks(ticks, names)
    axes.set(xlim=(-0.5, len(labels) - 0.5), ylim=(len(labels) - 0.5, -0.5), xlabel="predicted", ylabel="gold")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines["bottom"].set_visible(False)
    rows = (
        f"gold {gold}: " + ", ".join(f"{count:,} {name}" for name, count in zip(labels, row, strict=True))
        for gold, row in zip(labels, counts.tolist(), strict=True)
    )
    note = "Darker: a larger share of the rows with that gold label."
    if has_shares:
        note = "Percentages are of the rows with that gold label."
    return f"Predicted labels. {'; '.join(rows)}.", note


def _draw_scatter(axes: Any, gold: Values, values: Values, colour: str) -> tuple[str, str]:
    picked = np.arange(len(gold))
    if len(picked) > _DOTS:
        picked = np.sort(np.random.default_rng(0).choice(picked, _DOTS, replace=False))
    low, high = float(min(gold.min(), values.min())), float(max(gold.max(), values.max()))
    axes.plot([low, high], [low, high], color=MUTED, linewidth=0.9, linestyle=(0, (3, 3)))
    axes.plot(gold[picked], values[picked], "o", color=colour, markersize=2.6, alpha=0.4, markeredgewidth=0)
    axes.set(xlabel="gold score", ylabel="predicted score")
    axes.set_aspect("equal", adjustable="datalim")
    note = "On the dashed line, the predicted score equals the gold score."
    if len(picked) < len(gold):
        note += f" {len(picked):,} of {len(gold):,} rows, drawn at random."
    error = float(np.abs(gold - values).mean())
    return (
        f"Predicted against gold scores of {count_of(len(gold), 'row')}; the mean absolute error is {error:.3f}.",
        note,
    )
