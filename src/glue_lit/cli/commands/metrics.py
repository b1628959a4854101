"""``glue-lit metrics``: the table of metrics."""

import sys
from typing import Any

from glue_lit.cli.commands.flags import Flags
from glue_lit.system.console import print_json, print_table, say
from glue_lit.tasks.metrics import METRICS, PARAMETERS, MetricSpec


def main() -> None:
    """Print a line for each metric."""
    flags = Flags("glue-lit metrics", description="List the metrics that a task may have.", allow_abbrev=False)
    flags.add_argument("--json", action="store_true", help="print JSON, for scripts")
    if flags.parse_args(sys.argv[2:]).json:
        print_json([_as_json(name, spec) for name, spec in METRICS.items()])
        return
    for kind in dict.fromkeys(kind for spec in METRICS.values() for kind in spec.kinds):
        rows = [_row(name, spec) for name, spec in METRICS.items() if kind in spec.kinds]
        columns = ("name\nparameters", "what it is", "range\nbest", "reference")
        print_table(f"Metrics for {kind}", columns, rows, whole=columns[:1])
    for name, words in PARAMETERS.items():
        say(f"{name}: {words}.")
    say("A task of your own: --data.custom.metrics '[macro_f1, fbeta(beta=2), auroc]'; the first picks the checkpoint.")
    say("Beside a task's own metrics: --data.metrics+ auroc")
    say("Any metric of torchmetrics: {class_path: torchmetrics.classification.BinaryCalibrationError, mode: min}")


def _row(name: str, spec: MetricSpec) -> tuple[str, ...]:
    names = "\n".join((name, *(f"  {parameter}=" for parameter in spec.parameters)))
    best = "lower is better" if spec.lower_is_better else "higher is better"
    return names, spec.formula, f"{_ends(spec)}\n{best}", spec.reference


def _ends(spec: MetricSpec) -> str:
    low = "below 0" if spec.low is None else f"{spec.low:g}"
    return f"{low} and up" if spec.high is None else f"{low} to {spec.high:g}"


def _as_json(name: str, spec: MetricSpec) -> dict[str, Any]:
    return {
        "metric": name,
        "title": spec.title,
        "formula": spec.formula,
        "low": spec.low,
        "high": spec.high,
        "lower_is_better": spec.lower_is_better,
        "kinds": spec.kinds,
        "parameters": spec.parameters,
        "reference": spec.reference,
    }
