"""Labels as the user's data have them: what kind they are, and which class or number each one is."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from glue_lit.data.label_texts import (
    are_codes,
    have_decimal_commas,
    is_number,
    label_of,
    number_in,
    same_label,
)
from glue_lit.data.rows import Label
from glue_lit.errors import DataError, UsageError, did_you_mean
from glue_lit.tasks.custom import CustomTask, Kind
from glue_lit.tasks.spec import CLASSIFICATION_METRICS, REGRESSION_METRICS

_MOST_CLASSES_OF_NUMBERS = 20  # more different numbers than that are taken for a scale


@dataclass(frozen=True)
class Labelled:
    """Labels as written, ``None`` where there is none.

    Attributes:
        labels: One for each row.
        numbers: The row's number in its file.
        place: What a message calls the row of a number.
        classes: Names of the classes in the data set's own order, where it has one.
        separator: Between the columns of the file; a comma where it has none.
    """

    labels: Sequence[str | None]
    numbers: Sequence[int]
    place: Callable[[int], str]
    classes: Sequence[str] = ()
    separator: str = ","

    def where(self, row: int) -> str:
        """What a message calls a row (from 0)."""
        return self.place(self.numbers[row])


def complete(custom: CustomTask, training: Labelled) -> CustomTask:
    """Fill in what the settings leave open from the labels of the training rows, all of which have one.

    Raises:
        DataError: Nothing can be made of the labels.
        UsageError: The settings contradict themselves.
    """
    counts = Counter(same_label(label) for label in training.labels if label is not None)
    if custom.decimal_comma is None and custom.kind != "classification" and not custom.labels and not training.classes:
        custom = replace(custom, decimal_comma=have_decimal_commas(counts, training.separator) or None)
    named = custom.labels or training.classes
    kind: Kind = custom.kind or ("classification" if named else _kind(custom, counts, training))
    if kind == "regression":
        settled = _settled(custom, kind, None, counts)
        numbers(training, settled.decimal_comma or False)
        return settled
    found = [label for label in map(same_label, training.classes) if label in counts] or _sorted(counts)
    labels = [same_label(label) for label in _written(custom)] or found
    class_numbers(training, labels)
    is_named = bool(named or custom.kind)
    if not is_named and len(counts) > max(20, counts.total() // 4):
        commas = have_decimal_commas(counts, ";")
        raise DataError(
            f"Column {custom.label!r} has {len(counts):,} different labels in {counts.total():,} rows "
            f"({', '.join(map(repr, labels[:3]))} ...). If they are classes, say `--data.custom.kind classification`"
            f"{'; if numbers, `--data.custom.decimal_comma true`' if commas else ''}."
        )
    return _settled(custom, kind, labels, counts)


def checked(custom: CustomTask) -> CustomTask:
    """A task of which all is said, looked at as one that is completed from its rows.

    Raises:
        DataError: It has one label only.
        UsageError: The settings contradict themselves.
    """
    return _settled(custom, custom.kind, None if custom.kind == "regression" else _written(custom), Counter())


def _written(custom: CustomTask) -> list[str]:
    return [label_of(label) or "" for label in custom.labels or ()]


def _settled(custom: CustomTask, kind: Kind | None, labels: list[str] | None, counts: Counter[str]) -> CustomTask:
    if labels is not None:
        _check_classes(custom, labels, counts)
    elif custom.labels or custom.label_names or custom.class_weights:
        raise UsageError("data.custom: a regression task has no labels, label_names or class_weights.")
    return replace(
        custom,
        text=list(custom.text_columns),
        kind=kind,
        labels=labels,
        positive=_positive(custom, labels),
        metrics=_metrics(custom.metrics, labels),
        class_weights=_weights(custom, labels or [], counts),
    )


def _kind(custom: CustomTask, counts: Counter[str], training: Labelled) -> Kind:
    """What the labels look like."""
    if custom.decimal_comma:
        return "regression"
    if are_codes(counts):
        return "classification"
    words = [label for label in counts if not is_number(label)]
    if words and len(words) < len(counts):
        row = list(map(same_label, (label or "" for label in training.labels))).index(words[0])
        others = counts.total() - sum(counts[word] for word in words)
        raise DataError(
            f"{training.where(row)}: the label is {words[0]!r}, while {others:,} other rows have numbers. Mend it, or "
            "say what they are: `--data.custom.kind classification`, or regression."
        )
    if not words and (len(counts) > _MOST_CLASSES_OF_NUMBERS or any(not float(n).is_integer() for n in counts)):
        return "regression"
    return "classification"


def _sorted(counts: Counter[str]) -> list[str]:
    """Numbers by their value, then the others by letter."""
    known = {label: float(label) if is_number(label) else None for label in counts}
    return sorted(counts, key=lambda label: (known[label] is None, known[label] or 0.0, label))


def _check_classes(custom: CustomTask, labels: list[str], counts: Counter[str]) -> None:
    names = custom.label_names or labels
    if len(set(labels)) < len(labels) or len(set(names)) < len(names) or "" in [*labels, *names]:
        raise UsageError(f"data.custom: a label is empty or there twice in {labels} ({names}).")
    if len(names) != len(labels):
        raise UsageError(
            f"data.custom.label_names: {len(names)} names for {len(labels)} labels ({', '.join(labels)}); give as many."
        )
    if len(labels) < 2:
        raise DataError(f"Column {custom.label!r} has one label only, {labels[0]!r}: there is nothing to tell apart.")


def _positive(custom: CustomTask, labels: list[str] | None) -> str | None:
    """Of two labels, the positive one: that of the settings, by its label or its name, else the last."""
    if labels is None or len(labels) != 2:
        if custom.positive is not None:
            what = "a regression" if labels is None else f"{len(labels)} labels ({', '.join(labels[:20])})"
            raise UsageError(f"data.custom.positive is for two labels; this task has {what}. Leave it out.")
        return None
    if custom.positive is None:
        return labels[-1]
    wanted = same_label(label_of(custom.positive) or "")
    for known in (labels, custom.label_names or labels):
        same = [same_label(label_of(label) or "") for label in known]
        if wanted in same:
            return labels[same.index(wanted)]
    raise UsageError(
        f"data.custom.positive: {custom.positive!r} is no label.{did_you_mean(custom.positive, labels)} "
        f"Allowed: {', '.join(labels)}."
    )


def _metrics(wanted: Sequence[str] | None, labels: list[str] | None) -> list[str]:
    if labels is None:
        allowed, usual = list(REGRESSION_METRICS), list(REGRESSION_METRICS)
    else:
        allowed = [name for name in CLASSIFICATION_METRICS if name != "f1" or len(labels) == 2]
        usual = ["accuracy", "f1" if len(labels) == 2 else "macro_f1"]
    for name in wanted or ():
        if name not in allowed:
            what = f"{len(labels)} labels" if labels is not None else "regression"
            raise UsageError(
                f"data.custom.metrics: {name!r} is no metric for {what}.{did_you_mean(name, allowed)} "
                f"Allowed: {', '.join(allowed)}."
            )
    return list(wanted or usual)


def _weights(custom: CustomTask, labels: list[str], counts: Counter[str]) -> list[float] | None:
    """The factors of the classes; balanced ones weigh each class alike and a row 1 on the mean."""
    weights = custom.class_weights
    if weights == "balanced":
        return [round(counts.total() / (len(labels) * counts[label]), 6) if counts[label] else 1.0 for label in labels]
    if weights is not None and (len(weights) != len(labels) or not all(0 <= w < math.inf for w in weights)):
        raise UsageError(
            f"data.custom.class_weights: got {weights}, allowed: balanced, or {len(labels)} numbers from 0 up "
            f"({', '.join(labels)})."
        )
    return weights


def class_numbers(labelled: Labelled, labels: Sequence[str]) -> list[Label]:
    """The class of each row, ``None`` where it has no label.

    Raises:
        DataError: A row has another label.
    """
    places = {same_label(label): number for number, label in enumerate(labels)}
    # A task that was learned before -0 and 0 counted as one has both.
    same = same_label if len(places) == len(labels) else str
    if same is str:
        places = {label: number for number, label in enumerate(labels)}
    known: dict[str | None, Label] = {None: None}
    for row, label in enumerate(labelled.labels):
        if label not in known:
            number = places.get(same(label or ""))
            if number is None:
                raise DataError(
                    f"{labelled.where(row)}: label {label!r} is none of the task's.{did_you_mean(label or '', labels)} "
                    f"Its labels are: {', '.join(labels[:20])}{' ...' if len(labels) > 20 else ''}."
                )
            known[label] = number
    return [known[label] for label in labelled.labels]


def numbers(labelled: Labelled, decimal_comma: bool = False) -> list[Label]:
    """The number of each row, ``None`` where it has no label.

    Args:
        labelled: The labels.
        decimal_comma: Whether 3,5 is a number.

    Raises:
        DataError: A label is no number.
    """
    found: list[Label] = []
    for row, label in enumerate(labelled.labels):
        number = None if label is None else number_in(label, decimal_comma)
        if label is not None and number is None:
            raise DataError(
                f"{labelled.where(row)}: {label!r} is no number, which a regression task needs. Mend it, or say "
                "`--data.custom.kind classification`."
            )
        found.append(number)
    return found
