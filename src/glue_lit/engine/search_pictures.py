"""Pictures of a search: PNG files, and a page in the style of a report."""

import math
import warnings
from pathlib import Path

from optuna.trial import TrialState

from glue_lit.engine.search import Search
from glue_lit.system.files import open_atomic_binary, write_text
from glue_lit.system.version import __version__

_MOST_ROWS = 20  # trials in the page's table; trials.csv has all


def draw_search(search: Search) -> list[Path]:
    """Write the pictures as PNG files and the page; return the files.

    No picture is drawn until two trials have finished with different values.
    """
    finished, trials = search.all_trials(TrialState.COMPLETE), search.all_trials()
    if len({trial.value for trial in finished if trial.value is not None and math.isfinite(trial.value)}) < 2:
        return []
    from glue_lit.engine.search_figures import search_figures
    from glue_lit.evaluation.report.page import environment

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optuna's importances are experimental in some versions
        drawings = search_figures(search, finished)
    written = [search.folder / f"{drawing.name}.png" for drawing in drawings]
    for path, drawing in zip(written, drawings, strict=True):
        with open_atomic_binary(path) as file:
            file.write(drawing.png)
    text = environment().get_template("search.html.j2").render(
        name=search.folder.name, monitor=search.monitor, settings=list(search.space), drawings=drawings,
        ranked=search.ranked_trials()[:_MOST_ROWS], finished=len(finished), count=len(trials), version=__version__,
        seconds=sum(trial.duration.total_seconds() for trial in trials if trial.duration is not None),
    )  # fmt: skip
    page = search.folder / "pictures.html"
    write_text(page, text.encode("utf-8", "replace").decode("utf-8"))
    return [*written, page]
