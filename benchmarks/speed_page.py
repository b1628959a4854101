"""Speed as a table and a chart; every figure in them is computed from what was measured."""

from pathlib import Path
from statistics import median
from typing import Any

Measured = dict[str, Any]
TRAININGS = {  # part: name, task, batch size, rows, least ratio
    "cola": ("CoLA, batch 16", "cola", 16, 1600, 2.5),
    "sst2": ("SST-2, batch 32", "sst2", 32, 1600, 2.3),
    "mrpc": ("MRPC, batch 16", "mrpc", 16, 480, 1.8),
}
# Of the others: part, what was measured, its key, least ratio, whether lower is better.
COMPARED = (
    ("qnli-evaluation", "QNLI dev: evaluation, samples/s", "samples_per_second", 3.0, False),
    ("start", "command to first step, s", "seconds", 1.0, True),
    ("tokenising", "SST-2 train: tokenising, first time, s", "first", 1.0, True),
    ("tokenising", "SST-2 train: tokenising, from the cache, s", "cached", 5.0, True),
)


def row(what: str, ours: list[float], least: float, theirs: list[float] | None = None, lower: bool = False) -> Measured:
    """A line of the table; its ratio is above 1 where ours is better, or ours alone."""
    our, their = median(ours), median(theirs) if theirs else 1
    ratio = their / our if lower else our / their
    return {"what": what, "theirs": theirs, "ours": ours, "ratio": ratio, "least": least}


def training_rows(part: str, found: Measured) -> list[Measured]:
    """The rows of one training."""
    name, *_, least = TRAININGS[part]

    def of(side: str, key: str) -> list[float]:
        return [values[key] for values in found["rounds"][side]]

    speed, peaks = of("ours", "samples_per_second"), of("peak", "flops_per_second")
    table = [row(f"{name}: training, samples/s", speed, least, of("hf", "samples_per_second"))]
    if "hf best flags" in found["rounds"]:
        theirs = of("hf best flags", "samples_per_second")
        table.append(row(f"{name}: against HF's best flags", speed, 1.3, theirs))
    share = [each * found["flops_per_sample"] / peak for each, peak in zip(speed, peaks, strict=True)]
    theirs, ours = ([value / 2**20 for value in of(side, "peak_rss")] for side in ("hf", "ours"))
    return [
        *table,
        row(f"{name}: share of the bf16 product", share, 0.35),
        row(f"{name}: outside forward, backward, optimizer", of("ours", "outside"), 0.05),
        row(f"{name}: peak memory, MiB", ours, 1.0, theirs, lower=True),
    ]


def rows(found: Measured) -> list[Measured]:
    """One row for each target: both figures with their spread, and the ratio of the medians."""
    table = [row for part in TRAININGS if part in found for row in training_rows(part, found[part])]
    for part, what, key, least, lower in COMPARED:
        if part in found:
            theirs, ours = ([values[key] for values in found[part]["rounds"][side]] for side in ("hf", "ours"))
            table.append(row(what, ours, least, theirs, lower))
    return table


def number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def figure(values: list[float] | None) -> str:
    return "-" if values is None else f"{number(median(values))} ({number(min(values))} to {number(max(values))})"


def markdown(table: list[Measured]) -> str:
    lines = ["| what | HF Trainer | glue-lit | ratio | target |", "|---|---|---|---|---|"]
    for row in table:
        single = row["theirs"] is None
        ratio = f"{row['ratio']:.3f}" if single else f"{row['ratio']:.2f} x"
        target = f"{'below ' if 'outside' in row['what'] else ''}{row['least']}{'' if single else ' x'}"
        lines.append(f"| {row['what']} | {figure(row['theirs'])} | {figure(row['ours'])} | {ratio} | {target} |")
    return "\n".join(lines)


def draw(table: list[Measured], path: Path) -> None:
    """The ratios as bars, the targets as lines across them."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = [row for row in table if row["theirs"] is not None][::-1]
    figure_, axes = pyplot.subplots(figsize=(9, 0.5 * len(shown) + 1.2), layout="constrained")
    bars = axes.barh([row["what"] for row in shown], [row["ratio"] for row in shown], color="#3b7dd8", height=0.6)
    axes.bar_label(bars, [f"{row['ratio']:.2f} x" for row in shown], padding=4)
    for place, row in enumerate(shown):
        axes.plot([row["least"]] * 2, [place - 0.36, place + 0.36], color="#222222", linewidth=2)
    axes.axvline(1, color="#999999", linewidth=0.8, linestyle=":")
    axes.set_xlabel("glue-lit against the Hugging Face Trainer (higher is better; black: target)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(0, 1.15 * max(row["ratio"] for row in shown))
    figure_.savefig(path, dpi=120)
