"""The page of a suite: its scores as a figure and as a table."""

from glue_lit.evaluation.report.canvas import Drawing
from glue_lit.evaluation.report.page import environment
from glue_lit.evaluation.report.suite_table import SuiteReport, table
from glue_lit.system.version import __version__


def suite_page(report: SuiteReport, drawing: Drawing) -> str:
    """The suite as one self-contained HTML file."""
    columns, rows = table(report)
    template = environment().get_template("suite.html.j2")
    return template.render(report=report, drawing=drawing, columns=columns, rows=rows, version=__version__)
