"""What follows for a user's own task from its labels: kind, classes, metrics and class weights."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from glue_lit.data.label_column import LabelColumn, header_hint
from glue_lit.data.label_sets import count_labels, with_separator
from glue_lit.data.label_texts import (
    are_codes,
    have_decimal_commas,
    is_number,
    label_text,
    normalize_label,
)
from glue_lit.data.table import Table
from glue_lit.errors import DataError, UsageError, did_you_mean
from glue_lit.runs.config_values import to_flag
from glue_lit.tasks.custom import CustomTask
from glue_lit.tasks.metric_entries import Target, join_entries, parse_metrics
from glue_lit.tasks.metrics import Kind
from glue_lit.tasks.text_inputs import SEPARATOR

_MOST_NUMERIC_CLASSES = 20  # more different numbers than this are scores
_MOST_CLASSES = 20  # with more, and fewer than four rows per label on average, the user must say what the labels are


def complete_from_labels(custom: CustomTask, training: LabelColumn) -> CustomTask:
    """Complete the settings of a task from the labels of its training rows, all of which have one.

    Raises:
        DataError: The labels are ambiguous, or contradict the settings.
        UsageError: The settings contradict each other.
    """
    counts = training.count()
    is_named = bool(custom.labels or training.classes)
    if custom.decimal_comma is None and custom.kind in (None, "regression") and not is_named:
        custom = replace(custom, decimal_comma=have_decimal_commas(counts, training.separator) or None)
    kind: Kind = custom.kind or ("classification" if is_named else _guess_kind(custom, counts, training))
    is_guess = not is_named and custom.kind is None
    custom = replace(custom, kind=kind)
    if kind == "classification":
        labels = [normalize_label(label) for label in _listed_labels(custom)]
        labels = labels or [label for label in map(normalize_label, training.classes) if label in counts]
        custom = replace(custom, labels=labels or _sorted(counts))
    if kind == "ordinal":
        custom = replace(custom, labels=[normalize_label(each) for each in _listed_labels(custom)] or _levels(counts))
    training.parse(custom)
    if kind == "classification" and is_guess and len(counts) > max(_MOST_CLASSES, counts.total() // 4):
        commas = have_decimal_commas(counts, ";")
        raise DataError(
            f"Column {custom.label_column!r} has {len(counts):,} different labels in {counts.total():,} rows "
            f"({', '.join(map(repr, (custom.labels or [])[:3]))} ...). If they are classes, say "
            "`--data.custom.kind classification`"
            f"{'; if numbers, `--data.custom.decimal_comma true`' if commas else ''}."
        )
    return check_and_complete(custom, counts)


def complete_from_label_sets(custom: CustomTask, table: Table) -> tuple[CustomTask, int]:
    """Complete the settings of a multi-label task from its training rows, whose number is returned with them.

    Raises:
        DataError: A row is wrong.
        UsageError: The settings contradict each other.
    """
    custom = with_separator(custom, table)
    is_named = not isinstance(custom.label, str)
    labels = list(custom.label_columns) if is_named else [normalize_label(label) for label in _listed_labels(custom)]
    if is_named and custom.labels is not None and _listed_labels(custom) != labels:
        raise UsageError(
            f"data.custom.labels: the labels are the columns {custom.label_column}. Leave it out; label_names gives "
            "them other names."
        )
    custom = replace(custom, labels=labels or None)
    counts = count_labels(custom, table)
    known = map(normalize_label, table.class_names.get(custom.label_column, ()))
    labels = labels or [label for label in known if label in counts.of_label] or _sorted(counts.of_label)
    if not labels:
        raise DataError(f"{table.path}: no row has a label in {custom.label_column}, so there is nothing to learn.")
    return check_and_complete(replace(custom, labels=labels), counts.of_label, counts.rows), counts.rows


def _listed_labels(custom: CustomTask) -> list[str]:
    return [label_text(label) or "" for label in custom.labels or ()]


def _guess_kind(custom: CustomTask, counts: Counter[str], training: LabelColumn) -> Kind:
    if custom.decimal_comma:
        return "regression"
    if are_codes(counts):
        return "classification"
    words = [label for label in counts if not is_number(label)]
    if words and len(words) < len(counts):
        row = [normalize_label(label or "") for label in training.labels].index(words[0])
        others = counts.total() - sum(counts[word] for word in words)
        raise DataError(
            f"{training.place(row)}: the label is {words[0]!r}, while {others:,} other rows have numbers."
            f"{header_hint(words[0], custom.label_column)} Correct it, or say what they are: `--data.custom.kind "
            "classification`, or regression."
        )
    has_decimals = not words and any(not float(label).is_integer() for label in counts)
    return "regression" if not words and (has_decimals or len(counts) > _MOST_NUMERIC_CLASSES) else "classification"


def _sorted(labels: Iterable[str]) -> list[str]:
    """Numbers by value, then other labels alphabetically."""
    values = {label: float(label) if is_number(label) else None for label in labels}
    return sorted(values, key=lambda label: (values[label] is None, values[label] or 0.0, label))


def _levels(labels: Iterable[str]) -> list[str]:
    """Numbers by value; the order of other labels is not known."""
    ordered = _sorted(labels)
    if words := [label for label in ordered if not is_number(label)]:
        raise UsageError(
            f"data.custom.kind: got ordinal, and {words[0]!r} is no number, so that the order of the labels is not "
            f"known. Give them from the lowest to the highest: `--data.custom.labels '{to_flag(ordered[:20])}'`."
        )
    return ordered


def check_and_complete(custom: CustomTask, counts: Counter[str] | None = None, rows: int | None = None) -> CustomTask:
    """Check the settings of a task whose kind and labels are known, and fill in those that follow from them.

    Balanced class weights follow from ``counts``, the number of training rows of each label, and for a multi-label task
    from the number of all ``rows``.

    Raises:
        DataError: There is only one label.
        UsageError: The settings contradict each other.
    """
    labels = None if custom.kind == "regression" else _listed_labels(custom)
    if custom.thresholds is not None and custom.kind != "multi_label":
        raise UsageError(
            f"data.custom.thresholds: got {custom.thresholds}, but the task is {custom.kind}. Thresholds are for rows "
            "with any number of labels (data.custom.kind multi_label); leave them out."
        )
    if labels is not None:
        _check_classes(custom, labels)
        if custom.kind == "ordinal" and custom.class_weights:
            raise UsageError(
                "data.custom.class_weights: an ordinal task is trained on the numbers of its labels, which have no "
                "weights. Leave them out, or say `--data.custom.kind classification`."
            )
    elif custom.labels or custom.label_names or custom.class_weights:
        raise UsageError("data.custom: a regression task has no labels, label_names or class_weights.")
    positive = _positive(custom, labels)
    joins = any(len(parts) > 1 for parts in custom.inputs.texts)
    return replace(
        custom,
        text=list(custom.text_columns),
        text_separator=SEPARATOR if joins and custom.text_separator is None else custom.text_separator,
        labels=labels,
        positive=positive,
        metrics=_metrics(custom, labels, positive),
        class_weights=_class_weights(custom, labels or [], counts or Counter(), rows or 0),
    )


def _check_classes(custom: CustomTask, labels: list[str]) -> None:
    names = custom.label_names or labels
    if len(set(labels)) < len(labels) or len(set(names)) < len(names) or "" in [*labels, *names]:
        raise UsageError(f"data.custom: a label is empty or given twice in {labels} ({names}).")
    if len(names) != len(labels):
        raise UsageError(
            f"data.custom.label_names: {len(names)} names for {len(labels)} labels ({', '.join(labels)}); give as many."
        )
    if len(labels) < 2:
        learn = "so there is nothing to learn"
        if custom.kind == "multi_label":
            learn = "and a multi-label task needs two. Give rows with and without it two labels of kind classification"
        raise DataError(f"Column {custom.label_column!r} has only one label, {labels[0]!r}, {learn}.")


def _positive(custom: CustomTask, labels: list[str] | None) -> str | None:
    """The positive one of two labels: the one given in the settings, by label or by name, else the last."""
    if labels is None or len(labels) != 2 or custom.kind in ("multi_label", "ordinal"):
        if custom.positive is not None:
            what = "a regression" if labels is None else f"{len(labels)} labels ({', '.join(labels[:20])})"
            what = {"multi_label": "any number of labels a row", "ordinal": "labels in order"}.get(
                custom.kind or "", what
            )
            raise UsageError(f"data.custom.positive is for two labels; this task has {what}. Leave it out.")
        return None
    if custom.positive is None:
        return labels[-1]
    for known in (labels, custom.label_names or labels):
        wanted, *normalized = (normalize_label(label_text(label) or "") for label in (custom.positive, *known))
        if wanted in normalized:
            return labels[normalized.index(wanted)]
    raise UsageError(
        f"data.custom.positive: {custom.positive!r} is not a label.{did_you_mean(custom.positive, labels)} "
        f"Allowed: {', '.join(labels)}."
    )


def _metrics(custom: CustomTask, labels: list[str] | None, positive: str | None) -> list[Any]:
    kind: Kind = custom.kind or "classification"
    if not custom.metrics and kind == "multi_label":
        return ["micro_f1", "macro_f1"]
    if not custom.metrics and kind == "ordinal":
        return ["quadratic_weighted_kappa", "accuracy", "mae", "spearmanr"]
    if not custom.metrics:
        return ["accuracy", "f1" if len(labels) == 2 else "macro_f1"] if labels else ["pearson", "spearmanr"]
    names, written = tuple(custom.label_names or labels or ()), tuple(labels or ())
    place = labels.index(positive) if labels and positive is not None else 1
    target = Target(kind, names, written, place)
    parse_metrics(custom.metrics, target, "data.custom.metrics")
    return join_entries(custom.metrics)


def _class_weights(custom: CustomTask, labels: list[str], counts: Counter[str], rows: int) -> list[float] | None:
    """The given weights; balanced ones give each class the same total weight, and rows a mean weight of 1.

    Those of a multi-label task are the rows without a label over those with it, or 1 if all or none have it.
    """
    weights = custom.class_weights
    if weights == "balanced" and custom.kind == "multi_label":
        return [round(rows / counts[label] - 1, 6) if 0 < counts[label] < rows else 1.0 for label in labels]
    if weights == "balanced":
        return [round(counts.total() / (len(labels) * counts[label]), 6) if counts[label] else 1.0 for label in labels]
    if weights is not None and (len(weights) != len(labels) or not all(0 <= w < math.inf for w in weights)):
        raise UsageError(
            f"data.custom.class_weights: got {weights}, allowed: balanced, or {len(labels)} numbers from 0 up "
            f"({', '.join(labels)})."
        )
    return weights
