"""The two sides of a comparison as one Markdown table.

    python -m benchmarks.summary --hf hf.jsonl --runs lightning_logs

``hf.jsonl`` is what `benchmarks.hf_trainer --output` wrote; the runs are glue-lit's own directories. Rows
are joined by task; mean and standard deviation (n - 1) are over the seeds of each side.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev

# glue-lit's names of the metrics, by those of the baseline
NAMES = {"matthews": "matthews_correlation", "spearman": "spearmanr"}


def show(values: list[float]) -> str:
    spread = f" ± {stdev(values):.4f} (n = {len(values)})" if len(values) > 1 else ""
    return f"{mean(values):.4f}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hf", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    options = parser.parse_args()
    theirs: dict[tuple[str, str], list[float]] = defaultdict(list)
    ours: dict[tuple[str, str], list[float]] = defaultdict(list)
    for line in options.hf.read_text().splitlines():
        record = json.loads(line)
        for name, value in record["metrics"].items():
            if name != "loss":
                theirs[record["task"], NAMES.get(name, name)].append(value)
    for path in sorted(options.runs.glob("*/version_*/metrics.json")):
        record = json.loads(path.read_text())
        for name, value in record["metrics"].items():
            if not name.endswith("/loss"):
                ours[record["task"], name.partition("/")[2]].append(value)
    print("| task | metric | HF Trainer | glue-lit |\n|---|---|---|---|")
    for task, name in theirs:
        print(
            f"| {task} | {name} | {show(theirs[task, name])} | {show(ours[task, name]) if ours[task, name] else '-'} |"
        )


if __name__ == "__main__":
    main()
