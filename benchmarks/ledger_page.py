"""The ledger as Markdown: every figure in it is computed from LEDGER.json, and the words are in ledger.md.j2."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from jinja2 import Environment, StrictUndefined
from scipy.stats import ttest_ind

# What the authors of MiniLM report of their own 6-layer, 384-wide model on dev, times 100: microsoft/unilm,
# minilm/README.md. all-MiniLM-L6-v2 comes from another one of this size, tuned for sentence similarity since.
PUBLISHED = {("cola", "matthews_correlation"): 47.5, ("sst2", "accuracy"): 91.5, ("rte", "accuracy"): 68.8}
SYSTEMS = {"hf": "HF Trainer", "same": "glue-lit, same recipe", "recipe": "glue-lit, our recipe"}
# What the ledger has to show: of a metric, our recipe's least mean, or its least gain over the baseline's mean.
LEAST = {("stsb", "pearson"): 0.865, ("stsb", "spearmanr"): 0.865}
GAINS = {("cola", "matthews_correlation"): 0.04, ("mrpc", "accuracy"): 0.04, ("rte", "accuracy"): 0.04,
         ("sst2", "accuracy"): 0.005}  # fmt: skip

Record = dict[str, Any]
Records = Sequence[Record]


def page(ledger: dict[str, Any]) -> str:
    """The whole page."""
    environment = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
                              undefined=StrictUndefined, autoescape=False)  # fmt: skip
    template = environment.from_string(Path(__file__).with_name("ledger.md.j2").read_text(encoding="utf-8"))
    tables = {
        "scores": scores(ledger["records"]),
        "times": times(ledger["records"]),
        "untouched": untouched(ledger["untouched"]),
        "levers": levers(ledger["levers"]),
    }
    return template.render(ledger | {name: "\n".join(lines) for name, lines in tables.items()})


def published(recipes: Path) -> Iterator[dict[str, str]]:
    """What the sources of the recipes report: the recipes themselves say it in their comments."""
    for path in sorted(recipes.rglob("*.yaml")):
        lines = path.read_text(encoding="utf-8").splitlines()
        comment = " ".join(line.lstrip("# ") for line in lines if line.startswith("#"))
        if found := re.search(r"Reported [^:]*: (.+?)\.(?= |$)", comment):
            recipe = f"configs/recipes/{path.parent.name}/{path.name}"
            yield {"model": path.parent.name, "task": path.stem, "reported": found[1], "recipe": recipe}


def line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def rule(count: int) -> str:
    return f"|{'---|' * count}"


def by_task(records: Records, systems: Iterable[str] = SYSTEMS) -> Iterator[tuple[str, dict[str, list[Record]]]]:
    """Each task with its trainings by system."""
    for task in dict.fromkeys(record["task"] for record in records):
        yield task, {name: [r for r in records if (r["task"], r["system"]) == (task, name)] for name in systems}


def by_metric(records: Records) -> Iterator[tuple[str, str, dict[str, list[Record]], dict[str, list[float]]]]:
    """Each metric of each task, with the trainings by system, and the values of these."""
    for task, found in by_task(records):
        for metric in next(each for each in found.values() if each)[0]["metrics"]:
            yield task, metric, found, {name: [r["metrics"][metric] for r in each] for name, each in found.items()}


def figure(values: Sequence[float], note: str = "") -> str:
    """Mean, spread and number."""
    return f"{spread(values)} (n {len(values)}{note})" if values else "not measured"


def spread(values: Sequence[float], sign: str = "") -> str:
    return f"{mean(values):{sign}.4f}{f' ± {stdev(values):.4f}' if len(values) > 1 else ''}"


def scores(records: Records) -> Iterator[str]:
    """A line for each metric of each task."""
    yield line("task", "metric", "published", *SYSTEMS.values(), "parity", "gain", "target")
    yield rule(9)
    for task, metric, found, values in by_metric(records):
        shown = [figure(values[name], epochs(found[name])) for name in SYSTEMS]
        gain = mean(values["recipe"]) - mean(values["hf"]) if values["recipe"] and values["hf"] else None
        gained = "-" if gain is None else f"{gain:+.4f}{error(values['recipe'], values['hf'])}"
        reported = f"{PUBLISHED[task, metric] / 100:.3f}" if (task, metric) in PUBLISHED else "-"
        reached = target(task, metric, values["recipe"], gain)
        yield line(task, metric, reported, *shown, parity(values["hf"], values["same"]), gained, reached)


def error(*sides: Sequence[float]) -> str:
    """The standard error of a difference of two means, by Welch."""
    if min(map(len, sides)) < 2:
        return ""
    return f" ± {sum(stdev(side) ** 2 / len(side) for side in sides) ** 0.5:.4f}"


def epochs(records: Records) -> str:
    found = sorted({record["epochs"] for record in records})
    if found == [0]:
        return ", the most frequent label"
    return f", {'/'.join(map(str, found))} epoch{'' if found == [1] else 's'}" if found else ""


def parity(theirs: Sequence[float], ours: Sequence[float]) -> str:
    """Whether the same recipe gives the same: the difference, and how likely chance alone makes one as large."""
    if len(theirs) < 2 or len(ours) < 2:
        return "not measured"
    difference, largest = mean(ours) - mean(theirs), max(stdev(theirs), stdev(ours))
    chance = "" if largest == 0 else f", p {ttest_ind(ours, theirs, equal_var=False).pvalue:.2f}"
    return f"{'yes' if abs(difference) < largest else 'NO'} ({difference:+.4f}{chance})"


def target(task: str, metric: str, ours: Sequence[float], gain: float | None) -> str:
    """What our recipe has to reach, and whether it does."""
    if (least := LEAST.get((task, metric))) is not None:
        wanted, found = f"{least}", mean(ours) if ours else None
    elif (least := GAINS.get((task, metric))) is not None:
        wanted, found = f"{least:+}", gain
    else:
        return ""
    return wanted if found is None else f"{wanted}: {'reached' if found >= least else 'NOT reached'}"


def times(records: Records) -> Iterator[str]:
    """A line for each task."""
    yield line("task", *SYSTEMS.values(), "our recipe / HF: processor, clock")
    yield rule(5)
    keys = ("processor_seconds", "wall_seconds", "samples_per_second")
    for task, found in by_task(records):
        timed = {name: [r for r in each if r["processor_seconds"] is not None] for name, each in found.items()}
        means = {name: [mean(r[key] for r in each) for key in keys] for name, each in timed.items() if each}
        shown = ["{:,.0f} s, {:,.0f} s, {:,.0f}/s".format(*means[n]) if n in means else "not measured" for n in SYSTEMS]
        both = zip(means["recipe"][:2], means["hf"][:2], strict=True) if {"recipe", "hf"} <= means.keys() else ()
        yield line(task, *shown, ", ".join(f"{ours / theirs:.2f} x" for ours, theirs in both) or "-")


def untouched(records: Records) -> Iterator[str]:
    """The check on training rows that were held out; nothing if it was not made."""
    if not records:
        return
    yield line("task", "metric", SYSTEMS["same"], SYSTEMS["recipe"], "gain")
    yield rule(5)
    for task, metric, _, values in by_metric(records):
        same, ours = values["same"], values["recipe"]
        gain = f"{mean(ours) - mean(same):+.4f}" if same and ours else "-"
        yield line(task, metric, figure(same), figure(ours), gain)


def levers(records: Records) -> Iterator[str]:
    """What each lever does to a recipe, a table for each task."""
    names = sorted({record["system"] for record in records}, key=lambda name: (name != "recipe", name))
    for number, (task, found) in enumerate(by_task(records, names)):
        metrics = list(next(each for each in found.values() if each)[0]["metrics"])
        if number:
            yield ""
        yield line(f"setting, on {task}", *metrics, "gain", "time")
        yield rule(len(metrics) + 3)
        recipe = {record["seed"]: record for record in found["recipe"]}
        for name, of_lever in ((name, each) for name, each in found.items() if each):
            shown = [figure([record["metrics"][metric] for record in of_lever]) for metric in metrics]
            beside = [(record, recipe[record["seed"]]) for record in of_lever if record["seed"] in recipe]
            gains = [r["metrics"][metrics[0]] - of["metrics"][metrics[0]] for r, of in beside if name != "recipe"]
            costs = [r["processor_seconds"] / of["processor_seconds"] for r, of in beside]
            cost = f"{mean(costs):.2f} x" if costs else "-"
            yield line(of_lever[0]["what"], *shown, spread(gains, "+") if gains else "-", cost)
