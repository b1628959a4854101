"""The page of a suite: its scores as a figure and as a table."""

from dataclasses import dataclass

from glue_lit.evaluation.report.canvas import Drawing
from glue_lit.evaluation.report.page import environment
from glue_lit.evaluation.report.suite_table import Key, Series, SuiteReport, metric_title
from glue_lit.system.version import __version__


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        task: Its name.
        metric: As a reader knows it.
        cells: What each model has, then what is published.
    """

    task: str
    metric: str
    cells: list[str]


def suite_page(report: SuiteReport, drawing: Drawing) -> str:
    """The suite as one HTML file that needs nothing else."""
    template = environment().get_template("suite.html.j2")
    return template.render(report=report, drawing=drawing, rows=table(report), version=__version__)


def table(report: SuiteReport) -> list[Row]:
    """All figures: mean ± standard deviation (n), an empty cell where there is none."""
    return [
        Row(key[0], metric_title(key[1]), [
            *(_cell(one, key) for one in report.series),
            *(f"{found[key]:.2f}" if key in found else "" for found in report.published.values()),
        ])
        for key in report.keys
    ]  # fmt: skip


def _cell(one: Series, key: Key) -> str:
    if (figure := one.figures.get(key)) is not None:
        return f"{figure} (n {figure.count})"
    return f"{one.majority[key]:.2f} (commonest label)" if key in one.majority else ""
