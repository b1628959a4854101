"""``glue-lit runs --delete``: delete runs after asking."""

import sys
from collections.abc import Sequence
from pathlib import Path

from glue_lit.errors import UsageError
from glue_lit.runs.deletion import delete_runs, find_deletable
from glue_lit.system.console import count_of, note, print_json, size_in_words


def delete(paths: Sequence[Path], is_confirmed: bool, as_json: bool) -> None:
    """Delete runs; without ``--yes``, ask on a terminal.

    Raises:
        UsageError: There is neither ``--yes`` nor a terminal.
        RunError: One of the paths is no run, or is being trained.
    """
    found = find_deletable(paths)
    for one in found:
        note(f"{one.run.path}  {size_in_words(one.size)}")
    total = f"{count_of(len(found), 'run')}, {size_in_words(sum(one.size for one in found))}"
    if not is_confirmed and not sys.stdin.isatty():
        raise UsageError(f"--delete: pass `--yes` to delete {total}; without a terminal, nobody can be asked.")
    if not is_confirmed:
        print(f"Delete {total}, with checkpoints and predictions? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            note("Nothing is deleted.")
            return
    delete_runs(found)
    if as_json:
        print_json({"deleted": [one.run.path for one in found], "bytes": sum(one.size for one in found)})
    note(f"Deleted: {total}.")
