"""Read lines, JSON objects and values of untrusted files; errors name the file and the line."""

import codecs
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from glue_lit.errors import DataError

Plain = str | int | float | bool | None
Value = Plain | tuple[Plain, ...]  # several where a column may hold lists


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a UTF-8 file with their numbers (from 1) and line ends, without a byte order mark.

    Raises:
        DataError: It cannot be read, or is not UTF-8 text (the message names the line).
    """
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if number > 1 and raw.isascii() and b"\0" not in raw:  # most lines, by the hundred million
                    yield number, raw.decode("ascii")
                    continue
                line = raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw
                yield number, decode_utf8(line, f"{path}, line {number}")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None


def decode_utf8(raw: bytes, place: str) -> str:
    """Decode UTF-8.

    Raises:
        DataError: It is not UTF-8, or has a NUL byte.
    """
    if b"\0" in raw:
        raise DataError(
            f"{place}: there is a NUL byte, so this is not UTF-8 text (UTF-16?). "
            "Convert the file, e.g. `iconv -f utf-16 -t utf-8`."
        )
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        advice = _how_to_convert(raw, error.start)
        raise DataError(f"{place}: byte 0x{raw[error.start]:02x} is not UTF-8. {advice}") from None


def _how_to_convert(raw: bytes, at: int) -> str:
    """Show the word at a position of a line as Windows-1252 has it, so that the user sees whether it is right."""
    save = "save the file as UTF-8 in the program that wrote it (in Excel: `CSV UTF-8`)."
    try:
        text = raw.decode("cp1252")  # a character for each byte
    except UnicodeDecodeError:  # it leaves five bytes without a character
        return f"Nor is the line in Windows-1252 (cp1252), as Excel writes it: {save}"
    word = re.split(r"[\s,;]", text[:at])[-1][-20:] + re.split(r"[\s,;]", text[at:])[0][:20]
    return (
        f"In Windows-1252, as Excel writes it, it reads {word!r}. If that is right, convert the file with "
        f"`iconv -f cp1252 -t utf-8`; else {save}"
    )


def parse_json_object(line: str, place: str) -> dict[str, Any]:
    """Parse the JSON object on a line.

    Raises:
        DataError: The line is not a JSON object, or the object has a key twice.
    """
    try:
        values = _decode(line)
    except _DuplicateKeyError as error:
        raise DataError(f"{place}: the key {error.args[0]!r} is given twice; keep one.") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: not JSON ({error.msg} at character {error.pos + 1}).") from None
    except ValueError as error:  # a number of thousands of digits
        raise DataError(f"{place}: not JSON that can be read ({error}).") from None
    except RecursionError:
        raise DataError(f"{place}: not JSON that can be read (nested too deeply).") from None
    if not isinstance(values, dict):
        raise DataError(
            f"{place}: a JSON {_KINDS.get(type(values), 'value')}, where an object is needed on each line: "
            '{"text": "...", "label": "..."}.'
        )
    return values


class _DuplicateKeyError(ValueError):
    """An object has a key twice; Python would silently take the last value."""


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise _DuplicateKeyError(Counter(key for key, _ in pairs).most_common(1)[0][0])
    return values


_decode = json.JSONDecoder(object_pairs_hook=_refuse_duplicates).decode
_KINDS: dict[type, str] = {list: "list", str: "string", int: "number", float: "number"}


def plain_value(value: Any, column: str, place: str) -> Plain:
    """Check that a value is a text, number, boolean or ``None``; NaN, pandas' missing value, becomes ``None``.

    From Parquet, a decimal number becomes a usual one, and bytes become text.

    Raises:
        DataError: It is something else, or a text with half of a surrogate pair.
    """
    if isinstance(value, str) and not is_encodable(value):
        raise DataError(
            f"{place}: column {column!r} holds half of a surrogate pair (\\ud800 to \\udfff), which is not a character."
        )
    if isinstance(value, bytes):
        value = decode_utf8(value, f"{place}, column {column!r}")
    if isinstance(value, Decimal):
        is_whole = value.is_finite() and value == value.to_integral_value()
        value = int(value) if is_whole else float(value)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else value
    raise DataError(
        f"{place}: column {column!r} holds a {type(value).__name__}; a text or a number is needed. "
        "Only the labels of a multi-label task (`--data.custom.kind multi_label`), and columns in templates or joined "
        "texts, may be lists."
    )


def is_encodable(value: str) -> bool:
    """Whether a text can be encoded as UTF-8; half of a surrogate pair cannot."""
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False


def id_as_text(value: Value) -> str:
    """An id as text; empty for ``None``. An integer loses the ``.0`` that pandas adds in a column with missing ids."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else str(value).strip()
