"""GLUE's files in the official layout (``GLUE_FOLDER/CoLA/train.tsv``), found and read."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from glue_lit.data.label_texts import parse_number
from glue_lit.data.rows import Label, Rows, Split
from glue_lit.data.tsv import TsvFile, read_tsv
from glue_lit.errors import DataError
from glue_lit.tasks.spec import SplitFile, TaskSpec


def open_glue_file(task: TaskSpec, root: Path, split: str) -> Split:
    """Find the file of a split below a GLUE folder.

    Raises:
        DataError: It is missing, or cannot be read.
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

    named_columns = read_columns if _has_header(file) else None
    return Split(split, str(path), fingerprint, read, "line", task.file_labels, read_columns=named_columns)


def _has_header(file: SplitFile) -> bool:
    return isinstance(file.texts[0], str)


def _read_rows(task: TaskSpec, file: SplitFile, path: Path, may_lack_label: bool) -> Rows:
    table = read_tsv(path, _has_header(file))
    positions = [table.position(column) for column in file.texts]
    lacks_label = may_lack_label and isinstance(file.label, str) and file.label not in table.header
    has_label = file.label is not None and not lacks_label
    if has_label and file.label is not None:
        positions.append(table.position(file.label))
    if file.skip_short:
        table = table.without_short_rows(max(positions) + 1)
    columns = table.columns(positions)
    labels: list[Label] = _parse_labels(task, table, columns.pop()) if has_label else [None] * len(table.rows)
    return Rows.from_columns(columns, labels, table.lines)


def _read_columns(file: SplitFile, path: Path, names: Sequence[str], optional: Sequence[str]) -> dict[str, list[str]]:
    table = read_tsv(path, has_header=True)
    names = [*names, *(name for name in optional if name in table.header)]
    if file.skip_short:  # the task's own columns decide which rows are left out
        table = table.without_short_rows(max(map(table.position, (*file.texts, file.label or 0))) + 1)
    return dict(zip(names, table.columns([table.position(name) for name in names]), strict=True))


def _parse_labels(task: TaskSpec, table: TsvFile, column: Sequence[str]) -> list[Label]:
    low, high = task.score_range or (float("-inf"), float("inf"))
    classes = {written: number for number, written in enumerate(task.file_labels)}
    what, allowed = "label", ", ".join(task.file_labels)
    if task.is_regression:
        what, allowed = "score", f"a number from {low:g} to {high:g}"
    labels: list[Label] = []
    for line, written in zip(table.lines, column, strict=True):
        label: float | None = parse_number(written) if task.is_regression else classes.get(written)
        if label is None or not (low <= label <= high):
            raise DataError(
                f"{table.path}, line {line}: {written!r} is not a {what} of task {task.name}. Allowed: {allowed}."
            )
        labels.append(label)
    return labels
