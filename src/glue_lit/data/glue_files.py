"""GLUE's files in the official layout (``GLUE_FOLDER/CoLA/train.tsv``): where they lie, their rows and columns."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from glue_lit.data.label_texts import number_in
from glue_lit.data.rows import Label, Rows, Split
from glue_lit.data.tsv import Table, read_tsv
from glue_lit.errors import DataError, did_you_mean
from glue_lit.tasks.spec import SplitFile, TaskSpec


def open_glue_file(task: TaskSpec, root: Path, split: str) -> Split:
    """Find the file of a split below a GLUE folder.

    Raises:
        DataError: It is not there, or cannot be read.
    """
    file = task.files[split]
    path = root / file.path
    if not path.parent.is_dir():
        found = ", ".join(sorted(p.name for p in root.iterdir() if p.is_dir())) or "no folder"
        advice = "The official layout is GLUE_FOLDER/<Task>/train.tsv."
        raise DataError(
            f"data.source: {root} has no folder {path.parent.name} for task {task.name}; it holds {found}. "
            + (f"Pass {root.parent} instead." if (root / path.name).is_file() else advice)
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
        return _read_rows(task, file, path, may_lack_label=split.startswith("test"))

    def read_columns(names: Sequence[str], optional: Sequence[str]) -> dict[str, list[str]]:
        return _read_columns(file, path, names, optional)

    columns = read_columns if isinstance(file.texts[0], str) else None  # there is no header to name them
    return Split(split, str(path), fingerprint, read, "line", task.file_labels, read_columns=columns)


def _read_rows(task: TaskSpec, file: SplitFile, path: Path, may_lack_label: bool) -> Rows:
    table = read_tsv(path, has_header=isinstance(file.texts[0], str))
    texts = [_position(table, column) for column in file.texts]
    lacks_label = may_lack_label and isinstance(file.label, str) and file.label not in (table.header or [])
    label = None if lacks_label or file.label is None else _position(table, file.label)
    width = max([*texts, -1 if label is None else label]) + 1
    if file.skip_short:
        table = table.without_short_rows(width)
    _check_widths(table, width)
    columns = [[row[column] for row in table.rows] for column in texts]
    labels: list[Label] = [None] * len(table.rows) if label is None else _labels(task, table, label)
    numbers = np.array(table.lines, dtype=np.int32)
    return Rows(columns[0], columns[1] if len(columns) > 1 else None, labels, numbers)


def _read_columns(file: SplitFile, path: Path, names: Sequence[str], optional: Sequence[str]) -> dict[str, list[str]]:
    table = read_tsv(path, has_header=True)
    there = [*names, *(name for name in optional if name in (table.header or []))]
    if file.skip_short:  # which rows are left out is decided by what the task itself needs
        table = table.without_short_rows(max(_position(table, column) for column in (*file.texts, file.label or 0)) + 1)
    positions = [_position(table, name) for name in there]
    _check_widths(table, max(positions, default=0) + 1)
    return {name: [row[place] for row in table.rows] for name, place in zip(there, positions, strict=True)}


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
    for line, row in zip(table.lines, table.rows, strict=True):
        if len(row) < width:
            raise DataError(
                f"{table.path}, line {line}: {len(row)} column(s), at least {width} are needed "
                "(columns are separated by tabs)."
            )


def _labels(task: TaskSpec, table: Table, column: int) -> list[Label]:
    """The class or score of each row."""
    low, high = task.score_range or (float("-inf"), float("inf"))
    classes = {written: number for number, written in enumerate(task.file_labels)}
    what, allowed = "label", ", ".join(task.file_labels)
    if task.is_regression:
        what, allowed = "score", f"a number from {low:g} to {high:g}"
    labels: list[Label] = []
    for line, row in zip(table.lines, table.rows, strict=True):
        label: Label = number_in(row[column]) if task.is_regression else classes.get(row[column])
        if label is None or not (low <= label <= high):
            raise DataError(
                f"{table.path}, line {line}: {row[column]!r} is not a {what} of task {task.name}. Allowed: {allowed}."
            )
        labels.append(label)
    return labels
