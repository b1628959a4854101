"""Labels of a multi-label task as data write them: lists, names in a text, or a column of 0 and 1 for each label."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from glue_lit.data.label_texts import label_text, normalize_label
from glue_lit.data.table import Table
from glue_lit.errors import DataError, did_you_mean
from glue_lit.system.untrusted_text import Value
from glue_lit.tasks.custom import CustomTask

SEPARATORS = (";", "|", ",")
_MOST_EMPTY = 10_000  # rows in which a list is looked for
_YES_NO = {"1": True, "true": True, "0": False, "false": False}


@dataclass(frozen=True)
class LabelCounts:
    """How often each label occurs.

    Attributes:
        rows: Number of rows.
        of_label: Number of rows with each label.
    """

    rows: int
    of_label: Counter[str]


class LabelSets:
    """Reads the labels of rows, whose values in the label columns are given.

    Args:
        custom: The task; its labels, where they are known, are the only ones allowed.
        name_place: Gives the name of a row in messages, from its number.
    """

    def __init__(self, custom: CustomTask, name_place: Callable[[int], str]) -> None:
        self._custom, self._place = custom, name_place
        self._numbers = {normalize_label(label): number for number, label in enumerate(custom.labels or [])}

    def parse(self, values: Sequence[Value], number: int) -> tuple[int, ...] | None:
        """Numbers of a row's labels, ascending; ``None`` where its labels are not known.

        Args:
            values: Its values in the label columns.
            number: Its number in the file.

        Raises:
            DataError: A value is not a label of the task, or is given twice.
        """
        names = self.names(values, number)
        return None if names is None else tuple(sorted(self._numbers[name] for name in names))

    def names(self, values: Sequence[Value], number: int) -> list[str] | None:
        """The labels of a row; see `parse`."""
        if not isinstance(self._custom.label, str):
            return self._of_columns(values, number)
        (value,) = values
        if value is None:
            return None
        found = [label_text(item) for item in value] if isinstance(value, tuple) else self._of_text(value, number)
        if None in found:
            raise DataError(f"{self._place(number)}: there is an empty label in {value!r}. Take it out.")
        names = [normalize_label(name) for name in found if name is not None]
        self._check(names, number)
        return names

    def _of_text(self, value: Value, number: int) -> list[str | None]:
        text = label_text(value)
        if text is None:
            return []
        if text.startswith("[") and text.endswith("]"):
            raise DataError(
                f"{self._place(number)}: {text[:60]!r} is a list written as text. Write the labels as a;b, or write "
                "JSONL or Parquet, which have lists (pandas: `to_json(orient='records', lines=True)`)."
            )
        separator = self._custom.label_separator
        return [label_text(part) for part in text.removesuffix(separator).split(separator)] if separator else [text]

    def _of_columns(self, values: Sequence[Value], number: int) -> list[str] | None:
        columns, texts = self._custom.label_columns, [label_text(value) for value in values]
        if not any(texts):
            return None
        for column, text in zip(columns, texts, strict=True):
            if (text or "").lower() not in _YES_NO:
                raise DataError(
                    f"{self._place(number)}: column {column!r} is {text or 'empty'!r}. Allowed in the column of a "
                    "label: 0, 1, false, true."
                )
        return [normalize_label(c) for c, text in zip(columns, texts, strict=True) if _YES_NO[str(text).lower()]]

    def _check(self, names: Sequence[str], number: int) -> None:
        if len(set(names)) < len(names):
            twice = Counter(names).most_common(1)[0][0]
            raise DataError(f"{self._place(number)}: label {twice!r} is given twice. Keep one.")
        for name in names if self._numbers else ():
            if name not in self._numbers:
                raise DataError(f"{self._place(number)}: {self._unknown(name)}")

    def _unknown(self, name: str) -> str:
        labels = self._custom.labels or []
        separator = next((one for one in SEPARATORS if one in name), None)
        hint = did_you_mean(name, labels)
        if separator is not None and self._custom.label_separator is None:
            hint += f" If these are several, say so: `--data.custom.label_separator '{separator}'`."
        listed = f"{', '.join(labels[:20])}{' ...' if len(labels) > 20 else ''}"
        return f"label {name!r} is not one of the task's.{hint} Its labels are: {listed}."


def holds_lists(table: Table, column: str) -> bool:
    """Whether the first known value of a column is a list."""
    first = (value for _, (value,) in islice(table.rows([column]), _MOST_EMPTY) if value is not None)
    return isinstance(next(first, None), tuple)


def is_unknown(table: Table, custom: CustomTask) -> bool:
    """Whether no row of a table has a label in a column of texts, so that it has rows whose labels are not known."""
    if not isinstance(custom.label, str):
        return False
    return not any(isinstance(value, tuple) or label_text(value) for _, (value,) in table.rows([custom.label]))


def find_separators(table: Table, column: str) -> tuple[str, ...]:
    """Those of `SEPARATORS` that occur in the texts of a column."""
    left, found = list(SEPARATORS), set[str]()
    for _, (value,) in table.rows([column]):
        if isinstance(value, str):
            found |= {one for one in left if one in value}
            left = [one for one in left if one not in found]
            if not left:
                break
    return tuple(one for one in SEPARATORS if one in found)


def count_labels(custom: CustomTask, table: Table) -> LabelCounts:
    """Count the labels of the training rows, all of which must be labelled.

    Raises:
        DataError: A row's labels are not known, or not right.
    """
    sets, rows, counts = LabelSets(custom, table.place), 0, Counter[str]()
    for number, values in table.rows(custom.label_columns):
        names = sets.names(values, number)
        if names is None:
            raise unlabelled(table.place(number), custom)
        counts.update(names)
        rows += 1
    return LabelCounts(rows, counts)


def unlabelled(place: str, custom: CustomTask) -> DataError:
    """The error for a training row whose labels are not known."""
    how = "[] or an empty text" if isinstance(custom.label, str) else "0 in each column"
    return DataError(
        f"{place}: no value in {custom.label_column}, so its labels are not known. Write {how} for a row without any "
        "label, or take the row out."
    )


def with_separator(custom: CustomTask, table: Table) -> CustomTask:
    """The task with the separator of its labels, read from the training rows; lists and columns have none."""
    if custom.label_separator is not None or not isinstance(custom.label, str):
        return custom
    return replace(custom, label_separator=next(iter(find_separators(table, custom.label)), None))


def describe_label_sets(custom: CustomTask) -> Iterator[str]:
    """Say how the labels of a row are read."""
    if custom.label_separator is not None:
        one, others = custom.label_separator, [each for each in SEPARATORS if each != custom.label_separator]
        inside = [each for each in others if any(each in label for label in custom.labels or ())]
        rest = f", and {' '.join(inside)} belongs to their names" if inside else ""
        yield f"Labels are separated by {one!r}{rest} (data.custom.label_separator)"
