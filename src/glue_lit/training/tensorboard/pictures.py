"""A validation in TensorBoard: predicted against gold as a picture, hard rows as a table."""

import re
from collections.abc import Sequence

import numpy as np

from glue_lit.evaluation.predictions import Predictions
from glue_lit.evaluation.report.examples import Example, mistakes
from glue_lit.evaluation.report.texts import Texts
from glue_lit.system.console import count_of
from glue_lit.tasks.glue import TaskSpec


def draw_outcome(task: TaskSpec, predicted: Predictions, title: str) -> np.ndarray | None:
    """Confusion matrix, or predicted against gold scores, ``(height, width, 3)`` bytes.

    ``None`` without matplotlib, and for a multi-label task.
    """
    if task.is_multi_label:
        return None
    try:
        from glue_lit.evaluation.report import canvas, outcome_figures
    except ImportError:
        return None
    with outcome_figures.outcome_figure(task, predicted, canvas.SERIES[0]) as (figure, *_):
        return canvas.pixels(figure, title)


def hard_rows(task: TaskSpec, predicted: Predictions, texts: Texts) -> str:
    """The most confident mistakes, or the scores furthest off, as a Markdown table with escaped texts."""
    found = mistakes(task, predicted, texts)
    rows = count_of(len(predicted), "row")
    if task.is_regression:
        caption = f"The scores furthest off, of {rows}:"
    else:
        wrong = len(predicted) - int(predicted.is_right.sum())
        caption = f"{wrong:,} of {rows} are wrong. The most confident mistakes:"
    if not found:
        return f"None of {rows} is wrong."
    unit, ids = found[0].unit, predicted.places is not None and predicted.places.ids is not None
    certainty = () if found[0].certainty is None else ("certainty",)
    about = ("most certain mistake",) if task.is_multi_label else ()
    names = (*task.text_columns, "gold", "predicted", *certainty, *about, unit, *(("id",) if ids else ()))
    if not found[0].texts:
        names = names[len(task.text_columns) :]
    lines = [_line(names), _line(["---"] * len(names), is_plain=True), *(_line(_cells(row, ids)) for row in found)]
    return f"{caption}\n\n" + "\n".join(lines)


def _cells(row: Example, has_ids: bool) -> list[str]:
    certainty = [] if row.certainty is None else [f"{row.certainty:.3f}"]
    about = [row.about] if row.about else []
    return [*row.texts, row.gold, row.predicted, *certainty, *about, str(row.at), *([row.id or ""] if has_ids else [])]


def _line(cells: Sequence[str], is_plain: bool = False) -> str:
    return f"| {' | '.join(cells if is_plain else map(escaped, cells))} |"


def escaped(text: str) -> str:
    """A text that Markdown and HTML show as it is: punctuation becomes character codes, except period and comma."""
    text = " ".join(text.split())  # a line break would end the row
    return re.sub(r"[^\w .,]|_", lambda match: f"&#{ord(match[0])};", text)
