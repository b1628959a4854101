"""`write_suite_report`: a page and a figure on suites, tasks by models, beside published results."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from glue_lit.errors import UsageError
from glue_lit.outputs.report import PAGE, check_installed, check_output
from glue_lit.system.files import open_atomic_binary, write_text

if TYPE_CHECKING:  # what it imports may not be installed
    from glue_lit.evaluation.report.suite_table import SuiteReport

_MOST_SERIES = 6  # colours that all readers can tell apart


@dataclass(frozen=True)
class SuiteReportResult:
    """A report on suites that was written.

    Attributes:
        report: Its numbers.
        page: The HTML file.
        figure: The PNG file.
    """

    report: "SuiteReport"
    page: Path
    figure: Path


def is_suite(path: Path) -> bool:
    """Whether a folder is a suite's and has results."""
    return (path / "results.json").is_file()


def write_suite_report(folders: Sequence[Path], output: Path | None = None) -> SuiteReportResult:
    """Write page and figure of one suite, or of several side by side.

    Args:
        folders: Folders of suites with results.
        output: The folder; ``None`` for ``report`` in the suite, or in the working directory for several.

    Raises:
        UsageError: A package is not installed, there are too many models, or the output is a file.
        RunError: The results cannot be read.
    """
    check_installed()
    folders = list({path.resolve(): path for path in folders}.values())
    from glue_lit.evaluation.report.suite_figure import suite_drawing
    from glue_lit.evaluation.report.suite_page import suite_page
    from glue_lit.evaluation.report.suite_table import suite_report

    report = suite_report(folders)
    if len(report.series) > _MOST_SERIES:
        raise UsageError(f"report: got {len(report.series)} models, allowed: at most {_MOST_SERIES} side by side.")
    output = output or (folders[0] / "report" if len(folders) == 1 else Path("report"))
    check_output(output)
    drawing = suite_drawing(report)
    figure = output / f"{drawing.name}.png"
    with open_atomic_binary(figure) as file:
        file.write(drawing.png)
    write_text(output / PAGE, suite_page(report, drawing))
    return SuiteReportResult(report, output / PAGE, figure)
