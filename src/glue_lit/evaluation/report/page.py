"""The report as an HTML page, from a template that escapes all text from data."""

import math
import unicodedata
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from glue_lit.evaluation.formulas import metric_titles
from glue_lit.evaluation.report.canvas import Drawing
from glue_lit.evaluation.report.findings import Report
from glue_lit.evaluation.report.run_in_words import duration
from glue_lit.evaluation.report.slice_figure import slice_keys
from glue_lit.evaluation.report.slices import MEASURES, Slice
from glue_lit.evaluation.significance import Comparison
from glue_lit.system.console import count_of
from glue_lit.system.version import __version__

SliceRow = tuple[str, int, list[Slice | None]]  # a group, its number of rows, its slice in each run


def page(report: Report, drawings: Sequence[Drawing]) -> str:
    """The report as one self-contained HTML file."""
    by_name = {drawing.name: drawing for drawing in drawings}
    several = len(report.runs) > 1
    kind = {"classification": "confusion", "multi_label": "labels", "regression": "scatter"}[report.task.kind]
    kind = "confusion" if report.task.levels else kind
    text = environment().get_template("report.html.j2").render(
        report=report,
        several=several,
        regression=report.task.is_regression,
        multi_label=report.task.is_multi_label,
        titles=metric_titles(report.task),
        version=__version__,
        pick=lambda names: [by_name[name] for name in names if name in by_name],
        by_run=[f"{kind}-{number}" for number in range(1, len(report.runs) + 1)] if several else [kind],
        verdict=verdict(report, report.comparison) if report.comparison else "",
        reasons=reasons(report.comparison) if report.comparison else "",
        facts=_facts(report),
        slice_groups=_slice_groups(report),
        slice_measure="mean abs. error" if report.task.is_regression else MEASURES[report.task.kind],
    )  # fmt: skip
    return text.encode("utf-8", "replace").decode("utf-8")  # a label can hold half a surrogate pair


def environment() -> Environment:
    """The templates and their filters."""
    environment = Environment(
        loader=PackageLoader("glue_lit.evaluation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "trusted": Markup, "visible": visible, "decimals": decimals, "p_value": p_value, "duration": duration,
        "count_of": count_of,
    }  # fmt: skip
    return environment


def visible(text: str) -> str:
    """Make control characters visible: HTML forbids them, and they could hide text."""
    return "".join(_sign(letter) if unicodedata.category(letter) in ("Cc", "Cf") else letter for letter in text)


def _sign(letter: str) -> str:
    if letter in "\n\t\u200d\u200c":  # emoji and some scripts are written with the joiners
        return letter
    return chr(0x2400 + ord(letter)) if ord(letter) < 0x20 else f"[U+{ord(letter):04X}]"


def p_value(p: float) -> str:
    """Format a p-value as papers do."""
    return "less than 0.001" if p < 0.001 else f"{p:.3f}"


def decimals(value: float, digits: int = 3) -> str:
    """Format a score with ``digits`` decimals."""
    return "undefined" if math.isnan(value) else f"{value:.{digits}f}"


def verdict(report: Report, found: Comparison) -> str:
    """The result of a comparison in one sentence."""
    first, second = (run.name for run in report.runs)
    gain, title = found.difference.value, report.metric_title
    if math.isnan(gain):
        return f"{title} is undefined for one of the runs, so it cannot compare them."
    better, worse = (second, first) if (gain > 0) != found.lower_is_better else (first, second)
    if found.is_more_than_chance:
        return f"Yes. {better} is better than {worse} by {abs(gain):.4f} in {title}, more than chance can explain."
    if gain == 0:
        return f"No. Both have the same {title}."
    if not found.decided_by:
        return f"Unknown. {better} is ahead of {worse} by {abs(gain):.4f} in {title}, which has no test."
    return f"No. {better} is ahead of {worse} by {abs(gain):.4f} in {title}, which chance can explain."


def reasons(found: Comparison) -> str:
    """The tests behind a verdict."""
    rows = f"{count_of(found.rows, 'row')} that both runs predicted"
    parts = [
        f"Decided by {found.decided_by} at the 5 % level, on {rows}." if found.decided_by else f"Scored on {rows}."
    ]
    if found.mcnemar is not None:
        parts.append(f"McNemar's exact test on errors: p = {p_value(found.mcnemar.p)}.")
    if not math.isnan(found.difference.low):
        parts.append(
            f"Paired bootstrap: 95 % interval of the difference {found.difference.low:+.4f} to "
            f"{found.difference.high:+.4f}, p = {p_value(found.p)}."
        )
    parts.append("The result is about these two checkpoints; other seeds of the same recipes may compare differently.")
    return " ".join(parts)


def _facts(report: Report) -> dict[str, list[str]]:
    """Recipe and outcome by title, a value for each run; empty where a run has none."""
    facts = [run.recipe | run.outcome for run in report.runs]
    titles = dict.fromkeys(title for values in facts for title in values)
    return {title: [values.get(title, "") for values in facts] for title in titles}


def _slice_groups(report: Report) -> dict[str, list[SliceRow]]:
    by_run = [{(part.feature, part.group): part for part in run.slices} for run in report.runs]
    groups: dict[str, list[SliceRow]] = {}
    for feature, group in slice_keys(report.runs):
        parts = [slices.get((feature, group)) for slices in by_run]
        most = max(part.rows for part in parts if part is not None)
        groups.setdefault(feature, []).append((group, most, parts))
    return groups
