"""A report as plain values, for other programs."""

from dataclasses import asdict
from typing import Any

from glue_lit.evaluation.report.examples import Example
from glue_lit.evaluation.report.findings import Findings, Report


def report_values(report: Report) -> dict[str, Any]:
    """The report without texts and predictions of single rows."""
    return {
        "task": report.task.name,
        "split": report.split,
        "metric": report.metric,
        "labels": list(report.task.levels or report.task.labels),
        "runs": [_run_values(run) for run in report.runs],
        "comparison": None if report.comparison is None else asdict(report.comparison),
        "differing": report.differing,
    }


def _run_values(run: Findings) -> dict[str, Any]:
    examples = {"mistakes": run.mistakes, "uncertain": run.uncertain}
    values = {name: value for name, value in asdict(run).items() if name not in ("predicted", *examples)}
    values |= {name: [row.idx for row in rows] for name, rows in examples.items()}
    return values | {f"{name}_at": [_position(row) for row in rows] for name, rows in examples.items()}


def _position(row: Example) -> dict[str, Any]:
    return {"idx": row.idx, "number": row.number, "unit": row.unit, "id": row.id}
