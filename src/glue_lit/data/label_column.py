"""`LabelColumn`: the label column of a user's own task, and the class or score of each row."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from glue_lit.data.label_texts import is_number, label_text, normalize_label, parse_number
from glue_lit.data.rows import Label
from glue_lit.data.table import Table
from glue_lit.errors import DataError, did_you_mean
from glue_lit.tasks.custom import CustomTask

_MOST_DIFFERENT = 200_000  # labels in memory, where they may be scores


@dataclass(frozen=True)
class LabelColumn:
    """Labels as written, and their places in the file: of each row, or each different label with its first row.

    Attributes:
        labels: Each label; ``None`` for rows that have none.
        numbers: Number of its row in the file.
        name_place: Gives the name of a row in messages, from its number.
        classes: Names of the classes in the data set's own order, if it has one.
        separator: Character between the columns of the file; a comma in formats without one.
        rows: How many rows have each label; ``None`` for one each.
    """

    labels: Sequence[str | None]
    numbers: Sequence[int]
    name_place: Callable[[int], str]
    classes: Sequence[str] = ()
    separator: str = ","
    rows: Sequence[int] | None = None

    @classmethod
    def of_table(cls, table: Table, name: str, has_scores: bool) -> Self:
        """The different labels of a column in the order of their first rows; the rows are not kept.

        Args:
            table: The table.
            name: The column.
            has_scores: Whether numbers with decimals cannot be classes.
        """
        found: dict[str | None, list[int]] = {}  # number of the first row, and how many
        decimal: str | None = None
        for number, (value,) in table.rows([name]):
            label = label_text(value)
            if label not in found and len(found) >= _MOST_DIFFERENT and has_scores and _is_decimal(label):
                decimal = decimal or next(filter(_is_decimal, found), None)
                label = label if decimal is None else decimal  # one tells as much about the column as all of them
            found.setdefault(label, [number, 0])[1] += 1
        numbers, rows = zip(*found.values(), strict=True)
        return cls(list(found), numbers, table.place, table.class_names.get(name, ()), table.separator, rows)

    def count(self) -> Counter[str]:
        """How many rows have each label; equal ones that are written differently are one."""
        counts: Counter[str] = Counter()
        for label, rows in zip(self.labels, self.rows or [1] * len(self.labels), strict=True):
            if label is not None:
                counts[normalize_label(label)] += rows
        return counts

    def place(self, row: int) -> str:
        """Name a row (from 0) in a message."""
        return self.name_place(self.numbers[row])

    def check_complete(self, name: str) -> None:
        """Refuse training rows without a label.

        Raises:
            DataError: A training row has no label.
        """
        unlabelled = [row for row, label in enumerate(self.labels) if label is None]
        if unlabelled:
            count = sum(self.rows[row] for row in unlabelled) if self.rows else len(unlabelled)
            raise missing_labels(self.place(unlabelled[0]), count, name)

    def parse(self, custom: CustomTask) -> list[Label]:
        """The class number or score of each row, ``None`` where it has no label.

        Raises:
            DataError: A label is not a class of the task, or not a number.
        """
        if custom.kind == "regression":
            return self._parse_scores(custom.decimal_comma or False, custom.label_column)
        return self._parse_classes(custom.labels or [], custom.label_column)

    def _parse_classes(self, labels: Sequence[str], column: str) -> list[Label]:
        normalize: Callable[[str], str] = normalize_label
        numbers = {normalize(label): number for number, label in enumerate(labels)}
        if len(numbers) < len(labels):  # in older runs, -0 and 0 may be two labels
            normalize = str
            numbers = {label: number for number, label in enumerate(labels)}
        known: dict[str | None, Label] = {None: None}
        for row, label in enumerate(self.labels):
            if label not in known:
                number = numbers.get(normalize(label or ""))
                if number is None:
                    hint = header_hint(label, column) or did_you_mean(label or "", labels)
                    listed = ", ".join(labels[:20])
                    raise DataError(
                        f"{self.place(row)}: label {label!r} is not one of the task's.{hint} "
                        f"Its labels are: {listed}{' ...' if len(labels) > 20 else ''}."
                    )
                known[label] = number
        return [known[label] for label in self.labels]

    def _parse_scores(self, decimal_comma: bool, column: str) -> list[Label]:
        scores: list[Label] = []
        for row, label in enumerate(self.labels):
            score = None if label is None else parse_number(label, decimal_comma)
            if label is not None and score is None:
                raise DataError(
                    f"{self.place(row)}: {label!r} is not a number, as a regression task needs."
                    f"{header_hint(label, column)} Correct it, or say `--data.custom.kind classification`."
                )
            scores.append(score)
        return scores


def missing_labels(place: str, count: int, column: str) -> DataError:
    """The error for training rows without a label."""
    return DataError(
        f"{place}: no label in column {column!r}, as in {count} training row(s). Label them or take them out."
    )


def _is_decimal(label: str | None) -> bool:
    return label is not None and not label.isdecimal() and is_number(label)


def header_hint(label: str | None, column: str) -> str:
    """What to say of a label that is the column's name."""
    return " The row repeats the header: take it out." if label == column else ""
