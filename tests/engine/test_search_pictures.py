"""The pictures of a search, without trainings."""

import math
import re
from pathlib import Path

import pytest

pytest.importorskip("optuna")
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from glue_lit.engine.search import Search
from glue_lit.engine.search_pictures import draw_search

SPACE = {
    "model.learning_rate": FloatDistribution(1e-5, 1e-3, log=True),
    "model.schedule": CategoricalDistribution(["linear", "<b>$x^2$"]),
    "trainer.max_epochs": IntDistribution(2, 5),
}


def search_of(folder: Path, values: list[float | None]) -> Search:
    """A search whose trials have ended with these values; ``None`` for a failed one."""
    (folder / "base.yaml").write_text("model: {}\n")
    search = Search(folder, folder / "base.yaml", "cola", SPACE, len(values), "val/accuracy", True)
    for value in values:
        trial = search.study.ask(fixed_distributions=SPACE)
        search.study.tell(trial, value, state=TrialState.FAIL if value is None else TrialState.COMPLETE)
    return search


def test_a_page_in_the_reports_style_shows_trials_importance_and_slices(tmp_path: Path) -> None:
    search = search_of(tmp_path, [0.5, None, 0.625, 0.375, 0.25])
    files = draw_search(search)
    assert [path.name for path in files] == ["history.png", "importance.png", "slices.png", "pictures.html"]
    page = files[-1].read_text(encoding="utf-8")
    assert "default-src 'none'" in page  # no script runs, and nothing is loaded
    assert "<script" not in page
    assert "<b>$x" not in page
    assert "&lt;b&gt;$x^2$" in page
    assert re.findall(r"<th>trial (\d+)</th>", page) == ["2", "0", "3", "4"]  # the best first
    assert '<div class="big">0.6250</div><div class="range">trial 2</div>' in page
    assert "of 5 that were started" in page
    assert "mathdefault" not in page  # matplotlib's exponents are formulas, which the page does not set


def test_a_search_without_two_different_values_has_no_pictures(tmp_path: Path) -> None:
    for number, values in enumerate(([], [0.5], [0.5, 0.5, None], [0.5, math.inf])):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert draw_search(search_of(folder, list(values))) == []
