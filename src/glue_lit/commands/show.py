"""``glue-lit show``: random examples of a task, as the notebook's ``show_random_elements`` prints them."""

import argparse
import random
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from glue_lit.arguments import setting
from glue_lit.console import print_table
from glue_lit.data.sources import Label, Rows, open_split
from glue_lit.errors import UsageError, did_you_mean
from glue_lit.tasks import TaskSpec, get_task


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ").split(" ")[0].partition("=")[0]
        flags = [option for action in self._actions for option in action.option_strings]
        hint = did_you_mean(unknown, flags) if unknown != message.split(" ")[0] else ""
        raise UsageError(f"show: {message}.{hint} The flags are: {', '.join(flags)}.")


def _options(arguments: Sequence[str]) -> Any:
    parser = _Parser("glue-lit show", description="Print random examples of a task.", allow_abbrev=False)
    parser.add_argument("--config", action="append", default=[], help="take data.task and data.source from a YAML file")
    parser.add_argument("--data.task", dest="task", help="task to show; `glue-lit tasks` lists them")
    parser.add_argument("--data.source", dest="source", help="hub (default), demo, or a GLUE folder")
    parser.add_argument("--split", help="split to show (default: train, or the first that the task has)")
    parser.add_argument("-n", type=int, default=10, help="number of examples (default: 10)")
    parser.add_argument("--seed", type=int, help="draw the same examples again")
    return parser.parse_args(arguments)


def main() -> None:
    """Print the examples."""
    options = _options(sys.argv[2:])
    task = get_task(options.task or setting(sys.argv[2:], "data.task") or "cola")
    source = options.source or setting(sys.argv[2:], "data.source") or "hub"
    split = options.split or next(iter(task.files))
    rows = open_split(task, source, split).read()
    if options.n < 1:
        raise UsageError(f"-n: got {options.n}, allowed: 1 or more.")
    picks = random.Random(options.seed).sample(range(len(rows)), min(options.n, len(rows)))
    columns = ("idx", *task.text_columns, "label")
    table = [(str(pick), *_texts(rows, pick), _label(task, rows.labels[pick])) for pick in picks]
    print_table(f"{task.name}, {split}: {len(picks)} of {len(rows):,} rows", columns, table, right=("idx",))


def _texts(rows: Rows, pick: int) -> tuple[str, ...]:
    return (rows.texts_a[pick],) if rows.texts_b is None else (rows.texts_a[pick], rows.texts_b[pick])


def _label(task: TaskSpec, label: Label) -> str:
    if label is None:
        return "(hidden)"
    return f"{label:g}" if task.is_regression else task.labels[int(label)]
