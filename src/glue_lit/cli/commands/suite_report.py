"""``glue-lit report`` on suites: a table of tasks by models, beside published results."""

import json
import sys
from pathlib import Path
from typing import Any

from glue_lit.errors import UsageError
from glue_lit.system.console import print_table, say
from glue_lit.system.files import open_atomic_binary, to_json_values, write_text
from glue_lit.system.streams import is_utf8

_MOST_SERIES = 6  # colours that all readers can tell apart
_OF_RUNS = ("split", "slice", "task", "source")  # flags about rows, which a suite's results do not have


def is_suite(path: Path) -> bool:
    """Whether a folder is a suite's and has results."""
    return (path / "results.json").is_file()


def write_suite_report(options: Any) -> None:
    """Write page and figure of one suite, or of several side by side.

    Raises:
        UsageError: Runs are named beside suites, or what only runs have is asked for.
        RunError: The results cannot be read.
    """
    if runs := [str(path) for path in options.runs if not is_suite(path)]:
        raise UsageError(f"report: {', '.join(runs)} is no suite with results. Name only runs, or only suites.")
    for name in _OF_RUNS:
        if getattr(options, name):
            flag = f"data.{name}" if name in ("task", "source") else name
            raise UsageError(f"--{flag}: a suite's report has scores, not rows. Name one of its runs for that.")
    folders = list({path.resolve(): path for path in options.runs}.values())
    from glue_lit.evaluation.report.suite_figure import suite_drawing
    from glue_lit.evaluation.report.suite_page import suite_page
    from glue_lit.evaluation.report.suite_table import suite_report, suite_values, table

    report = suite_report(folders)
    if len(report.series) > _MOST_SERIES:
        raise UsageError(f"report: got {len(report.series)} models, allowed: at most {_MOST_SERIES} side by side.")
    output = options.output or (folders[0] / "report" if len(folders) == 1 else Path("report"))
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output: {output} is a file. Allowed: a folder, which is created if missing.")
    drawing = suite_drawing(report)
    with open_atomic_binary(output / f"{drawing.name}.png") as file:
        file.write(drawing.png)
    write_text(output / "report.html", suite_page(report, drawing))
    if options.json:
        print(json.dumps(to_json_values(suite_values(report)), ensure_ascii=not is_utf8(sys.stdout)))
        return
    columns, rows = table(report)
    print_table(f"Suite {report.title}, times 100", columns, rows, right=columns[2:])
    say(f"Report      {output / 'report.html'}")
