"""Labels as texts: which are equal, which are numbers, and which only look alike."""

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

from glue_lit.system.untrusted_text import Value

_INVISIBLE = "\u200b\u2060\ufeff"  # spaces without width; not the joiners, which some scripts need
_ENDS = "".join(chr(code) for code in range(0x3001) if chr(code).isspace()) + _INVISIBLE
# As programs write numbers: with a point, or a sign in the exponent. 2E65, 0x1F and 1_000 are codes.
_NUMBER = re.compile(r"[+-]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+(?:[eE][+-][0-9]+)?)", re.ASCII)
_WITH_COMMA = re.compile(r"[+-]?(?:[0-9]+|[0-9]{1,3}(?:\.[0-9]{3})+),[0-9]+", re.ASCII)  # 3,5 and 1.234,5
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+", re.ASCII)


def label_text(value: Value) -> str | None:
    """A label as text, the same from every file format: 1.0 becomes 1, an empty field ``None``."""
    return _known_label_text(value) if type(value) is str else _label_text(value)


def _label_text(value: Value) -> str | None:
    if value is None:
        return None
    text = str(value).lower() if isinstance(value, bool) else str(value).strip(_ENDS)
    return re.sub(r"^(-?[0-9]+)\.0+$", r"\1", text) or None


_known_label_text = lru_cache(4096)(_label_text)  # millions of rows have a few labels


def normalize_label(label: str) -> str:
    """The common form of equal labels: composed characters (NFC), no invisible ones, 0 for -0."""
    if not label.isascii():
        label = unicodedata.normalize("NFC", re.sub(f"[{_INVISIBLE}]", "", label))
    return "0" if label == "-0" else label


def parse_number(label: str, decimal_comma: bool = False) -> float | None:
    """A regression label as a number; ``None`` if it is not one."""
    if decimal_comma and _WITH_COMMA.fullmatch(label):
        label = label.replace(".", "").replace(",", ".")
    try:
        number = float(label) if "_" not in label else math.nan  # only Python reads 1_0 as 10
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def is_number(label: str) -> bool:
    """Whether a label is written as programs write numbers, so that it cannot be meant as a code."""
    return _NUMBER.fullmatch(label) is not None and math.isfinite(float(label))


def are_codes(labels: Iterable[str]) -> bool:
    """Whether all labels are digits, and some have a leading zero, as in 007."""
    known = list(labels)
    return all(re.fullmatch("[0-9]+", label) for label in known) and any(re.match("0[0-9]", label) for label in known)


def have_decimal_commas(labels: Iterable[str], separator: str) -> bool:
    """Whether labels are numbers with a decimal comma, as in files whose columns are separated by semicolons.

    Args:
        labels: As written.
        separator: Character between the columns of their file; with tabs, the comma of 1,234 may separate thousands.
    """
    known = set(labels)
    commas = {label for label in known if _WITH_COMMA.fullmatch(label)}
    if separator == "," or not commas or not all(re.fullmatch("[+-]?[0-9]+", label) for label in known - commas):
        return False
    return separator == ";" or not all(_THOUSANDS.fullmatch(label) for label in commas)


def find_look_alikes(labels: Sequence[str]) -> list[list[str]]:
    """Group labels that differ only in case, in spaces, hyphens and the like, or in how a number is written."""
    groups: dict[str | float, list[str]] = {}
    for label in labels:
        folded = unicodedata.normalize("NFKC", label).casefold()
        bare = "".join(c for c in folded if unicodedata.category(c) not in ("Cf", "Zs", "Cc", "Pd", "Pc"))
        number = parse_number(folded) if is_number(folded) else None
        groups.setdefault((bare or label) if number is None else number, []).append(label)
    return [group for group in groups.values() if len(group) > 1]
