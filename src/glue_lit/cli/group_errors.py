"""Parse errors about a setting that is a group of settings or null, which jsonargparse takes for a class."""

import re
from dataclasses import fields

from glue_lit.data.window_settings import Windows
from glue_lit.errors import did_you_mean

_GROUPS = {"data.windows": (Windows, "{length: 512, stride: 128}")}


def wrong_group(key: str, detail: str, given: str) -> str:
    """What is wrong with a group of settings; empty if the message is not about one.

    Args:
        key: The setting.
        detail: The message.
        given: The value that it quotes.
    """
    if key not in _GROUPS:
        return ""
    kind, example = _GROUPS[key]
    names = [field.name for field in fields(kind)]
    if match := re.search(r"- Option '([^']+)' is not accepted", detail):
        return f"there is no setting {match[1]}.{did_you_mean(match[1], names)} Allowed: {', '.join(names)}."
    return f"got {given!r}, allowed: {', '.join(names)} with their values, as in {example}, or null."
