"""The figures of a search, in the style of a report: its history, what matters, and the scores along each setting."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from glue_lit.engine.search import Search
from glue_lit.evaluation.report.canvas import INK, MARKERS, SERIES, Drawing, canvas, render, shorten

_NAME = 26  # characters of a setting or a value beside a plot


def search_figures(search: Search, trials: Sequence[FrozenTrial]) -> list[Drawing]:
    """Draw a search.

    Args:
        search: The search.
        trials: Its finished trials, at least two with different values.
    """
    return [_history(search, trials), _importance(search), _slices(search, trials)]


def _values(trials: Sequence[FrozenTrial]) -> list[float]:
    return [float(trial.value or 0.0) for trial in trials]


def _history(search: Search, trials: Sequence[FrozenTrial]) -> Drawing:
    numbers, values = [trial.number for trial in trials], _values(trials)
    is_maximized = search.study.direction == StudyDirection.MAXIMIZE
    best = (np.maximum if is_maximized else np.minimum).accumulate(values)
    with canvas(height=2.6) as (figure, axes):
        axes.step(numbers, best, where="post", color=SERIES[1], linewidth=1.2)
        axes.plot(numbers, values, MARKERS[0], color=SERIES[0], markersize=4.5)
        axes.set(xlabel="trial", ylabel=shorten(search.monitor, _NAME))
        axes.locator_params(axis="x", integer=True)
        axes.margins(y=0.1)
        words = f"{search.monitor} of {len(values)} trials: from {min(values):.4f} to {max(values):.4f}."
        return render(figure, "history", "Trials in order", words, "Dots: finished trials; line: the best so far.")


def _importance(search: Search) -> Drawing:
    found = optuna.importance.get_param_importances(search.study)
    names, shares = list(found), list(found.values())
    with canvas(height=1.0 + 0.3 * len(names)) as (figure, axes):
        axes.barh(names, shares, color=SERIES[0], alpha=0.75, height=0.6)
        axes.set_yticks(range(len(names)), [shorten(name, _NAME) for name in names])
        axes.set(xlim=(0, 1), xlabel="share of the variation between trials")
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        words = f"Importance: {', '.join(f'{name} {share:.2f}' for name, share in found.items())}."
        note = "How much of the variation each setting explains (fANOVA); a few trials tell little."
        return render(figure, "importance", "Importance of each setting", words, note)


def _slices(search: Search, trials: Sequence[FrozenTrial]) -> Drawing:
    keys, best = list(search.space), search.best
    with canvas(height=0.3 + 1.7 * len(keys), nrows=len(keys), squeeze=False) as (figure, axes):
        for place, key in zip(axes[:, 0], keys, strict=True):
            tried = [trial for trial in trials if key in trial.params]
            positions = _positions(place, search, key, tried)
            place.plot(positions, _values(tried), MARKERS[0], color=SERIES[0], markersize=4.5, alpha=0.75)
            ringed = [at for at, trial in zip(positions, tried, strict=True) if best and trial.number == best.number]
            place.plot(
                ringed, [best.value] * len(ringed) if best else [], "o", color=INK, markersize=10, fillstyle="none"
            )
            place.set_xlabel(key)
            place.margins(y=0.2)
        words = f"{search.monitor} against {', '.join(keys)}."
        return render(figure, "slices", f"{search.monitor} along each setting", words, "The ring marks the best trial.")


def _positions(axes: Any, search: Search, key: str, trials: Sequence[FrozenTrial]) -> list[float]:
    """Where trials stand along a setting, whose axis is prepared: logarithmic, or with a tick for each choice."""
    space, values = search.space[key], [trial.params[key] for trial in trials]
    if not isinstance(space, CategoricalDistribution):
        if getattr(space, "log", False):
            axes.set_xscale("log")
            ticks = np.geomspace(min(values), max(values), 4)
            axes.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks])
            axes.set_xticks([], minor=True)
        else:
            axes.locator_params(axis="x", integer=isinstance(space, IntDistribution), nbins=6)
        return [float(value) for value in values]
    axes.set_xticks(range(len(space.choices)), [shorten(str(choice), _NAME) for choice in space.choices])
    axes.set_xlim(-0.5, len(space.choices) - 0.5)
    return [float(space.choices.index(value)) for value in values]
