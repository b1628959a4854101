"""Make texts safe for a terminal. This module imports nothing, so that it works when memory has run out."""


def printable(text: str) -> str:
    """A text on one line; control characters, which could move the cursor or change colours, become escape codes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_lines(text: str) -> str:
    """A text whose control characters, except line breaks, become escape codes."""
    return "\n".join(map(printable, text.split("\n")))
