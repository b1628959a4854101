"""Pictures of a search: its history, the importance of each setting, and a slice along each."""

import math
import warnings
from pathlib import Path

from glue_lit.engine.search import Search
from glue_lit.system.files import open_atomic_binary, write_text

_PLOTS = {"history": "plot_optimization_history", "importance": "plot_param_importances", "slices": "plot_slice"}


def draw_search(search: Search) -> list[Path]:
    """Write the pictures as PNG files and as one interactive page; return the files.

    No picture is drawn until two trials have finished with different values.
    """
    values = {trial.value for trial in search.all_trials() if trial.value is not None and math.isfinite(trial.value)}
    if len(values) < 2:
        return []
    import matplotlib

    matplotlib.use("Agg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the functions are experimental
        return [*_write_png(search), _write_page(search)]


def _write_png(search: Search) -> list[Path]:
    from matplotlib import pyplot
    from optuna.visualization import matplotlib as visualization

    written = []
    for name, plot in _PLOTS.items():
        getattr(visualization, plot)(search.study, target_name=search.monitor)
        path = search.folder / f"{name}.png"
        with open_atomic_binary(path) as file:
            pyplot.gcf().savefig(file, format="png", dpi=150, bbox_inches="tight")
        pyplot.close("all")
        written.append(path)
    return written


def _write_page(search: Search) -> Path:
    """Write a page with all pictures, which needs no network."""
    from optuna import visualization

    figures = [getattr(visualization, plot)(search.study, target_name=search.monitor) for plot in _PLOTS.values()]
    parts = [figure.to_html(full_html=False, include_plotlyjs=number == 0) for number, figure in enumerate(figures)]
    path = search.folder / "pictures.html"
    title = f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{search.folder.name}</title><body>"
    write_text(path, "\n".join([title, *parts, "</body></html>"]) + "\n")
    return path
