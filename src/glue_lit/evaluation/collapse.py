"""Why a model gives all rows one label: its training loss tells a rate that is too high from too few steps."""

from pathlib import Path

import numpy as np

from glue_lit.evaluation.predictions import Floats, Predictions
from glue_lit.evaluation.report.events import read_curves
from glue_lit.system.console import count_of
from glue_lit.tasks.glue import TaskSpec

_LISTED = 8  # labels of a row
_FEW = 200  # steps; a pretrained encoder gives most rows of RTE one label for about as long
_CHANGE = 0.2  # of the loss of guessing: more than noise


def collapsed_label(task: TaskSpec, rows: Predictions) -> str | None:
    """What all rows get though some have another label, in words; ``None`` if the model has not collapsed."""
    if task.is_regression or (rows.values != rows.values[0]).any() or (rows.gold == rows.values[0]).all():
        return None
    if task.is_multi_label:
        found = [task.labels[at] for at in np.flatnonzero(rows.values[0])]
        more = f" and {len(found) - _LISTED:,} more" if len(found) > _LISTED else ""
        named = f"the label{'' if len(found) == 1 else 's'} {', '.join(found[:_LISTED])}{more}"
        return named if found else "no label"
    return f"the label {task.labels[int(rows.values[0])]}"


def explain_collapse(guessing: float | None, run: Path | None, learning_rate: float) -> str:
    """Say what the training loss of a collapsed model shows, and what to do.

    Args:
        guessing: The training loss of a model that gives all labels the same probability; ``None`` if not known.
        run: Directory with its curves, if it has one.
        learning_rate: The highest rate of its training.
    """
    curves = read_curves(run)[0] if run is not None else {}
    steps = max((curve.steps[-1] for curve in curves.values()), default=0)
    any_rate = "Another --model.learning_rate, --model.warmup 0.1 or another --seed_everything usually helps."
    longer = "it was trained too little. More --trainer.max_epochs, or a higher rate, usually helps."
    if (curve := curves.get("train/loss")) is None or guessing is None:
        return f"After {count_of(steps, 'step')}, {longer}" if 0 < steps < _FEW else any_rate
    highest = _averaged(curve.values, steps // 10).max()  # the loss of one batch says little
    losses = _averaged(curve.values, min(10, steps // 10))
    change, last = _CHANGE * guessing, losses[-3:].mean()
    if highest > guessing + change or last > losses.min() + change:
        seen = f"was {highest:.2f} at its highest, where guessing gives {guessing:.2f}"
        if highest <= guessing + change:
            seen = f"fell to {losses.min():.2f} and rose to {last:.2f}"
        return (
            f"Its training loss {seen}: --model.learning_rate {learning_rate:g} is too high. "
            "A lower one, or --model.warmup 0.1, usually helps."
        )
    seen = f"Its training loss went from {losses[0]:.2f} to {losses[-1]:.2f} in {count_of(steps, 'step')}"
    if steps < _FEW or losses[len(losses) // 2] > losses[-1] + change / 2:
        return f"{seen}: {longer}"
    return f"{seen}. {any_rate}"


def _averaged(losses: list[float], parts: int) -> Floats:
    """Mean loss in each of so many parts of the training, or at each point if there are fewer."""
    found = np.array_split(np.array(losses), max(1, min(parts, len(losses))))
    return np.array([part.mean() for part in found])
