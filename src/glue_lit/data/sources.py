"""Where rows come from: the Hub, a folder in the official layout, or the demo corpus.

All three give the same `Rows` for the same split. A split is opened first (cheap: is it there, what is
its fingerprint) and read only if its tokens are not cached.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from glue_lit.data.demo import CORPUS
from glue_lit.data.rows import Label, Rows, Split
from glue_lit.data.tsv import Table, read_tsv
from glue_lit.errors import DataError, did_you_mean
from glue_lit.tasks.glue import SplitFile, TaskSpec


def open_split(task: TaskSpec, source: str, split: str) -> Split:
    """Find ``split`` of ``task`` in ``source`` (``hub``, ``demo`` or a folder).

    Raises:
        DataError: The task has no such split, or the source does not hold it.
    """
    if split not in task.files:
        raise DataError(
            f"Task {task.name} has no split {split!r}.{did_you_mean(split, task.files)} "
            f"Its splits are: {', '.join(task.files)}."
        )
    if source == "hub":
        from glue_lit.data.hub import open_hub_split  # datasets is slow to import, and only needed here

        return open_hub_split(task, split)
    return _open_file(task, CORPUS if source == "demo" else Path(source), split)


def extra_columns(
    task: TaskSpec, source: str, split: str, names: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, list[str]]:
    """Columns that a split's file has beside texts and labels, a value for each row.

    Args:
        task: The task.
        source: A folder or ``demo``; the Hub's copy of GLUE has no more columns than a task needs.
        split: The split.
        names: Columns that are needed.
        optional: Columns that are left out where the file does not have them.

    Raises:
        DataError: There is no such split or column, or a row is too short (naming the line).
    """
    file = task.files[split]
    if source == "hub" or not isinstance(file.texts[0], str):
        if names:
            raise DataError(f"{source}: the rows of {task.name} have no columns with names beside texts and labels.")
        return {}
    table = read_tsv(Path(open_split(task, source, split).origin), has_header=True)
    there = [*names, *(name for name in optional if name in (table.header or []))]
    if file.skip_short:  # which rows are left out is decided by what the task itself needs
        table = table.without_short_rows(max(_position(table, column) for column in (*file.texts, file.label or 0)) + 1)
    positions = [_position(table, name) for name in there]
    _check_widths(table, max(positions, default=0) + 1)
    return {name: [row[place] for row in table.rows] for name, place in zip(there, positions, strict=True)}


_LAYOUT = "The official layout is GLUE_FOLDER/<Task>/train.tsv."


def _open_file(task: TaskSpec, root: Path, split: str) -> Split:
    file = task.files[split]
    path = root / file.path
    if root.is_file():
        raise DataError(f"data.source: {root} is a file. Allowed: hub, demo, or a GLUE folder (official layout).")
    if not root.is_dir():
        hint = did_you_mean(str(root), ("hub", "demo"))
        raise DataError(f"data.source: there is no folder {str(root)!r}.{hint} Allowed: hub, demo, or a GLUE folder.")
    if not path.parent.is_dir():
        found = ", ".join(sorted(p.name for p in root.iterdir() if p.is_dir())) or "no folder"
        raise DataError(
            f"data.source: {root} has no folder {path.parent.name} for task {task.name}; it holds {found}. "
            + (f"Pass {root.parent} instead." if (root / path.name).is_file() else _LAYOUT)
        )
    if not path.is_file():
        found = ", ".join(sorted(p.name for p in path.parent.glob("*.tsv"))) or "no TSV file"
        raise DataError(
            f"data.source: {path} is missing, so task {task.name} has no {split} split here; "
            f"{path.parent} holds {found}."
        )
    try:
        fingerprint = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None

    def read() -> Rows:
        return _read_file(task, file, path, optional=split.startswith("test"))

    return Split(split, str(path), fingerprint, read, unit="line", labels=task.file_labels)


def _read_file(task: TaskSpec, file: SplitFile, path: Path, optional: bool) -> Rows:
    """Rows of one official file; where ``optional``, the label column may be missing."""
    table = read_tsv(path, has_header=isinstance(file.texts[0], str))
    texts = [_position(table, column) for column in file.texts]
    hidden = optional and isinstance(file.label, str) and file.label not in (table.header or [])
    label = None if hidden or file.label is None else _position(table, file.label)
    width = max([*texts, -1 if label is None else label]) + 1
    if file.skip_short:
        table = table.without_short_rows(width)
    _check_widths(table, width)
    columns = [[row[column] for row in table.rows] for column in texts]
    labels: list[Label] = [None] * len(table.rows)
    if label is not None:
        parse = _score_parser(task) if task.is_regression else _class_parser(task)
        labels = [parse(row[label], table, number) for number, row in enumerate(table.rows)]
    numbers = np.array(table.lines, dtype=np.int32)
    return Rows(columns[0], columns[1] if len(columns) > 1 else None, labels, numbers)


def _position(table: Table, column: str | int) -> int:
    if isinstance(column, int):
        return column
    header = table.header or []
    if column not in header:
        raise DataError(
            f"{table.path}, line 1: there is no column {column!r}.{did_you_mean(column, header)} "
            f"The columns are: {', '.join(map(repr, header))}."
        )
    return header.index(column)


def _check_widths(table: Table, width: int) -> None:
    """Stop at the first row with fewer than ``width`` columns."""
    for number, row in enumerate(table.rows):
        if len(row) < width:
            raise DataError(
                f"{table.path}, line {table.line(number)}: {len(row)} column(s), at least {width} are needed "
                "(columns are separated by tabs)."
            )


def _class_parser(task: TaskSpec) -> Callable[[str, Table, int], Label]:
    classes = {written: number for number, written in enumerate(task.file_labels)}

    def parse(written: str, table: Table, row: int) -> Label:
        if written not in classes:
            raise DataError(
                f"{table.path}, line {table.line(row)}: label {written!r} is not a label of task {task.name}. "
                f"Allowed: {', '.join(task.file_labels)}."
            )
        return classes[written]

    return parse


def _score_parser(task: TaskSpec) -> Callable[[str, Table, int], Label]:
    low, high = task.score_range or (float("-inf"), float("inf"))

    def parse(written: str, table: Table, row: int) -> Label:
        try:
            score = float(written) if "_" not in written else float("nan")  # 0_4 is 4 to Python only
        except ValueError:
            score = float("nan")
        if not low <= score <= high:  # false for nan too
            raise DataError(
                f"{table.path}, line {table.line(row)}: {written!r} is not a score of task {task.name}. "
                f"Allowed: a number from {low:g} to {high:g}."
            )
        return score

    return parse
