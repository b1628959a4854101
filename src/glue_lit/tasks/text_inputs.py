"""`TextInputs`: how the one or two texts of an example are made of columns: as they are, joined, or by a template."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from glue_lit.errors import UsageError

SEPARATOR = " "  # between joined columns, as text_column_delimiter of transformers' run_classification.py
_SEP = "sep"  # in a template: the tokenizer's separator
_PIECE = re.compile(r"\{\{|\}\}|\{(?P<name>[^{}]*)\}|[{}]|[^{}]+")
_UNQUOTED_LIST = re.compile(r"\[(?=[^\[\]]*\{)[^\[\]]*,[^\[\]]*\]")
_RULE = "A column stands in braces, as in '{title}: {body}'; braces that are text are doubled: {{ and }}."


@dataclass(frozen=True)
class Column:
    """A column in a template."""

    name: str


@dataclass(frozen=True)
class TextPart:
    """A column, or a template of columns and fixed text.

    Attributes:
        written: As the user writes it; for a column its name.
        pieces: Fixed texts and columns, in their order.
        is_template: Whether it is a template.
        uses_sep: Whether it asks for the tokenizer's separator.
    """

    written: str
    pieces: tuple[str | Column, ...]
    is_template: bool
    uses_sep: bool = False

    @property
    def name(self) -> str:
        """What it is called: the column, or the template on one line."""
        return " ".join(self.written.split()) if self.is_template else self.written

    @property
    def columns(self) -> tuple[str, ...]:
        """Its columns."""
        return tuple(piece.name for piece in self.pieces if isinstance(piece, Column))

    @property
    def spelled(self) -> str:
        """The template or column, with the tokenizer's separator written out."""
        if not self.is_template:
            return double_braces(self.written)
        return "".join(f"{{{p.name}}}" if isinstance(p, Column) else double_braces(p) for p in self.pieces)

    @property
    def fixed(self) -> str:
        """Its text without the columns."""
        return "".join(piece for piece in self.pieces if isinstance(piece, str))


def double_braces(text: str) -> str:
    """Write a text so that a template has it as it is."""
    return text.replace("{", "{{").replace("}", "}}")


@dataclass(frozen=True)
class TextInputs:
    """The one or two texts of an example.

    Attributes:
        texts: The parts of each text; several are joined.
        separator: Text between joined parts.
        separator_uses_sep: Whether it asks for the tokenizer's separator.
    """

    texts: tuple[tuple[TextPart, ...], ...]
    separator: str = SEPARATOR
    separator_uses_sep: bool = False

    @classmethod
    def of_columns(cls, columns: Sequence[str]) -> "TextInputs":
        """Columns as they are, one for each text."""
        return cls(tuple((TextPart(name, (Column(name),), False),) for name in columns))

    @property
    def names(self) -> tuple[str, ...]:
        """What each text is called, on one line: its column, its template, or the columns that are joined."""
        return tuple(" + ".join(part.name for part in parts) for parts in self.texts)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """All columns, each once."""
        return tuple(dict.fromkeys(name for parts in self.texts for part in parts for name in part.columns))

    @property
    def templates(self) -> tuple[TextPart, ...]:
        """The parts that are templates."""
        return tuple(part for parts in self.texts for part in parts if part.is_template)

    @cached_property
    def is_plain(self) -> bool:
        """Whether each text is a column as it is."""
        return all(len(parts) == 1 and not parts[0].is_template for parts in self.texts)

    @cached_property
    def list_columns(self) -> tuple[str, ...]:
        """Columns whose values may be lists: those in templates and joined texts."""
        as_it_is = {part.written for parts in self.texts for part in parts if len(parts) == 1 and not part.is_template}
        return tuple(name for name in self.columns if name not in as_it_is)

    @property
    def takes_strings(self) -> bool:
        """Whether each text has one column of its own, so that a string says which value it is."""
        own = [{name for part in parts for name in part.columns} for parts in self.texts]
        return all(len(names) == 1 for names in own) and len(self.columns) == len(own)

    @property
    def uses_sep(self) -> bool:
        """Whether the tokenizer's separator stands in a text."""
        joins = any(len(parts) > 1 for parts in self.texts)
        return any(part.uses_sep for part in self.templates) or (joins and self.separator_uses_sep)

    @property
    def fixed(self) -> str:
        """All text that does not come from a column."""
        between = self.separator if any(len(parts) > 1 for parts in self.texts) else ""
        return "\n".join([*(part.fixed for part in self.templates), between])


def parse_text_inputs(entries: Sequence[str], separator: str | None = None, sep_token: str | None = None) -> TextInputs:
    """Read ``data.custom.text``: one text, a pair, or parts that are joined.

    Args:
        entries: Columns and templates. One is the text; two are a pair, three or more are joined.
        separator: Text between parts; if it is given, two are joined, too.
        sep_token: What ``{sep}`` stands for; it is kept as it is as long as that is not known.

    Raises:
        UsageError: A template is malformed, or columns are missing or given twice.
    """
    if len(entries) == 1 and _UNQUOTED_LIST.fullmatch(entries[0]):
        raise UsageError(
            f"data.custom.text: got {entries[0]!r}, which may be a list of templates, or one in brackets. Quote each "
            """template of a list: '["{title}", "{body}"]'."""
        )
    parts = tuple(_parse(entry, "data.custom.text", sep_token) for entry in entries)
    for entry, part in zip(entries, parts, strict=True):
        if not part.columns:
            raise UsageError(f"data.custom.text: got {entry!r}, a template without a column. {_RULE}")
    plain = [part.written for part in parts if not part.is_template]
    if len(set(plain)) < len(plain):
        raise UsageError(f"data.custom.text: got {', '.join(map(repr, entries))}, with a column twice. Name each once.")
    if separator is not None and len(parts) < 2:
        raise UsageError(
            f"data.custom.text_separator: got {separator!r}, but there is one text, {entries[0]!r}. It stands between "
            "joined columns: name two or more in data.custom.text, or leave it out."
        )
    if separator is None and len(parts) < 3:
        return TextInputs(tuple((part,) for part in parts))
    between = _parse(SEPARATOR if separator is None else separator, "data.custom.text_separator", sep_token)
    if not between.is_template:
        return TextInputs((parts,), between.written)
    if between.columns:
        raise UsageError(
            f"data.custom.text_separator: got {separator!r}, allowed: a text without columns. Columns stand in a "
            "template: `--data.custom.text '{title}: {body}'`."
        )
    return TextInputs((parts,), between.fixed, True)


def _parse(entry: str, flag: str, sep_token: str | None) -> TextPart:
    """Read a column's name or a template."""
    pieces = tuple(_pieces(entry, flag, sep_token))
    uses_sep = any(match["name"] == _SEP for match in _PIECE.finditer(entry))
    if uses_sep or any(isinstance(piece, Column) for piece in pieces):
        return TextPart(entry, pieces, True, uses_sep)
    name = "".join(piece for piece in pieces if isinstance(piece, str))
    return TextPart(name, (Column(name),), False)


def _pieces(entry: str, flag: str, sep_token: str | None) -> Iterator[str | Column]:
    for match in _PIECE.finditer(entry):
        found, name = match[0], match["name"]
        if found in ("{", "}"):
            raise UsageError(
                f"{flag}: got {entry!r}, in which the brace {found!r} at character {match.start() + 1} has no partner. "
                f"{_RULE}"
            )
        if name is None:
            yield {"{{": "{", "}}": "}"}.get(found, found)
        elif not name.strip():
            raise UsageError(f"{flag}: got {entry!r}, in which {found!r} names no column. {_RULE}")
        elif name == _SEP:
            yield found if sep_token is None else sep_token
        else:
            yield Column(name)
