"""Completing a user's own task from its data, and describing what was read and assumed."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from glue_lit.data.cache import MANY_ROWS, cache_folder
from glue_lit.data.custom_labels import check_and_complete, complete_from_label_sets, complete_from_labels
from glue_lit.data.custom_split import find_table
from glue_lit.data.label_column import LabelColumn
from glue_lit.data.label_sets import describe_label_sets, holds_lists
from glue_lit.data.label_texts import have_decimal_commas, is_number, parse_number
from glue_lit.data.rendering import check_columns
from glue_lit.data.sources import open_tables
from glue_lit.data.table import Table
from glue_lit.errors import RunError, UsageError, enumerated
from glue_lit.system.files import read_json, write_json
from glue_lit.system.version import __version__
from glue_lit.tasks.custom import CustomTask, check_task_name, parse_custom_task, resolve_task
from glue_lit.tasks.metric_entries import Target, name_of, parse_metrics
from glue_lit.tasks.metrics import Kind
from glue_lit.tasks.spec import TaskSpec

_HELD_OUT: dict[Kind, str] = {
    "classification": "stratified by label with at least one of each", "multi_label": "stratified by labels",
    "ordinal": "stratified by label with at least one of each", "regression": "at random",
}  # fmt: skip
_MANY = MANY_ROWS  # their labels take longer to read than the file to hash


def task_of_settings(settings: Mapping[str, Any]) -> TaskSpec:
    """The task of a configuration of `fit`; a task of the user's own is completed from its data, as `fit` does.

    Args:
        settings: A full configuration.

    Raises:
        GlueLitError: There is no such task, or its data cannot be used.
    """
    data = settings["data"]
    custom = parse_custom_task(data.get("custom"))
    if custom.text_columns:
        custom = complete_task(data["task"], custom, data["source"], cache_folder(data.get("cache_dir")))
    return resolve_task(data["task"], custom, data.get("metrics"))


def complete_task(name: str, custom: CustomTask, source: str, cache: Path | None = None) -> CustomTask:
    """Complete the settings of a task from its data: kind, labels, metrics and class weights.

    Args:
        name: Name of the task.
        custom: Its settings.
        source: Where the rows come from.
        cache: Folder that keeps the settings of a large table for the next time.

    Raises:
        DataError: The data contradict the settings, or are ambiguous.
        UsageError: The settings contradict each other.
    """
    check_task_name(name)
    custom = _checked(custom)
    if custom.is_complete:
        return check_and_complete(custom)
    parse_metrics(custom.metrics or (), Target(custom.kind, is_known=False), "data.custom.metrics")
    table = find_table(open_tables(custom, source), "train", source)
    check_columns(custom.inputs, table)
    if custom.kind is None:
        custom = replace(custom, kind="multi_label" if holds_lists(table, custom.label_column) else None)
        table.list_columns = custom.label_columns if custom.kind == "multi_label" else ()
    names = table.class_names.get(custom.label_column, ())
    read = [__version__, table.fingerprint(), table.path.suffix.lower(), names]
    key = hashlib.sha256(json.dumps([*read, custom.settings()]).encode()).hexdigest()[:32]
    path = None if cache is None else cache / f"task-{key}.json"
    if path is not None and (known := _read_task(path)) is not None:
        return known
    completed, rows = _complete(custom, table)
    if path is not None and rows >= _MANY:
        with contextlib.suppress(RunError):
            write_json(path, completed.settings())
    return completed


def _checked(custom: CustomTask) -> CustomTask:
    """The task with the kind that follows from its label columns, if its settings fit together."""
    if custom.sep_token is not None and not custom.inputs.uses_sep:
        raise UsageError(
            f"data.custom.sep_token: got {custom.sep_token!r}, but there is no {{sep}} in data.custom.text or "
            "text_separator. Leave it out."
        )
    if set(custom.label_columns) & set(custom.inputs.columns):
        raise UsageError(
            f"data.custom: text is {', '.join(custom.text_columns)} and label {custom.label_column}, so that the text "
            "would tell the label. Allowed: text columns, and a different label column."
        )
    if not 0 < custom.validation_fraction < 1:
        raise UsageError(
            f"data.custom.validation_fraction: got {custom.validation_fraction}, allowed: above 0, below 1."
        )
    if not isinstance(custom.label, str) and custom.kind not in (None, "multi_label"):
        raise UsageError(
            f"data.custom.label: got {custom.label_column}, allowed with data.custom.kind {custom.kind}: one column. "
            "Columns of 0 and 1 for each label are for kind multi_label."
        )
    if custom.label_separator is not None and not (custom.kind == "multi_label" and isinstance(custom.label, str)):
        raise UsageError(
            "data.custom.label_separator: it separates the labels of one column of a multi-label task. Leave it out, "
            "or say `--data.custom.kind multi_label`."
        )
    return custom if isinstance(custom.label, str) else replace(custom, kind="multi_label")


def _complete(custom: CustomTask, table: Table) -> tuple[CustomTask, int]:
    """The completed settings, and the number of training rows."""
    if custom.kind == "multi_label":
        return complete_from_label_sets(custom, table)
    training = LabelColumn.of_table(table, custom.label_column, has_scores=custom.kind in (None, "regression"))
    training.check_complete(custom.label_column)
    return complete_from_labels(custom, training), sum(training.rows or ())


def _read_task(path: Path) -> CustomTask | None:
    """The settings in a file; ``None`` if it is missing or damaged."""
    try:
        custom = parse_custom_task(read_json(path))
    except (OSError, ValueError, TypeError):
        return None
    return custom if custom.is_complete else None


def describe_task(custom: CustomTask, source: str) -> Iterator[str]:
    """Say, a line each, what was read from the data and what was assumed about the labels."""
    columns, metrics = " and ".join(custom.inputs.names), ", ".join(map(name_of, custom.metrics or ()))
    if custom.kind == "regression":
        yield f"{columns} -> {custom.label_column}, a number (regression); metrics: {metrics}"
    else:
        names = custom.label_names or custom.labels or []
        listed = ", ".join(names[:10]) + (f" ... ({len(names)} labels)" if len(names) > 10 else "")
        how = "any of" if custom.kind == "multi_label" else "one of"
        order = ", in this order (ordinal)" if custom.kind == "ordinal" else ""
        yield f"{columns} -> {custom.label_column}, {how} {listed}{order}; metrics: {metrics}"
    if custom.thresholds is not None:
        how = "tuned on the validation rows" if custom.thresholds == "tuned" else f"{custom.thresholds:g}"
        yield f"The threshold of each label is {how} (data.custom.thresholds)"
    yield from describe_texts(custom)
    yield from describe_labels(custom)
    if "validation" not in open_tables(custom, source):
        how = _HELD_OUT[custom.kind or "classification"]
        yield (
            f"No validation rows are given: {custom.validation_fraction:.0%} of the training rows are held out, {how} "
            f"(data.custom.split_seed {custom.split_seed})"
        )


def describe_texts(custom: CustomTask) -> Iterator[str]:
    """Say, a line each, how texts are made of columns, unless each is a column as it is."""
    inputs = custom.inputs
    if joined := [part.name for parts in inputs.texts for part in parts if len(parts) > 1]:
        how = f"joined by {inputs.separator!r} (data.custom.text_separator), without empty ones"
        yield f"{enumerated(joined)} are one text, {how}"
    if inputs.uses_sep and custom.sep_token is not None:
        yield f"{{sep}} is {custom.sep_token!r} (data.custom.sep_token)"


def describe_labels(custom: CustomTask) -> Iterator[str]:
    """Say, a line each, what was assumed about the labels."""
    if custom.kind == "multi_label":
        yield from describe_label_sets(custom)
        return
    labels = custom.labels or []
    if custom.decimal_comma:
        yield "The labels are read as numbers with a decimal comma: 3,5 is 3.5 (data.custom.decimal_comma)"
    entries = parse_metrics(custom.metrics or (), Target(custom.kind, is_known=False), "data.custom.metrics")
    if len(labels) == 2 and (titles := [metric.title() for metric in entries if metric.is_of_default_label]):
        name = (custom.label_names or labels)[labels.index(custom.positive or labels[-1])]
        words = f"{' and '.join(titles)} {'is' if len(titles) == 1 else 'are'}"
        yield f"{words} of the label {name}; `--data.custom.positive LABEL` chooses the other one"
    if codes := [label for label in labels if parse_number(label) is not None and not is_number(label)]:
        yield f"{', '.join(codes[:3])} and the like are read as codes, not as numbers (data.custom.kind)"
    if labels and have_decimal_commas(labels, ";"):
        yield f"{', '.join(labels[:3])} are read as classes; `--data.custom.decimal_comma true` makes them numbers"
