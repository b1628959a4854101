"""Pictures of a search: its history, which settings matter, and a slice along each."""

import math
import warnings
from pathlib import Path
from typing import Any

from glue_lit.engine.search import Search
from glue_lit.system.files import open_atomic_binary, write_text


def draw_search(search: Search) -> list[Path]:
    """Write the pictures as PNG files and as one page of interactive ones; returns what was written.

    A search has none before two trials have finished with different values.
    """
    values = {trial.value for trial in search.all() if trial.value is not None and math.isfinite(trial.value)}
    if len(values) < 2:
        return []
    import matplotlib

    matplotlib.use("Agg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the functions are experimental
        return [*_png(search), _page(search)]


def _png(search: Search) -> list[Path]:
    from matplotlib import pyplot
    from optuna.visualization import matplotlib as drawn

    written = []
    for name, plot in (
        ("history", drawn.plot_optimization_history),
        ("importance", drawn.plot_param_importances),
        ("slices", drawn.plot_slice),
    ):
        plot(search.study, target_name=search.monitor)
        path = search.folder / f"{name}.png"
        with open_atomic_binary(path) as file:
            pyplot.gcf().savefig(file, format="png", dpi=150, bbox_inches="tight")
        pyplot.close("all")
        written.append(path)
    return written


def _page(search: Search) -> Path:
    """One file with all of them, which needs no network."""
    from optuna import visualization as drawn

    plots: tuple[Any, ...] = (drawn.plot_optimization_history, drawn.plot_param_importances, drawn.plot_slice)
    parts = [
        plot(search.study, target_name=search.monitor).to_html(full_html=False, include_plotlyjs=number == 0)
        for number, plot in enumerate(plots)
    ]
    path = search.folder / "pictures.html"
    title = f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{search.folder.name}</title><body>"
    write_text(path, "\n".join([title, *parts, "</body></html>"]) + "\n")
    return path
