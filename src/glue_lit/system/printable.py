"""Texts from files, made safe for a terminal. It imports nothing, so that an error can be said when memory is out."""


def printable(text: str) -> str:
    """A text from a file in one line: what would move the cursor or change colours is written as its code."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_lines(text: str) -> str:
    """The same for a text that may have several lines."""
    return "\n".join(map(printable, text.split("\n")))
