"""Labels as texts: which are the same one, which are numbers, and which only look alike."""

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence

from glue_lit.system.untrusted_text import Value

_INVISIBLE = "\u200b\u2060\ufeff"  # spaces without width; the joiners are part of how some scripts are written
_ENDS = "".join(chr(code) for code in range(0x3001) if chr(code).isspace()) + _INVISIBLE
# As programs write numbers: with a point, or a sign in the exponent. 2E65, 0x1F and 1_000 are codes.
_NUMBER = re.compile(r"[+-]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+(?:[eE][+-][0-9]+)?)", re.ASCII)
_WITH_COMMA = re.compile(r"[+-]?(?:[0-9]+|[0-9]{1,3}(?:\.[0-9]{3})+),[0-9]+", re.ASCII)  # 3,5 and 1.234,5
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+", re.ASCII)


def label_of(value: Value) -> str | None:
    """A label as text, the same from every format: a whole number without decimals, nothing for an empty field."""
    if value is None:
        return None
    written = str(value).lower() if isinstance(value, bool) else str(value).strip(_ENDS)
    return re.sub(r"^(-?[0-9]+)\.0+$", r"\1", written) or None


def same_label(label: str) -> str:
    """What two ways to write one label have in common: composed characters (NFC), nothing invisible, 0 for -0."""
    if not label.isascii():
        label = unicodedata.normalize("NFC", re.sub(f"[{_INVISIBLE}]", "", label))
    return "0" if label == "-0" else label


def number_in(written: str, decimal_comma: bool = False) -> float | None:
    """The number that a label of a regression task is; ``None`` if it is none."""
    if decimal_comma and _WITH_COMMA.fullmatch(written):
        written = written.replace(".", "").replace(",", ".")
    try:
        number = float(written) if "_" not in written else math.nan  # 1_0 is 10 to Python, and to nobody else
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def is_number(label: str) -> bool:
    """Whether a label is written as programs write numbers, so that nobody would take it for a code."""
    return _NUMBER.fullmatch(label) is not None and math.isfinite(float(label))


def are_codes(labels: Iterable[str]) -> bool:
    """Whether these are digits, and some begin with a zero that a number would not have: 007."""
    found = list(labels)
    return all(re.fullmatch("[0-9]+", label) for label in found) and any(re.match("0[0-9]", label) for label in found)


def have_decimal_commas(labels: Iterable[str], separator: str) -> bool:
    """Whether numbers are written with a decimal comma, as where spreadsheets separate columns by semicolons.

    Args:
        labels: As written.
        separator: Between the columns of their file; with tabs, 1,234 may have its comma for the thousands.
    """
    found = list(labels)
    commas = [label for label in found if _WITH_COMMA.fullmatch(label)]
    if separator == "," or not commas or not all(re.fullmatch("[+-]?[0-9]+", x) for x in set(found) - set(commas)):
        return False
    return separator == ";" or not all(_THOUSANDS.fullmatch(label) for label in commas)


def look_alikes(labels: Sequence[str]) -> list[list[str]]:
    """Labels that differ only in case, in blanks, hyphens and the like, or in how a number is written."""
    groups: dict[str | float, list[str]] = {}
    for label in labels:
        folded = unicodedata.normalize("NFKC", label).casefold()
        bare = "".join(c for c in folded if unicodedata.category(c) not in ("Cf", "Zs", "Cc", "Pd", "Pc"))
        number = number_in(folded) if is_number(folded) else None
        groups.setdefault((bare or label) if number is None else number, []).append(label)
    return [group for group in groups.values() if len(group) > 1]
