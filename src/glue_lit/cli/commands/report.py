"""``glue-lit report``: what one run has learned, or several side by side, as a page and pictures."""

import math
import sys
from pathlib import Path
from typing import Any

from glue_lit.cli.commands.flags import Flags
from glue_lit.errors import UsageError
from glue_lit.outputs.report import ReportResult, write_report
from glue_lit.outputs.suite_report import is_suite, write_suite_report
from glue_lit.runs.run import LOGS, Run, newest_run, open_run
from glue_lit.system.console import count_of, json_document, print_table, say

# Flags about rows, which a suite's results do not have.
_OF_RUNS = ("split", "slice", "data.task", "data.source", "data.custom.test_file")


def _parser() -> Flags:
    flags = Flags(
        "glue-lit report",
        description="Write a page (one HTML file) and its figures (PNG) on a run, or on several side by side: scores "
        "with intervals, learning curves, confusion, slices, calibration, mistakes; of two runs whether they differ by "
        "more than chance. On a suite (lightning_logs/suite/NAME): tasks by models, beside what others have published.",
        allow_abbrev=False,
    )
    flags.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="run directories, or suites (default: the "
                       "newest run)")  # fmt: skip
    flags.add_argument("--run", action="append", type=Path, default=[], help="the same; may be repeated")
    flags.add_argument("--output", type=Path, help="folder (default: RUN/report; of several runs ./report)")
    flags.add_argument("--split", help="labelled split (default: the one whose metric picks the checkpoint)")
    flags.add_argument("--slice", action="append", default=[], metavar="COLUMN", help="score by a column of the data")
    flags.add_argument("--json", action="store_true", help="print the numbers as JSON")
    flags.add_argument("--data.task", dest="task", help="another task that the runs have predicted (ax)")
    flags.add_argument("--data.source", dest="source", help="where the rows are (default: as in the run)")
    flags.add_argument("--data.custom.test_file", dest="test_file", type=Path, metavar="FILE", help="test rows, for "
                       "data of your own (default: the run's, or those tested last)")  # fmt: skip
    flags.add_argument("--trainer.default_root_dir", dest="root", default=".", help="where lightning_logs lies")
    return flags


def main() -> None:
    """Write the report."""
    options = _parser().parse_args(sys.argv[2:])
    options.runs = [*options.runs, *options.run]
    with json_document(options.json) as give:
        give(_of_suites(options) if any(is_suite(path) for path in options.runs) else _of_runs(options))


def _of_runs(options: Any) -> dict[str, Any]:
    runs = [open_run(path, "report") for path in options.runs] or [newest_run(Path(options.root) / LOGS)]
    result = write_report(
        runs, options.output, split=options.split, slices=options.slice, task=options.task, source=options.source,
        test_file=options.test_file, on_predict=_say_predicting,
    )  # fmt: skip
    _print(result)
    from glue_lit.evaluation.report.as_json import report_values

    return report_values(result.report)


def _say_predicting(run: Run, split: str, why: str) -> None:
    say(f"Predicting {split} with {run.path} ({why})")


def _print(result: ReportResult) -> None:
    from glue_lit.evaluation.formulas import metric_titles
    from glue_lit.evaluation.report.page import verdict

    report = result.report
    titles = metric_titles(report.task)
    rows = [
        (
            run.name,
            report.split,
            titles[name],
            f"{score.value:.4f}",
            "none" if math.isnan(score.low) else f"{score.low:.4f} to {score.high:.4f}",
        )
        for run in report.runs
        for name, score in run.scores.items()
    ]
    print_table(report.task.title, ("run", "split", "metric", "value", "95 % interval"), rows, right=("value",))
    for run in report.runs:
        for note in run.notes:
            say(f"{run.name}: {note}")
    if report.comparison is not None:
        say(f"Is the difference more than chance? {verdict(report, report.comparison)}")
    say(f"Report      {result.page}, and {count_of(len(result.figures), 'figure')} (PNG)")


def _of_suites(options: Any) -> dict[str, Any]:
    if runs := [str(path) for path in options.runs if not is_suite(path)]:
        raise UsageError(f"report: {', '.join(runs)} is no suite with results. Name only runs, or only suites.")
    for flag in _OF_RUNS:
        if getattr(options, flag.rpartition(".")[2]):
            raise UsageError(f"--{flag}: a suite's report has scores, not rows. Name one of its runs for that.")
    result = write_suite_report(options.runs, options.output)
    from glue_lit.evaluation.report.suite_table import suite_values, table

    columns, rows = table(result.report)
    print_table(f"Suite {result.report.title}, times 100", columns, rows, right=columns[2:])
    say(f"Report      {result.page}")
    return suite_values(result.report)
