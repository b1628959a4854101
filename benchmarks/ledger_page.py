"""The ledger as Markdown; every figure in it is computed from LEDGER.json."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from scipy.stats import ttest_ind

# What the authors of MiniLM report of their own 6-layer, 384-wide model on dev, times 100: microsoft/unilm,
# minilm/README.md. all-MiniLM-L6-v2 comes from another one of this size, tuned for sentence similarity since.
PUBLISHED = {("cola", "matthews_correlation"): 47.5, ("sst2", "accuracy"): 91.5, ("rte", "accuracy"): 68.8}
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
        "  said. **Same recipe**: glue-lit with that recipe and its own defaults (length groups, and bfloat16 where",
        "  there are instructions for it). **Our recipe**: `configs/suite/all-minilm-l6-v2.yaml`. What it starts",
        "  from (CoLA: an encoder, STS-B: labels of pairs, MRPC and RTE: an STS-B run) was made once, with seed 0;",
        "  the seeds are of the trainings after it.",
        "- **Gain**: of our recipe's mean over the baseline's, ± its standard error. One without is of one seed on a",
        "  side, and may be chance.",
        "- **Parity**: the two means differ by less than the larger standard deviation; p is Welch's, of a",
        "  difference as large by chance. `tests/test_parity.py` asks it of weights: from the same batches, without",
        "  dropout, both sides come to the same ones, so that a difference is of seeds, of length groups or of",
        "  bfloat16. Of eight such comparisons, one in three tables has a p of 0.05 by chance. An accuracy has a",
        "  standard error of its own: 0.57 of 277 rows (RTE) 0.030, 0.75 of 408 (MRPC) 0.021, 0.88 of 872 (SST-2)",
        "  0.011.",
        "",
        f"## {ledger['model']}: time",
        "",
        *times(ledger["records"]),
        "",
        "Means over seeds of a training, evaluation each epoch included, with what it starts from: seconds of the",
        "processor, seconds on the clock; samples a second in training alone. The processor's are the fair measure",
        "here: other work ran on the machine, which the clock does not forgive. Trainings on other machines count for",
        "scores alone.",
        "",
        *unchosen(ledger["untouched"]),
        *pulled(ledger["levers"]),
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
    yield f"| task | metric | published | {' | '.join(SYSTEMS.values())} | parity | gain | target |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for task in dict.fromkeys(record["task"] for record in records):
        of_task = {name: [r for r in records if r["task"] == task and r["system"] == name] for name in SYSTEMS}
        for metric in next(found for found in of_task.values() if found)[0]["metrics"]:
            values = {name: [r["metrics"][metric] for r in found] for name, found in of_task.items()}
            shown = " | ".join(figure(found, epochs(of_task[name])) for name, found in values.items())
            gain = mean(values["recipe"]) - mean(values["hf"]) if values["recipe"] and values["hf"] else None
            gained = "-" if gain is None else f"{gain:+.4f}{error(values)}"
            yield (
                f"| {task} | {metric} | {reported(task, metric)} | {shown} | {parity(values['hf'], values['same'])} "
                f"| {gained} | {target(task, metric, values['recipe'], gain)} |"
            )


def error(values: dict[str, list[float]]) -> str:
    """The standard error of a difference of two means, by Welch."""
    sides = [values["recipe"], values["hf"]]
    if min(map(len, sides)) < 2:
        return ""
    return f" ± {sum(stdev(side) ** 2 / len(side) for side in sides) ** 0.5:.4f}"


def reported(task: str, metric: str) -> str:
    """What others report of a model of this size."""
    return f"{PUBLISHED[task, metric] / 100:.3f}" if (task, metric) in PUBLISHED else "-"


def epochs(records: Records) -> str:
    found = sorted({record["epochs"] for record in records})
    if found == [0]:
        return ", the commonest label"
    return f", {'/'.join(map(str, found))} epoch{'' if found == [1] else 's'}" if found else ""


def figure(values: Sequence[float], note: str = "") -> str:
    """Mean, spread and number."""
    if not values:
        return "not measured"
    spread = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
    return f"{mean(values):.4f}{spread} (n {len(values)}{note})"


def parity(theirs: Sequence[float], ours: Sequence[float]) -> str:
    """Whether the same recipe gives the same: the difference, and how likely chance alone makes one as large."""
    if len(theirs) < 2 or len(ours) < 2:
        return "not measured"
    difference, largest = mean(ours) - mean(theirs), max(stdev(theirs), stdev(ours))
    chance = "" if largest == 0 else f", p {ttest_ind(ours, theirs, equal_var=False).pvalue:.2f}"
    return f"{'yes' if abs(difference) < largest else 'NO'} ({difference:+.4f}{chance})"


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


def pulled(records: Records) -> Iterator[str]:
    """What each lever does to a recipe, a table for each task; nothing if none was measured."""
    if not records:
        return
    yield from (
        "## One setting of a recipe changed",
        "",
        "`python -m benchmarks levers`: a recipe that starts from the encoder itself, cut down to minutes, and what",
        "one setting more does to it. The gain is in the first metric, over the recipe's training with the same seed",
        "(mean ± standard deviation of these differences); the time is the processor's, of the recipe's.",
    )
    for task in dict.fromkeys(record["task"] for record in records):
        yield from _pulled_on([record for record in records if record["task"] == task])
    yield ""


def _pulled_on(records: Records) -> Iterator[str]:
    metrics = list(records[0]["metrics"])
    recipe = {r["seed"]: r for r in records if r["system"] == "recipe"}
    yield from (
        "",
        f"| setting, on {records[0]['task']} | {' | '.join(metrics)} | gain | time |",
        f"|---|{'---|' * len(metrics)}---|---|",
    )
    for name in sorted({record["system"] for record in records}, key=lambda name: (name != "recipe", name)):
        of_lever = [r for r in records if r["system"] == name]
        beside = [(r, recipe[r["seed"]]) for r in of_lever if r["seed"] in recipe]
        shown = " | ".join(figure([r["metrics"][metric] for r in of_lever]) for metric in metrics)
        gains = [r["metrics"][metrics[0]] - of["metrics"][metrics[0]] for r, of in beside if name != "recipe"]
        gain = f"{mean(gains):+.4f}{f' ± {stdev(gains):.4f}' if len(gains) > 1 else ''}" if gains else "-"
        costs = [r["processor_seconds"] / of["processor_seconds"] for r, of in beside]
        yield f"| {of_lever[0]['what']} | {shown} | {gain} | {f'{mean(costs):.2f} x' if costs else '-'} |"


def times(records: Records) -> Iterator[str]:
    """A line for each task."""
    yield f"| task | {' | '.join(SYSTEMS.values())} | our recipe / HF: processor, clock |"
    yield "|---|---|---|---|---|"
    for task in dict.fromkeys(record["task"] for record in records):
        found = {
            name: [
                r for r in records if (r["task"], r["system"]) == (task, name) and r["processor_seconds"] is not None
            ]
            for name in SYSTEMS
        }
        shown = " | ".join(cost(each) for each in found.values())
        ratio = "-"
        if found["recipe"] and found["hf"]:
            ours, theirs = (
                [mean(r[f"{clock}_seconds"] for r in found[name]) for clock in ("processor", "wall")]
                for name in ("recipe", "hf")
            )
            ratio = ", ".join(f"{a / b:.2f} x" for a, b in zip(ours, theirs, strict=True))
        yield f"| {task} | {shown} | {ratio} |"


def cost(records: Records) -> str:
    """What a training takes, on average."""
    if not records:
        return "not measured"
    processor, wall, speed = (
        mean(record[key] for record in records) for key in ("processor_seconds", "wall_seconds", "samples_per_second")
    )
    return f"{processor:,.0f} s, {wall:,.0f} s, {speed:,.0f}/s"
