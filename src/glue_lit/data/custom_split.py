"""Splits of a user's own task, from its tables; without validation rows, some training rows are held out."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from operator import itemgetter
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glue_lit.data.label_arrays import LabelArrays
from glue_lit.data.label_column import LabelColumn
from glue_lit.data.label_sets import LabelSets, is_unknown, unlabelled
from glue_lit.data.label_texts import label_text
from glue_lit.data.large_arrays import parts_of, scratch_array
from glue_lit.data.length_order import sort_longest_first
from glue_lit.data.rendering import check_columns, render
from glue_lit.data.rows import HELD_OUT, Label, Rows, Split
from glue_lit.data.stratification import hold_out_rows
from glue_lit.data.table import NumberedRow, Table
from glue_lit.errors import DataError
from glue_lit.system.untrusted_text import Value, id_as_text
from glue_lit.tasks.custom import CustomTask
from glue_lit.tasks.glue import TaskSpec
from glue_lit.tasks.text_inputs import TextInputs

_PART = 10_000  # rows in memory
_CHARACTERS = 1 << 22  # of their texts


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
    check_columns(custom.inputs, table)
    texts = custom.text_columns if task.inputs.is_plain else (*custom.text_columns, str(task.inputs))
    meaning = [texts, custom.label, custom.kind, custom.labels, part, table.path.suffix.lower()]
    meaning += [custom.label_separator] if custom.kind == "multi_label" else []
    fingerprint = hashlib.sha256((table.fingerprint() + json.dumps(meaning)).encode()).hexdigest()

    def parts() -> Iterator[Rows]:
        read = _read_parts(task, custom, table, needs_labels=split == "train" or is_part)
        return (rows for rows in map(itemgetter(0), _divided(read, belonging)) if len(rows)) if is_part else read

    def both() -> Iterator[tuple[Rows, Rows]]:
        return _divided(_read_parts(task, custom, table, needs_labels=True), belonging)

    def belonging() -> NDArray[np.bool_]:
        held_out = _held_out(custom, table)
        return held_out if split == "validation" else ~held_out

    def read_columns(names: Sequence[str], optional: Sequence[str]) -> dict[str, list[str]]:
        names = [*names, *(name for name in optional if name in table.columns)]
        rows = [values for _, values in table.rows(names)] if names else []
        if is_part and names:
            rows = [rows[at] for at in np.flatnonzero(belonging())]
        return {name: [label_text(row[at]) or "" for row in rows] for at, name in enumerate(names)}

    has_held_out = is_part and split == "train"
    held_out = (open_custom_split(task, custom, tables, source, "validation"),) if has_held_out else ()
    origin = f"{table.path}{HELD_OUT if is_part and split == 'validation' else ''}"
    return Split(
        split, origin, fingerprint, lambda: Rows.joined(parts()), table.unit, task.file_labels, table.commit,
        read_columns, parts, held_out, both,
    )  # fmt: skip


_chosen: dict[str, NDArray[np.bool_]] = {}  # the last choice, for which both splits of a fit ask


def _held_out(custom: CustomTask, table: Table) -> NDArray[np.bool_]:
    """The rows of a training table that are held out for validation, ``(rows,)`` bool."""
    key = json.dumps([table.fingerprint(), str(table.path), custom.settings()])
    if key not in _chosen:
        folder = Path(tempfile.gettempdir())
        rows, found = table.rows(custom.label_columns), LabelArrays(custom.kind == "regression", folder)
        while some := list(islice(rows, _PART)):
            found.add(_parse(some, custom, table, needs_labels=True))
        arrays = found.arrays()
        _chosen.clear()
        _chosen[key] = choose_held_out(
            arrays["labels"], custom, arrays.get("label_offsets"), arrays.get("label_indices"), folder
        )
    return _chosen[key]


def choose_held_out(
    labels: ArrayLike,
    custom: CustomTask,
    offsets: NDArray[np.int64] | None = None,
    indices: NDArray[np.int32] | None = None,
    folder: Path | None = None,
) -> NDArray[np.bool_]:
    """Choose the training rows to hold out for validation, ``(rows,)`` bool.

    The share of each class is the same, rounded to whole rows, but at least one row if the class has two or more. Rows
    with several labels are chosen by `hold_out_rows`. The same labels, fraction and seed give the same choice.

    Args:
        labels: Class number of each row, ``(rows,)``; of scores, only their number matters.
        custom: The task.
        offsets: First label of each row in ``indices``, and its length, ``(rows + 1,)``; for multi-label tasks.
        indices: The labels of all rows, one after the other.
        folder: Folder for temporary files, which hold the order of very many rows.

    Raises:
        DataError: There are too few rows.
    """
    groups = np.asarray(labels)
    if offsets is not None and indices is not None:
        fraction, seed = custom.validation_fraction, custom.split_seed
        return _some(hold_out_rows(offsets, indices, len(custom.labels or ()), fraction, seed))
    generator = np.random.Generator(np.random.PCG64(custom.split_seed))
    order = scratch_array(len(groups), "int32", folder)
    for part in parts_of(len(groups)):
        order[part] = np.arange(part.start, part.stop)
    generator.shuffle(order)
    held_out = np.zeros(len(groups), dtype=bool)
    counts = np.array([len(groups)])
    if custom.kind in ("classification", "ordinal"):
        counts = np.bincount(groups)
        order = sort_longest_first(len(counts) - 1 - groups.astype(np.int32), folder, order)  # the first class first
        counts = counts[counts > 0]
    for members in np.split(order, np.cumsum(counts)[:-1]):
        count = round(len(members) * custom.validation_fraction)
        held_out[members[: min(max(count, 1), len(members) - 1)]] = True
    return _some(held_out)


def _some(held_out: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if not held_out.any():
        raise DataError(
            f"data.source: {len(held_out)} training row(s) are too few to hold some out for validation. "
            "Give `--data.custom.validation_file FILE`, or more rows."
        )
    return held_out


def _read_parts(task: TaskSpec, custom: CustomTask, table: Table, needs_labels: bool) -> Iterator[Rows]:
    """Read a table some rows at a time; labels, or the label column, may be missing unless they are needed."""
    has_labels = needs_labels or has_label_columns(custom, table)
    inputs, width = task.inputs, len(task.inputs.columns)
    columns = [*inputs.columns, *(custom.label_columns if has_labels else []), *([custom.id] if custom.id else [])]
    rows = table.rows(columns)
    while some := list(_first_rows(rows, width)):
        texts = _texts_of(inputs, some, table)
        numbers = [number for number, _ in some]
        end = width + len(custom.label_columns)
        written = [(number, values[width:end]) for number, values in some]
        labels = _parse(written, custom, table, needs_labels) if has_labels else list[Label]([None] * len(some))
        ids = [id_as_text(values[-1]) for _, values in some] if custom.id else None
        yield Rows.from_columns(texts, labels, numbers, ids)


def _texts_of(inputs: TextInputs, rows: Iterable[NumberedRow], table: Table) -> list[list[str]]:
    """The one or two columns of texts of some rows, whose first values are those of the text columns."""
    texts: list[list[str]] = [[] for _ in inputs.texts]
    names, is_plain = inputs.columns, inputs.is_plain
    for number, values in rows:
        if is_plain:  # by the hundred million
            for column, name, value in zip(texts, names, values, strict=False):
                column.append(_check_text(value, name, table.place, number))
            continue
        check = partial(_check_text, place=table.place, number=number)
        for column, text in zip(texts, render(inputs, values[: len(names)], table.place(number), check), strict=True):
            column.append(text)
    return texts


def _first_rows(rows: Iterator[NumberedRow], texts: int) -> Iterator[NumberedRow]:
    """The next rows: `_PART` of them, or fewer if their texts, which come first, are long."""
    characters = 0
    for row in islice(rows, _PART):
        yield row
        characters += sum(len(text) for text in row[1][:texts] if isinstance(text, str))
        if characters >= _CHARACTERS:
            return


def has_label_columns(custom: CustomTask, table: Table) -> bool:
    """Whether a table has the label columns of a task."""
    has_some = any(column in table.columns for column in custom.label_columns)
    return has_some and not (custom.kind == "multi_label" and is_unknown(table, custom))


def _parse(rows: Sequence[NumberedRow], custom: CustomTask, table: Table, needs_labels: bool) -> list[Label]:
    """The class, score or labels of some rows of a table, given their values in the label columns.

    The error for a missing one counts those of the whole table.
    """
    if custom.kind == "multi_label":
        sets = LabelSets(custom, table.place)
        found: list[Label] = [sets.parse(values, number) for number, values in rows]
        if needs_labels and None in found:
            raise unlabelled(table.place(rows[found.index(None)][0]), custom)
        return found
    labels = LabelColumn([label_text(label) for _, (label,) in rows], [number for number, _ in rows], table.place)
    if needs_labels and None in labels.labels:
        LabelColumn.of_table(table, custom.label_column, has_scores=True).check_complete(custom.label_column)
    return labels.parse(custom)


def _divided(parts: Iterable[Rows], choose: Callable[[], NDArray[np.bool_]]) -> Iterator[tuple[Rows, Rows]]:
    """The rows for which the chosen mask ``(rows,)`` is true, and the others; errors in the first rows come first."""
    mask, start = None, 0
    for rows in parts:
        mask = choose() if mask is None else mask
        own = mask[start : start + len(rows)]
        start += len(rows)
        yield rows.where(own), rows.where(~own)


def _check_text(value: Value, column: str, place: Callable[[int], str], number: int) -> str:
    if isinstance(value, str) and value.strip():
        return value
    what = "is empty" if value is None or isinstance(value, str) else f"is {value!r}, not a text"
    raise DataError(f"{place(number)}: column {column!r} {what}. Write something, or take the row out.")
