"""What the grammars produce: labelled texts, not yet laid out as rows of a file."""

from typing import NamedTuple


class Example(NamedTuple):
    """One labelled sentence or sentence pair; `source` is the phenomenon or genre it came from."""

    texts: tuple[str, ...]
    label: str
    source: str = ""
