"""Data of the user's own: a file, a folder of files or a Hub data set, as splits of a task."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from glue_lit.data.assumptions import says_of_labels
from glue_lit.data.class_labels import are_numbers
from glue_lit.data.custom_labels import Labelled, checked, class_numbers, complete, numbers
from glue_lit.data.label_texts import label_of
from glue_lit.data.rows import HELD_OUT, Rows, Split
from glue_lit.data.tables import FORMATS, SPLIT_NAMES, Table, open_table
from glue_lit.errors import DataError, UsageError
from glue_lit.system.untrusted_text import Value, id_as_text
from glue_lit.tasks.custom import CustomTask, check_name
from glue_lit.tasks.glue import TaskSpec


def find_tables(source: str, custom: CustomTask) -> dict[str, Table]:
    """The tables of a source: ``train``, and ``validation`` and ``test`` where there are any.

    Raises:
        DataError: There are none, or two for one split.
    """
    path = Path(source).expanduser()
    if path.is_file():
        tables = {"train": open_table(path)}
    elif path.is_dir():
        tables = {split: open_table(file) for split, file in _files(path).items()}
    elif source in ("hub", "demo") or path.suffix.lower() in FORMATS or source.startswith((".", "/", "~")):
        raise DataError(
            f"data.source: there is no file or folder {source!r}. A task of your own takes a file "
            f"({', '.join(FORMATS)}), a folder with train, validation and test files, or a data set on the Hub."
        )
    else:
        from glue_lit.data.hub import hub_tables  # datasets is slow to import, and only needed here

        tables = hub_tables(source)
    for split, file in (("validation", custom.validation_file), ("test", custom.test_file)):
        if file is not None:
            tables[split] = open_table(Path(file).expanduser())
    for table in tables.values():
        if are_numbers(custom.labels, table.class_names.get(custom.label, ())):
            table.keep_numbers(custom.label)
    return tables


def _files(folder: Path) -> dict[str, Path]:
    """The file of each split in a folder."""
    found: dict[str, Path] = {}
    there = sorted(path for path in folder.iterdir() if path.suffix.lower() in FORMATS)
    for split, names in SPLIT_NAMES.items():
        files = [path for path in there if path.stem.lower() in names]
        if len(files) > 1:
            raise DataError(f"data.source: {files[0]} and {files[1]} are both the {split} rows; keep one of them.")
        if files:
            found[split] = files[0]
    if not found:
        there_are = ", ".join(path.name for path in sorted(folder.iterdir())[:20]) or "nothing"
        raise DataError(
            f"data.source: {folder} has no train, validation (dev) or test file; it holds {there_are}. "
            f"Allowed are names as train.csv, with {', '.join(FORMATS)}; or pass one file."
        )
    return found


def complete_task(name: str, custom: CustomTask, source: str) -> CustomTask:
    """Read from the data what the user has not said: kind, labels, metrics, weights.

    Raises:
        DataError: The data are not what the settings say, or nothing can be made of them.
        UsageError: The settings contradict themselves.
    """
    check_name(name)
    if len(custom.text_columns) > 2 or len({*custom.text_columns, custom.label}) <= len(custom.text_columns):
        raise UsageError(
            f"data.custom: text is {', '.join(custom.text_columns)} and label {custom.label}. "
            "Allowed: one or two text columns, and a label column that is none of them."
        )
    if not 0 < custom.validation_fraction < 1:
        raise UsageError(
            f"data.custom.validation_fraction: got {custom.validation_fraction}, allowed: above 0, below 1."
        )
    if custom.is_complete:
        return checked(custom)
    table = _table(find_tables(source, custom), "train", source)
    rows = [(number, label_of(value)) for number, (value,) in table.rows([custom.label])]
    labels, places = [label for _, label in rows], [number for number, _ in rows]
    labelled = Labelled(labels, places, table.place, table.class_names.get(custom.label, ()), table.separator)
    _check_all_labelled(custom, labelled)
    return complete(custom, labelled)


def _check_all_labelled(custom: CustomTask, training: Labelled) -> None:
    unlabelled = [row for row, label in enumerate(training.labels) if label is None]
    if unlabelled:
        raise DataError(
            f"{training.where(unlabelled[0])}: no label in column {custom.label!r}, as in {len(unlabelled)} training "
            "row(s). Label them or take them out."
        )


def _table(tables: dict[str, Table], split: str, source: str) -> Table:
    if split not in tables:
        where = f"give `--data.custom.{split}_file FILE`" if split != "train" else "training needs a train file"
        raise DataError(f"data.source: {source} has no {split} rows; {where}.")
    return tables[split]


def _table_with(split: str, custom: CustomTask, source: str) -> tuple[Table, bool]:
    """The table that has a split's rows, and whether the split is a part of it: there are no validation rows.

    Raises:
        DataError: There is no such split.
    """
    tables = find_tables(source, custom)
    held_out = "validation" not in tables and split in ("train", "validation")
    return _table(tables, "train" if held_out else split, source), held_out


def open_custom_split(task: TaskSpec, custom: CustomTask, source: str, split: str) -> Split:
    """Find a split of the user's own task; where there are no validation rows, a part of the training rows.

    Raises:
        DataError: There is no such split.
    """
    table, held_out = _table_with(split, custom, source)
    part = f"{split}, {custom.validation_fraction}, {custom.split_seed}" if held_out else ""
    # How a file is read is in its name: a quote is text in a .tsv, and around text in a .csv.
    meaning = [custom.text_columns, custom.label, custom.kind, custom.labels, part, table.path.suffix.lower()]
    fingerprint = hashlib.sha256((table.fingerprint() + json.dumps(meaning)).encode()).hexdigest()

    def read() -> Rows:
        rows = _read(task, custom, table, needs_labels=split == "train" or held_out)
        if not held_out:
            return rows
        aside = held_out_rows(rows.labels, custom)
        return rows.where(aside if split == "validation" else ~aside)

    origin = f"{table.path}{HELD_OUT if held_out and split == 'validation' else ''}"
    return Split(split, origin, fingerprint, read, table.unit, task.file_labels, table.commit)


def custom_columns(custom: CustomTask, source: str, split: str, names: Sequence[str]) -> dict[str, list[str]]:
    """Other columns of a split of the user's own task, a text for each row of `open_custom_split`.

    Raises:
        DataError: There is no such split or column.
    """
    table, held_out = _table_with(split, custom, source)
    found = [values for _, values in table.rows([custom.label, *names])] if names else []
    if held_out and names:
        labels = Labelled([label_of(row[0]) for row in found], range(len(found)), table.place)
        aside = held_out_rows(_parsed(custom, labels), custom)
        found = [row for row, is_aside in zip(found, aside, strict=True) if is_aside == (split == "validation")]
    return {name: [label_of(row[place]) or "" for row in found] for place, name in enumerate(names, start=1)}


def says(custom: CustomTask, source: str) -> Iterator[str]:
    """What was read from the data, a line each."""
    columns = " and ".join(custom.text_columns)
    if custom.kind == "regression":
        yield f"{columns} -> {custom.label}, a number (regression); metrics: {', '.join(custom.metrics or ())}"
    else:
        names = custom.label_names or custom.labels or []
        listed = ", ".join(names[:10]) + (f" ... ({len(names)} labels)" if len(names) > 10 else "")
        yield f"{columns} -> {custom.label}, one of {listed}; metrics: {', '.join(custom.metrics or ())}"
    yield from says_of_labels(custom)
    if "validation" not in find_tables(source, custom):
        how = "at random" if custom.kind == "regression" else "stratified by label, one of each at least,"
        yield (
            f"No validation rows are given: {custom.validation_fraction:.0%} of the training rows are held out, {how} "
            f"(data.custom.split_seed {custom.split_seed})"
        )


def held_out_rows(labels: list[int | float | None], custom: CustomTask) -> np.ndarray:
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
        _check_all_labelled(custom, labelled)
    numbers = np.array(places, dtype=np.int32)
    second = texts[1] if len(texts) > 1 else None
    return Rows(texts[0], second, _parsed(custom, labelled), numbers, ids if custom.id else None)


def _parsed(custom: CustomTask, labelled: Labelled) -> list[int | float | None]:
    if custom.kind == "regression":
        return numbers(labelled, custom.decimal_comma or False)
    return class_numbers(labelled, list(custom.labels or ()))


def _text(value: Value, column: str, table: Table, number: int) -> str:
    if isinstance(value, str) and value.strip():
        return value
    what = "is empty" if value is None or isinstance(value, str) else f"is {value!r}, not a text"
    raise DataError(f"{table.place(number)}: column {column!r} {what}. Write something, or take the row out.")
