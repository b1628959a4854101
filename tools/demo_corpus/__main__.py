"""Write the demo corpus to a folder: `python -m tools.demo_corpus DIR [--seed N]`."""

import argparse
from pathlib import Path

from tools.demo_corpus.corpus import write_corpus


def main() -> None:
    """Read the command line and write the corpus."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo_corpus", description="Write the demo corpus.")
    parser.add_argument("folder", type=Path, help="where the task folders go")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives another corpus (default 0)")
    arguments = parser.parse_args()
    write_corpus(arguments.folder, arguments.seed)


if __name__ == "__main__":
    main()
