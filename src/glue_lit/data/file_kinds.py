"""Files that are not tables: told by their names or first bytes, with how to make a table of them."""

import contextlib
import difflib
import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple


class Kind(NamedTuple):
    """A kind of file that is not read.

    Attributes:
        name: What it is, in words.
        advice: How to make a table of it.
        endings: How its files are called.
        starts: How its content starts; empty if that says nothing.
    """

    name: str
    advice: str
    endings: tuple[str, ...]
    starts: tuple[bytes, ...] = ()


_SHEET = "Open it and save the sheet as CSV (in Excel: File, Save As, `CSV UTF-8`)"
_WORDS = "Copy its rows into a spreadsheet, one in each line, and save that as CSV (in Excel: `CSV UTF-8`)"
_KINDS = (
    Kind("an Excel workbook", _SHEET, (".xlsx", ".xlsm", ".xlsb")),
    Kind("an Excel workbook", _SHEET, (".xls",), (b"\xd0\xcf\x11\xe0",)),
    Kind("an OpenDocument spreadsheet", _SHEET, (".ods",)),
    Kind("a Numbers spreadsheet", "Open it and export it as CSV", (".numbers",)),
    Kind("a Word document", _WORDS, (".docx", ".doc")),
    Kind("a text document", _WORDS, (".odt", ".rtf")),
    Kind("a PDF", _WORDS, (".pdf",), (b"%PDF",)),
    Kind("a ZIP archive, or an Excel workbook", "Unpack it, or save its sheet as CSV", (), (b"PK\x03\x04",)),
    Kind("a ZIP archive", "Unpack it, and give the table in it", (".zip",)),
    Kind(
        "a compressed file", "Unpack it, and give the table in it",
        (".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".tar"), (b"\x1f\x8b", b"\xfd7zXZ", b"7z\xbc\xaf"),
    ),
    Kind("a JSON file", "Write an object on each line (pandas: `to_json(orient='records', lines=True)`)", (".json",)),
    Kind("a text file", "If it has a header and tabs between its columns, call it .tsv", (".txt", ".tab")),
    Kind("a file of Arrow", "Write it as Parquet (pandas: `to_parquet`)", (".arrow", ".feather"), (b"ARROW1\0",)),
    Kind("a Parquet file", "Call it .parquet", (), (b"PAR1\x15",)),
    Kind("a pickle", "Write its rows as Parquet (pandas: `to_parquet`)", (".pkl", ".pickle")),
    Kind("a database", "Export the table as CSV", (".db", ".sqlite", ".sqlite3"), (b"SQLite format 3\0",)),
)  # fmt: skip


def kind_by_name(name: str) -> Kind | None:
    """The kind that a file's name stands for; ``None`` if its ending is unknown."""
    return next((kind for kind in _KINDS if name.lower().endswith(kind.endings) and kind.endings), None)


def kind_by_content(path: Path) -> Kind | None:
    """The kind that a file's first bytes stand for; ``None`` if it may be text."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        head = file.read(16)
        return next((kind for kind in _KINDS if kind.starts and head.startswith(kind.starts)), None)
    return None


def similar_file(path: Path) -> str:
    """``" Did you mean 'FILE'?"`` for what is called nearly as a missing file in its folder, or ``""``.

    A folder is meant only by a name without an ending.
    """
    names: list[str] = []
    with contextlib.suppress(OSError):
        names = sorted(other.name for other in path.parent.iterdir() if other.is_file() or not path.suffix)
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    return f" Did you mean {str(path.with_name(near[0]))!r}?" if near else ""


def looks_like_file(location: str, endings: Collection[str]) -> bool:
    """Whether a location can only be meant as a file or folder: the Hub has no data set with such a name.

    Args:
        location: May exist or not.
        endings: Those of the files that are read; a misspelt one (``.cvs``) counts, too.
    """
    path = Path(location).expanduser()
    if path.exists() or location.startswith((".", "/", "~")) or kind_by_name(location) is not None:
        return True
    if "/" in location and any(path.with_name(path.name + ending).is_file() for ending in endings):
        return True  # the ending was left out
    name, _, _ = location.partition(":")  # the configuration of a data set may be 20231101.en
    is_repository = re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name, re.ASCII) is not None
    return (
        "\\" in location
        or not is_repository
        or bool(difflib.get_close_matches(path.suffix.lower(), endings, n=1, cutoff=0.75))
    )
