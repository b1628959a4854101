"""Measure glue-lit beside the Hugging Face Trainer: speed, scores, and what a large load costs.

    python -m benchmarks speed --glue_dir GLUE                     # a table, a JSON file and a chart
    python -m benchmarks ledger --glue_dir GLUE recipes            # scores and times of the recipes: LEDGER.md
    python -m benchmarks load --model DIR predict --rows [1000000] # many rows, runs, classes, characters or processes
    python -m benchmarks large --rows 20000000                     # a file larger than the memory: first step, memory
    python -m benchmarks profile --glue_dir GLUE                   # what holds a training step, by operator
    python -m benchmarks gpu                                       # 8 minutes on a GPU, without the Hub
    python -m benchmarks batches                                   # what a batch costs the host

Each says more with --help. `hf` and `ours` are single measurements, which the others run as processes of their own.
"""

import json
import sys
from collections.abc import Sequence
from importlib import import_module

from jsonargparse import auto_cli

COMMANDS = {
    "speed": ("speed", "speed"),
    "profile": ("speed", "profile"),
    "ledger": ("ledger", "Ledger"),
    "gpu": ("gpu", "gpu"),
    "batches": ("batches", "batches"),
    "load": ("load", "Load"),
    "large": ("large", "large"),
    "hf": ("hugging_face", "HuggingFace"),
    "ours": ("ours", "Ours"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    words = list(sys.argv[1:] if arguments is None else arguments)
    shown = words[:1] if words and words[0] in COMMANDS else list(COMMANDS)  # others need not be imported
    commands = {name: getattr(import_module(f"benchmarks.{COMMANDS[name][0]}"), COMMANDS[name][1]) for name in shown}
    summary = (__doc__ or "").partition("\n\n")[0]
    found = auto_cli(commands, args=words, as_positional=False, prog="python -m benchmarks", description=summary)
    for record in [found] if isinstance(found, dict) else found or ():
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
