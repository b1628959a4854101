"""The texts of an example, from the values of its columns."""

from collections.abc import Callable, Sequence

from glue_lit.data.table import Table
from glue_lit.errors import DataError, did_you_mean
from glue_lit.system.untrusted_text import Value
from glue_lit.tasks.text_inputs import Column, TextInputs, TextPart, double_braces

_EXACT = 1e15  # whole numbers below it are written with all their digits
CheckText = Callable[[Value, str], str]  # takes a value that is a text as it is, and its column


def render(
    inputs: TextInputs, values: Sequence[Value], place: str, check: CheckText, names: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Make the one or two texts of an example.

    In a template an empty or missing value becomes an empty text; among joined columns it is left out with its
    separator. A list is written with commas, a number as text, 3.0 as 3, and a boolean in lower case.

    Args:
        inputs: How the texts are made.
        values: The values of its columns, in their order.
        place: File and line of the row, for messages.
        check: Checks a value that is a text as it is.
        names: Names of the columns in the file, if they are others.

    Raises:
        DataError: All columns of a text are empty.
    """
    named = inputs.columns if names is None else names
    row = dict(zip(inputs.columns, zip(named, values, strict=True), strict=True))
    texts = []
    for parts in inputs.texts:
        if len(parts) == 1 and not parts[0].is_template:
            name, value = row[parts[0].columns[0]]
            texts.append(check(value, name))
            continue
        known = {name: value_text(row[name][1]) for part in parts for name in part.columns}
        if not any(known.values()):
            columns = ", ".join(repr(row[name][0]) for name in known)
            what = f"column {columns} is empty" if len(known) == 1 else f"columns {columns} are all empty"
            raise DataError(f"{place}: {what}. Write something, or take the row out.")
        filled = [_fill(part, known) for part in parts if any(known[name] for name in part.columns)]
        texts.append(inputs.separator.join(filled))
    return tuple(texts)


def _fill(part: TextPart, known: dict[str, str]) -> str:
    return "".join(known[piece.name] if isinstance(piece, Column) else piece for piece in part.pieces)


def value_text(value: Value) -> str:
    """A value as it stands in a text, a list with commas; empty if it is missing or blank."""
    if isinstance(value, tuple):
        return ", ".join(filter(None, map(value_text, value)))
    if isinstance(value, str):
        return value if value.strip() else ""
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        value = int(value)
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def check_columns(inputs: TextInputs, table: Table) -> None:
    """Refuse templates and joined columns that do not fit a table.

    Raises:
        DataError: A column is missing, or a template means two things.
    """
    listed = f"The columns are: {', '.join(map(repr, table.columns))}."
    for part in (part for parts in inputs.texts for part in parts):
        if part.is_template and part.written in table.columns:
            raise DataError(
                f"data.custom.text: got {part.written!r}, a template, but a column of {table.path} is called so. Write "
                f"{double_braces(part.written)!r} for the column, or rename it."
            )
        for name in () if inputs.is_plain else part.columns:
            if name not in table.columns:
                raise DataError(
                    f"data.custom.text: got {part.written!r}, but {table.path} has no column {name!r}."
                    f"{did_you_mean(name, table.columns)} {listed}"
                    f"{' Braces that are text are doubled: {{ and }}.' if part.is_template else ''}"
                )
    if inputs.uses_sep and "sep" in table.columns:
        raise DataError(
            f"data.custom.text: {{sep}} is the tokenizer's separator, but {table.path} also has a column 'sep'. Rename "
            "the column, or write the separator as text."
        )
