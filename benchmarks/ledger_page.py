"""The ledger as Markdown; every figure in it is computed from LEDGER.json."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

SYSTEMS = {"hf": "HF Trainer", "same": "glue-lit, same recipe", "recipe": "glue-lit, our recipe"}
# What the ledger has to show: the metric, and the least gain of our recipe's mean over the baseline's.
GAINS = {"cola": ("matthews_correlation", 0.04), "mrpc": ("accuracy", 0.04), "rte": ("accuracy", 0.04),
         "sst2": ("accuracy", 0.005)}  # fmt: skip
LEAST = {"stsb": {"pearson": 0.865, "spearmanr": 0.865}}

Records = Sequence[dict[str, Any]]


def published(recipes: Path) -> Iterator[dict[str, str]]:
    """What the sources of the recipes report: the recipes themselves say it in their comments."""
    for path in sorted(recipes.rglob("*.yaml")):
        comment = " ".join(
            line.lstrip("# ") for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")
        )
        if found := re.search(r"Reported [^:]*: (.+?)\.(?= |$)", comment):
            yield {
                "model": path.parent.name,
                "task": path.stem,
                "reported": found[1],
                "recipe": f"configs/recipes/{path.parent.name}/{path.name}",
            }


def page(ledger: dict[str, Any]) -> str:
    """The whole page."""
    machine = ledger["machine"]
    lines = [
        "# Ledger",
        "Written by `python -m benchmarks ledger`; LEDGER.json has every training. Scores are on dev, mean ± standard",
        "deviation (n - 1) over seeds, of the epoch that was best there. The recipes were chosen on the same rows.",
        f"Machine: {machine['cores']} cores, {machine['device']}; "
        f"torch {machine['torch']}, transformers {machine['transformers']}, lightning {machine['lightning']}.",
        "",
        f"## {ledger['model']}: scores",
        "",
        *scores(ledger["records"]),
        "",
        "- **HF Trainer**: the notebook's recipe (learning rate 2e-5, batch 16, weight decay 0.01, float32), epochs as",
        "  said. **Same recipe**: glue-lit with that recipe and its own defaults (bfloat16, length groups).",
        "  **Our recipe**: `configs/suite/all-minilm-l6-v2.yaml`. What it starts from (CoLA: an encoder, STS-B: labels",
        "  of pairs, MRPC and RTE: an STS-B run) was made once, with seed 0; the seeds are of the trainings after it.",
        "- **Parity**: the two means differ by less than the larger standard deviation. An accuracy has a",
        "  standard error of its own: 0.57 of 277 rows (RTE) 0.030, 0.75 of 408 (MRPC) 0.021, 0.88 of 872 (SST-2)",
        "  0.011.",
        "",
        f"## {ledger['model']}: time",
        "",
        *times(ledger["records"]),
        "",
        "Processor seconds of a training, evaluation each epoch included, with those of the run that it starts from.",
        "They are the fair measure here: other work ran on the machine, which the wall's clock does not forgive.",
        "",
        *unchosen(ledger.get("untouched", [])),
        "## Tried, and what came of it",
        "",
        "| lever | task | found | kept |",
        "|---|---|---|---|",
        *(f"| {t['lever']} | {t['task']} | {t['found']} | {t['kept']} |" for t in ledger["tried"]),
        "",
        "## Published by others, not measured here",
        "",
        "| model | task | reported, validation rows | recipe, with its source |",
        "|---|---|---|---|",
        *(f"| {p['model']} | {p['task']} | {p['reported']} | `{p['recipe']}` |" for p in ledger["published"]),
        "",
    ]
    return "\n".join(lines)


def scores(records: Records) -> Iterator[str]:
    """A line for each metric of each task."""
    yield f"| task | metric | {' | '.join(SYSTEMS.values())} | parity | gain | target |"
    yield "|---|---|---|---|---|---|---|---|"
    for task in dict.fromkeys(record["task"] for record in records):
        of_task = {name: [r for r in records if r["task"] == task and r["system"] == name] for name in SYSTEMS}
        for metric in next(found for found in of_task.values() if found)[0]["metrics"]:
            values = {name: [r["metrics"][metric] for r in found] for name, found in of_task.items()}
            shown = " | ".join(figure(found, epochs(of_task[name])) for name, found in values.items())
            gain = mean(values["recipe"]) - mean(values["hf"]) if values["recipe"] and values["hf"] else None
            yield (
                f"| {task} | {metric} | {shown} | {parity(values['hf'], values['same'])} "
                f"| {'-' if gain is None else f'{gain:+.4f}'} | {target(task, metric, values['recipe'], gain)} |"
            )


def epochs(records: Records) -> str:
    found = sorted({record["epochs"] for record in records})
    return f", {'/'.join(map(str, found))} epoch{'' if found == [1] else 's'}" if found else ""


def figure(values: Sequence[float], note: str = "") -> str:
    """Mean, spread and number."""
    if not values:
        return "not measured"
    spread = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
    return f"{mean(values):.4f}{spread} (n {len(values)}{note})"


def parity(theirs: Sequence[float], ours: Sequence[float]) -> str:
    """Whether the same recipe gives the same."""
    if len(theirs) < 2 or len(ours) < 2:
        return "not measured"
    difference = mean(ours) - mean(theirs)
    return f"{'yes' if abs(difference) < max(stdev(theirs), stdev(ours)) else 'NO'} ({difference:+.4f})"


def target(task: str, metric: str, ours: Sequence[float], gain: float | None) -> str:
    """What our recipe has to reach, and whether it does."""
    if (least := LEAST.get(task, {}).get(metric)) is not None:
        reached = mean(ours) >= least if ours else None
        said = f"{least}"
    elif task in GAINS and GAINS[task][0] == metric:
        least = GAINS[task][1]
        reached = None if gain is None else gain >= least
        said = f"{least:+}"
    else:
        return ""
    return said if reached is None else f"{said}: {'reached' if reached else 'NOT reached'}"


def unchosen(records: Records) -> Iterator[str]:
    """The check on training rows that were held out; nothing if it was not made."""
    if not records:
        return
    yield from (
        "## On rows that chose nothing",
        "",
        "`python -m benchmarks untouched`: every fifth training row was held out before anything was made of the",
        "others, the starts included. Trained on those, the epoch picked on dev, the fifth scored once.",
        "",
        f"| task | metric | {SYSTEMS['same']} | {SYSTEMS['recipe']} | gain |",
        "|---|---|---|---|---|",
    )
    for task in dict.fromkeys(record["task"] for record in records):
        of_task = {name: [r for r in records if r["task"] == task and r["system"] == name] for name in SYSTEMS}
        for metric in next(found for found in of_task.values() if found)[0]["metrics"]:
            same, ours = ([r["metrics"][metric] for r in of_task[name]] for name in ("same", "recipe"))
            gain = f"{mean(ours) - mean(same):+.4f}" if same and ours else "-"
            yield f"| {task} | {metric} | {figure(same)} | {figure(ours)} | {gain} |"
    yield ""


def times(records: Records) -> Iterator[str]:
    """A line for each task."""
    yield f"| task | {' | '.join(SYSTEMS.values())} | our recipe / HF |"
    yield "|---|---|---|---|---|"
    for task in dict.fromkeys(record["task"] for record in records):
        found = {
            name: [
                r["processor_seconds"]
                for r in records
                if r["task"] == task and r["system"] == name and r["processor_seconds"] is not None
            ]
            for name in SYSTEMS
        }
        shown = " | ".join(f"{mean(each):,.0f} s" if each else "not measured" for each in found.values())
        ours, theirs = found["recipe"], found["hf"]
        yield f"| {task} | {shown} | {f'{mean(ours) / mean(theirs):.2f} x' if ours and theirs else '-'} |"
