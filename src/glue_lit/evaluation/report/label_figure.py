"""The figure of a multi-label task: F1 of each label, with its interval."""

from glue_lit.evaluation.report.canvas import NAME, Drawing, canvas, render, shorten
from glue_lit.evaluation.report.dot_rows import draw_dots, label_rows
from glue_lit.evaluation.report.findings import Report
from glue_lit.evaluation.report.texts import truncate


def label_drawing(report: Report, number: int) -> Drawing | None:
    """Draw the labels of one run, the most frequent first."""
    run = report.runs[number]
    if run.labels is None:
        return None
    shown = [one for one in run.labels.labels if one.rows + one.predicted]
    with canvas(height=0.9 + 0.2 * max(3, len(shown))) as (figure, axes):
        places = [float(line) for line in range(len(shown))]
        if shown:
            label_rows(axes, places, [truncate(one.label, 26) for one in shown], margins=(0.7, 0.7))
            draw_dots(axes, places, [one.f1 for one in shown], number, shorten(run.name, NAME))
        axes.set(xlabel="F1", xlim=(-0.02, 1.02))
        several = len(report.runs) > 1
        name, title = (f"labels-{number + 1}", f", {shorten(run.name, NAME)}") if several else ("labels", "")
        words = "; ".join(f"{one.label}: {one.f1.value:.3f} ({one.rows:,} rows)" for one in shown)
        note = "Dots: F1; lines: 95 % intervals. The most frequent label is at the top."
        if len(shown) < run.labels.total:
            note += f" {len(shown):,} of {run.labels.total:,} labels: the most frequent that occur or are predicted."
        return render(figure, name, f"F1 of each label{title}", f"F1 of each label. {words}.", note)
