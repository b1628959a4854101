"""A report as plain values, for other programs."""

from dataclasses import asdict, fields
from typing import Any

from glue_lit.evaluation.report.examples import Example
from glue_lit.evaluation.report.findings import Report


def numbers(report: Report) -> dict[str, Any]:
    """The report as plain values, all but the texts and the predictions of each row."""
    left_out = ("predicted", "mistakes", "uncertain")
    runs = [
        {of.name: _plain(getattr(run, of.name)) for of in fields(run) if of.name not in left_out}
        | {name: [example.idx for example in getattr(run, name)] for name in left_out[1:]}
        | {f"{name}_at": [_place(example) for example in getattr(run, name)] for name in left_out[1:]}
        for run in report.runs
    ]
    return {
        "task": report.task.name,
        "split": report.split,
        "metric": report.metric,
        "labels": list(report.task.labels),
        "runs": runs,
        "comparison": _plain(report.comparison),
        "differing": report.differing,
    }


def _place(example: Example) -> dict[str, Any]:
    """Where a row stands in the data."""
    return {"idx": example.idx, "number": example.number, "unit": example.unit, "id": example.id}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value
