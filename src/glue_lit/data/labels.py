"""Labels as the user's data have them: what kind they are, and which class or number each one is."""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from glue_lit.custom import CustomTask, Kind
from glue_lit.data.rows import Label
from glue_lit.data.values import Value
from glue_lit.errors import DataError, UsageError, did_you_mean

_MOST_CLASSES_OF_NUMBERS = 20  # more different numbers than that are taken for a scale
_CORRELATIONS = ("pearson", "spearmanr")


@dataclass(frozen=True)
class Labelled:
    """Labels as written, ``None`` where there is none.

    Attributes:
        labels: One for each row.
        numbers: The row's number in its file.
        place: What a message calls the row of a number.
    """

    labels: Sequence[str | None]
    numbers: Sequence[int]
    place: Callable[[int], str]

    def where(self, row: int) -> str:
        """What a message calls a row (from 0)."""
        return self.place(self.numbers[row])


def label_of(value: Value) -> str | None:
    """A label as text, the same from every format: a whole number without decimals, nothing for an empty field."""
    if value is None:
        return None
    written = str(value).lower() if isinstance(value, bool) else str(value).strip()
    return re.sub(r"^(-?\d+)\.0+$", r"\1", written) or None


def _number(written: str) -> float | None:
    try:
        number = float(written) if "_" not in written else math.nan  # 1_0 is 10 to Python, and to nobody else
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def complete(custom: CustomTask, training: Labelled) -> CustomTask:
    """Fill in what the settings leave open from the labels of the training rows, all of which have one.

    Raises:
        DataError: Nothing can be made of the labels.
        UsageError: The settings contradict themselves.
    """
    counts = Counter(label for label in training.labels if label is not None)
    kind: Kind = custom.kind or ("classification" if custom.labels else _kind(counts, training))
    if kind == "regression":
        settled = _settled(custom, kind, None, counts)
        numbers(training)
        return settled
    labels = _written(custom) or _sorted(counts)
    class_numbers(training, labels)
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
        metrics=_metrics(custom.metrics, labels),
        class_weights=_weights(custom, labels or [], counts),
    )


def _kind(counts: Counter[str], training: Labelled) -> Kind:
    """What the labels look like."""
    known = {label: _number(label) for label in counts}
    words = [label for label, number in known.items() if number is None]
    if words and len(words) < len(known):
        row = list(training.labels).index(words[0])
        others = counts.total() - sum(counts[word] for word in words)
        raise DataError(
            f"{training.where(row)}: the label is {words[0]!r}, while {others:,} other rows have numbers. "
            "Mend it, or list the labels that there are: `--data.custom.labels '[a, b]'`."
        )
    if not words and (
        len(counts) > _MOST_CLASSES_OF_NUMBERS or any(not n.is_integer() for n in known.values() if n is not None)
    ):
        return "regression"
    return "classification"


def _sorted(counts: Counter[str]) -> list[str]:
    """By number if all are, else by letter."""
    return sorted(counts, key=lambda label: (_number(label) is None, _number(label) or 0.0, label))


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
    if custom.labels is None and custom.kind is None and len(counts) > max(20, counts.total() // 4):
        raise DataError(
            f"Column {custom.label!r} has {len(counts):,} different labels in {counts.total():,} rows "
            f"({', '.join(map(repr, labels[:3]))} ...). If they are classes, say `--data.custom.kind classification`."
        )


def _metrics(wanted: Sequence[str] | None, labels: list[str] | None) -> list[str]:
    from glue_lit.metrics import METRICS  # torch, which whoever only reads rows does not wait for

    if labels is None:
        allowed, usual = list(_CORRELATIONS), list(_CORRELATIONS)
    else:
        allowed = [name for name in METRICS if name not in _CORRELATIONS and (name != "f1" or len(labels) == 2)]
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
    place = {label: number for number, label in enumerate(labels)}
    for row, label in enumerate(labelled.labels):
        if label is not None and label not in place:
            raise DataError(
                f"{labelled.where(row)}: label {label!r} is none of the task's.{did_you_mean(label, labels)} "
                f"Its labels are: {', '.join(labels[:20])}{' ...' if len(labels) > 20 else ''}."
            )
    return [None if label is None else place[label] for label in labelled.labels]


def numbers(labelled: Labelled) -> list[Label]:
    """The number of each row, ``None`` where it has no label.

    Raises:
        DataError: A label is no number.
    """
    found: list[Label] = []
    for row, label in enumerate(labelled.labels):
        number = None if label is None else _number(label)
        if label is not None and number is None:
            raise DataError(
                f"{labelled.where(row)}: {label!r} is no number, which a regression task needs. Mend it, or say "
                "`--data.custom.kind classification`."
            )
        found.append(number)
    return found
