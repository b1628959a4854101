"""Splits of a user's own task, from its tables; without validation rows, some training rows are held out."""

import hashlib
import json
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from glue_lit.data.custom_labels import LabelColumn
from glue_lit.data.label_texts import label_text
from glue_lit.data.rows import HELD_OUT, Label, Rows, Split
from glue_lit.data.table import Table
from glue_lit.errors import DataError
from glue_lit.system.untrusted_text import Value, id_as_text
from glue_lit.tasks.custom import CustomTask
from glue_lit.tasks.glue import TaskSpec


def find_table(tables: Mapping[str, Table], split: str, source: str) -> Table:
    """Find the table of a split.

    Raises:
        DataError: There is none.
    """
    if split not in tables:
        advice = f"give `--data.custom.{split}_file FILE`" if split != "train" else "training needs a train file"
        raise DataError(f"data.source: {source} has no {split} rows; {advice}.")
    return tables[split]


def open_custom_split(
    task: TaskSpec, custom: CustomTask, tables: Mapping[str, Table], source: str, split: str
) -> Split:
    """Find a split in a task's tables; without a validation table, rows are held out of the training table.

    Raises:
        DataError: There is no such split.
    """
    is_part = "validation" not in tables and split in ("train", "validation")
    table = find_table(tables, "train" if is_part else split, source)
    part = f"{split}, {custom.validation_fraction}, {custom.split_seed}" if is_part else ""
    # The suffix decides how a file is read: a quote is text in .tsv, and encloses text in .csv.
    meaning = [custom.text_columns, custom.label, custom.kind, custom.labels, part, table.path.suffix.lower()]
    fingerprint = hashlib.sha256((table.fingerprint() + json.dumps(meaning)).encode()).hexdigest()

    def belongs(labels: list[Label]) -> NDArray[np.bool_]:
        held_out = choose_held_out(labels, custom)
        return held_out if split == "validation" else ~held_out

    def read() -> Rows:
        rows = _read(task, custom, table, needs_labels=split == "train" or is_part)
        return rows.where(belongs(rows.labels)) if is_part else rows

    def read_columns(names: Sequence[str], optional: Sequence[str]) -> dict[str, list[str]]:
        names = [*names, *(name for name in optional if name in table.columns)]
        rows = [values for _, values in table.rows([custom.label, *names])] if names else []
        if is_part and names:
            column = LabelColumn([label_text(row[0]) for row in rows], range(len(rows)), table.place)
            rows = [rows[at] for at in np.flatnonzero(belongs(column.parse(custom)))]
        return {name: [label_text(row[at]) or "" for row in rows] for at, name in enumerate(names, start=1)}

    origin = f"{table.path}{HELD_OUT if is_part and split == 'validation' else ''}"
    return Split(split, origin, fingerprint, read, table.unit, task.file_labels, table.commit, read_columns)


def choose_held_out(labels: list[Label], custom: CustomTask) -> NDArray[np.bool_]:
    """Choose the training rows to hold out for validation, ``(rows,)`` bool.

    The share of each class is the same, rounded to whole rows, but at least one row if the class has two or more. The
    same labels, fraction and seed give the same choice.

    Raises:
        DataError: There are too few rows.
    """
    generator = np.random.Generator(np.random.PCG64(custom.split_seed))
    order = generator.permutation(len(labels))
    held_out = np.zeros(len(labels), dtype=bool)
    groups = np.zeros(len(labels)) if custom.kind == "regression" else np.asarray(labels)
    for group in np.unique(groups):
        members = order[groups[order] == group]
        count = round(len(members) * custom.validation_fraction)
        held_out[members[: min(max(count, 1), len(members) - 1)]] = True
    if not held_out.any():
        raise DataError(
            f"data.source: {len(labels)} training row(s) are too few to hold some out for validation. "
            "Give `--data.custom.validation_file FILE`, or more rows."
        )
    return held_out


def _read(task: TaskSpec, custom: CustomTask, table: Table, needs_labels: bool) -> Rows:
    """Read all rows of a table; labels, or the label column, may be missing unless they are needed."""
    has_labels = needs_labels or custom.label in table.columns
    columns = [*task.text_columns, *([custom.label] if has_labels else []), *([custom.id] if custom.id else [])]
    texts: list[list[str]] = [[] for _ in task.text_columns]
    labels: list[str | None] = []
    ids: list[str] = []
    numbers: list[int] = []
    for number, values in table.rows(columns):
        for column, name, value in zip(texts, task.text_columns, values, strict=False):
            column.append(_check_text(value, name, table, number))
        labels.append(label_text(values[len(texts)]) if has_labels else None)
        if custom.id:
            ids.append(id_as_text(values[-1]))
        numbers.append(number)
    label_column = LabelColumn(labels, numbers, table.place)
    if needs_labels:
        label_column.check_complete(custom.label)
    return Rows.from_columns(texts, label_column.parse(custom), numbers, ids if custom.id else None)


def _check_text(value: Value, column: str, table: Table, number: int) -> str:
    if isinstance(value, str) and value.strip():
        return value
    what = "is empty" if value is None or isinstance(value, str) else f"is {value!r}, not a text"
    raise DataError(f"{table.place(number)}: column {column!r} {what}. Write something, or take the row out.")
