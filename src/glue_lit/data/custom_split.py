"""Splits of a task of the user's own, out of its tables; validation rows are held out where there are none."""

import hashlib
import json
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from glue_lit.data.custom_labels import Labelled, class_numbers, numbers
from glue_lit.data.label_texts import label_of
from glue_lit.data.rows import HELD_OUT, Label, Rows, Split
from glue_lit.data.tables import Table
from glue_lit.errors import DataError
from glue_lit.system.untrusted_text import Value, id_as_text
from glue_lit.tasks.custom import CustomTask
from glue_lit.tasks.glue import TaskSpec


def check_all_labelled(custom: CustomTask, training: Labelled) -> None:
    """Stop at a training row without a label.

    Raises:
        DataError: There is one.
    """
    unlabelled = [row for row, label in enumerate(training.labels) if label is None]
    if unlabelled:
        raise DataError(
            f"{training.where(unlabelled[0])}: no label in column {custom.label!r}, as in {len(unlabelled)} training "
            "row(s). Label them or take them out."
        )


def find_table(tables: Mapping[str, Table], split: str, source: str) -> Table:
    """The table of a split.

    Raises:
        DataError: There is none.
    """
    if split not in tables:
        where = f"give `--data.custom.{split}_file FILE`" if split != "train" else "training needs a train file"
        raise DataError(f"data.source: {source} has no {split} rows; {where}.")
    return tables[split]


def open_custom_split(
    task: TaskSpec, custom: CustomTask, tables: Mapping[str, Table], source: str, split: str
) -> Split:
    """Find a split of the user's own task; if there are no validation rows, a part of the training rows.

    Args:
        task: The task.
        custom: Its settings.
        tables: By split.
        source: What they are from, for messages.
        split: Name of the split.

    Raises:
        DataError: There is no such split.
    """
    held_out = "validation" not in tables and split in ("train", "validation")
    table = find_table(tables, "train" if held_out else split, source)
    part = f"{split}, {custom.validation_fraction}, {custom.split_seed}" if held_out else ""
    # How a file is read is in its name: a quote is text in a .tsv, and around text in a .csv.
    meaning = [custom.text_columns, custom.label, custom.kind, custom.labels, part, table.path.suffix.lower()]
    fingerprint = hashlib.sha256((table.fingerprint() + json.dumps(meaning)).encode()).hexdigest()

    def is_of_split(labels: list[Label]) -> NDArray[np.bool_]:
        aside = held_out_rows(labels, custom)
        return aside if split == "validation" else ~aside

    def read() -> Rows:
        rows = _read(task, custom, table, needs_labels=split == "train" or held_out)
        return rows.where(is_of_split(rows.labels)) if held_out else rows

    def read_columns(names: Sequence[str], optional: Sequence[str]) -> dict[str, list[str]]:
        names = [*names, *(name for name in optional if name in table.columns)]
        found = [values for _, values in table.rows([custom.label, *names])] if names else []
        if held_out and names:
            labels = Labelled([label_of(row[0]) for row in found], range(len(found)), table.place)
            found = [found[at] for at in np.flatnonzero(is_of_split(_parsed(custom, labels)))]
        return {name: [label_of(row[place]) or "" for row in found] for place, name in enumerate(names, start=1)}

    origin = f"{table.path}{HELD_OUT if held_out and split == 'validation' else ''}"
    return Split(split, origin, fingerprint, read, table.unit, task.file_labels, table.commit, read_columns)


def held_out_rows(labels: list[Label], custom: CustomTask) -> NDArray[np.bool_]:
    """Which training rows are held out for validation, ``(rows,)`` bool.

    Of each class the same share, to the nearest row and at least one of two; the draw is the same for the
    same labels, fraction and seed.

    Raises:
        DataError: There are too few rows.
    """
    generator = np.random.Generator(np.random.PCG64(custom.split_seed))
    order = generator.permutation(len(labels))
    aside = np.zeros(len(labels), dtype=bool)
    groups = np.zeros(len(labels)) if custom.kind == "regression" else np.asarray(labels)
    for group in np.unique(groups):
        members = order[groups[order] == group]
        count = round(len(members) * custom.validation_fraction)
        aside[members[: min(max(count, 1), len(members) - 1)]] = True
    if not aside.any():
        raise DataError(
            f"data.source: {len(labels)} training row(s) are too few to hold some out for validation. "
            "Give `--data.custom.validation_file FILE`, or more rows."
        )
    return aside


def _read(task: TaskSpec, custom: CustomTask, table: Table, needs_labels: bool) -> Rows:
    """All rows of a table; a label may be missing, column and all, where none is needed."""
    has_labels = needs_labels or custom.label in table.columns
    columns = [*task.text_columns, *([custom.label] if has_labels else []), *([custom.id] if custom.id else [])]
    texts: list[list[str]] = [[] for _ in task.text_columns]
    labels: list[str | None] = []
    ids: list[str] = []
    places: list[int] = []
    for number, values in table.rows(columns):
        for column, name, value in zip(texts, task.text_columns, values, strict=False):
            column.append(_text(value, name, table, number))
        labels.append(label_of(values[len(texts)]) if has_labels else None)
        if custom.id:
            ids.append(id_as_text(values[-1]))
        places.append(number)
    labelled = Labelled(labels, places, table.place)
    if needs_labels:
        check_all_labelled(custom, labelled)
    numbers = np.array(places, dtype=np.int32)
    second = texts[1] if len(texts) > 1 else None
    return Rows(texts[0], second, _parsed(custom, labelled), numbers, ids if custom.id else None)


def _parsed(custom: CustomTask, labelled: Labelled) -> list[Label]:
    if custom.kind == "regression":
        return numbers(labelled, custom.decimal_comma or False)
    return class_numbers(labelled, list(custom.labels or ()))


def _text(value: Value, column: str, table: Table, number: int) -> str:
    if isinstance(value, str) and value.strip():
        return value
    what = "is empty" if value is None or isinstance(value, str) else f"is {value!r}, not a text"
    raise DataError(f"{table.place(number)}: column {column!r} {what}. Write something, or take the row out.")
