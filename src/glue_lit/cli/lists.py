"""Lists on the command line: ``--suite.seeds 1 2``, ``1,2`` and ``'[1, 2]'`` are the same."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args, get_origin

from glue_lit.runs.command_line import arguments_of
from glue_lit.runs.config_values import CUSTOM_TEXTS, NULLS, to_flag

_NOT_PLAIN = re.compile(r"[][{},:#'\"&*!|>%@`\s]")


def join_lists(parser: Any, words: Iterable[str]) -> list[str]:
    """Put the values of each list into brackets; other words stay as they are.

    Args:
        parser: A parser of jsonargparse, which knows the types.
        words: The words after the command.
    """
    types = dict(_types(parser))
    joined: list[str] = []
    for argument in arguments_of(words):
        values, hint = list(argument.values), types.get(argument.flag)
        kinds = [hint] if _is_list(hint) else [kind for kind in get_args(hint) if kind is not type(None)]
        is_list, is_only_list = any(map(_is_list, kinds)), bool(kinds) and all(map(_is_list, kinds))
        # A class's own settings, as those of --trainer.callbacks, are not in the parser.
        is_nested = hint is None and any(argument.flag.startswith(f"{flag}.") for flag in types)
        if is_only_list and len(values) == 1 and values[0] not in NULLS and values[0][:1] != "[":
            joined += [argument.flag, _bracketed(argument.flag, values[0].split(","))]
        elif len(values) > 1 and (is_list or is_nested):
            joined += [argument.flag, _bracketed(argument.flag, values)]
        else:
            joined += argument.words
    return joined


def _types(parser: Any) -> Iterator[tuple[str, Any]]:
    """Each flag of a parser and of its commands, with its type; ``int`` for flags without one."""
    for action in parser._actions:
        yield from ((flag, getattr(action, "_typehint", int)) for flag in action.option_strings)
        commands = action.choices if isinstance(action.choices, dict) else {}
        for command in commands.values():
            if hasattr(command, "_actions"):
                yield from _types(command)


def _is_list(hint: Any) -> bool:
    return isinstance(origin := get_origin(hint), type) and issubclass(origin, Iterable) and origin is not dict


def _bracketed(flag: str, values: Sequence[str]) -> str:
    if values[0].startswith("[") and values[-1].endswith("]"):  # `[a, b]` without quotes
        return " ".join(values)
    if flag.removeprefix("--").removesuffix("+") in CUSTOM_TEXTS:
        return to_flag(values)
    return f"[{', '.join(json.dumps(value) if _NOT_PLAIN.search(value) else value for value in values)}]"
