"""Parse errors in the user's terms: the flag or key and where it was set, what it got, what is allowed."""

import re
from collections.abc import Mapping
from typing import Any

from glue_lit.cli.class_errors import given_value, nested_key, unknown_class, wrong_class
from glue_lit.cli.usual_names import USUAL_NAMES, nearest_flag
from glue_lit.errors import UsageError, did_you_mean
from glue_lit.runs.command_line import CommandLine
from glue_lit.system.environment import setting_variable


def known_keys(parser: Any) -> list[str]:
    """Every flag and configuration key of a parser and of its commands, dotted, without dashes."""
    keys: set[str] = set()
    for action in parser._actions:
        keys.update(option.removeprefix("--") for option in action.option_strings if option.startswith("--"))
        commands = action.choices if isinstance(action.choices, dict) else {}
        for command in commands.values():
            if hasattr(command, "_actions"):
                keys.update(known_keys(command))
    return sorted(key for key in keys if not key.endswith(("+", ".help")))


def check_environment(parser: Any, command: str, environment: Mapping[str, str]) -> None:
    """Stop at a variable that is meant for this command and sets nothing: a misspelt one would be ignored.

    Raises:
        UsageError: There is one; the message names the closest valid one.
    """
    prefix = setting_variable(command, "")
    known = {setting_variable(command, key) for key in known_keys(parser)}
    for name in sorted(environment):
        if name.startswith(prefix) and name not in known:
            raise UsageError(f"{name}: this variable sets nothing.{did_you_mean(name, known)}")


def explain(parser: Any, message: str, line: CommandLine) -> str:
    """Turn jsonargparse's message into one of ours; a message that is not recognised is passed on as one line.

    Args:
        parser: Gives the valid names.
        message: What jsonargparse would print.
        line: Tells where a setting was made.
    """
    help_hint = f"`glue-lit {line.command} --help` lists all." if line.command else ""
    if match := re.match(r"unrecognized arguments: (\S+)", message):
        return _unknown_flag(parser, match[1], help_hint)
    if match := re.search(r"does not accept option '([^']+)'", message):
        near = nearest_flag(match[1], known_keys(parser))
        return f"{line.where_set(match[1])}: there is no such key.{near} {help_hint}"
    if match := re.match(r'Linked "([^"]+)" must be given via "([^"]+)"', message):
        return f"{line.where_set(match[1])}: set {match[2]} instead, which sets both."
    if match := re.match(r"argument (\S+): expected one argument", message):
        return f"{match[1]} needs a value."
    if match := re.match(r"Call to compute_fn of link .*? failed: (.*)", message, re.DOTALL):
        return " ".join(match[1].split())
    if match := re.match(r'Parser key "([^"]+)":\s*(.*)', message, re.DOTALL):
        return _wrong_value(match[1], match[2], line)
    return " ".join(message.split())


def _unknown_flag(parser: Any, argument: str, help_hint: str) -> str:
    if not argument.startswith("-"):
        return f"got {argument!r}, which belongs to no flag; settings are given as `--data.task cola`. {help_hint}"
    flag = argument.partition("=")[0]
    near = nearest_flag(flag, [f"--{key}" for key in known_keys(parser)])
    return f"{flag}: there is no such flag.{near} {help_hint}"


def _wrong_value(key: str, detail: str, line: CommandLine) -> str:
    where = line.where_set(nested_key(key, detail, line))
    if match := re.search(r"- (\w+): (got .*, allowed: .*)", detail):  # a class's own setting
        return f"{where}: {match[2] if where.endswith(f'.{match[1]}') else f'{match[1]} {match[2]}'}"
    if said := wrong_class(key, detail, line):
        return f"{where}: {said}"
    if match := re.match(r"Unable to load config '(.*?)'\s", detail):
        usual = f" Did you mean '--{USUAL_NAMES[key]}'?" if key in USUAL_NAMES else ""
        return (
            f"{where}: got {match[1]!r}, allowed: a file with the settings below it, which are also flags: "
            f"`--{key}.NAME VALUE`.{usual} `glue-lit {line.command} --help` lists all."
        )
    if match := re.match(r"Expected a (.+?)\. Got value: (.*)", detail, re.DOTALL):
        meant = _OTHER_WAYS.get(f"{key} {match[2].strip()}", "")
        return f"{where}: got {match[2].strip()!r}, allowed: {_allowed(key, match[1])}.{meant}"
    if "Subtypes:" in detail:
        subtypes = re.search(r"Subtypes: \[(.*)\]\s*$", detail, re.MULTILINE)
        if subtypes:
            got, how = given_value(detail), unknown_class(detail, subtypes[1])
            if key == "data.custom.text" and "{" in str(got):
                how = ' A template needs quotes in YAML, where braces are a mapping: "{title}: {body}".'
            return f"{where}: got {got!r}, allowed: {_allowed(key, subtypes[1])}.{how}"
    return f"{where}: {' '.join(detail.split())}"


# Values that other programs take, and how it is done here.
_OTHER_WAYS = {
    "data.batch_size auto": " `--model.split_batches true` keeps the size, and computes a batch in parts if it does "
    "not fit into a GPU's memory.",
}
_NUMBERS = {
    "PositiveInt": "a whole number from 1 up",
    "NonNegativeInt": "a whole number from 0 up",
    "PositiveFloat": "a number above 0",
    "NonNegativeFloat": "a number from 0 up",
    "ClosedUnitInterval": "a number from 0 to 1",
}


def _list_in_words(match: re.Match[str]) -> str:
    return f"a list of {match[1].replace(', ', ' and ')}"


def _allowed(key: str, types: str) -> str:
    """The allowed values of a key in words; for precisions, those that a fit accepts."""
    if key.endswith("trainer.precision"):
        from glue_lit.system.precisions import NAMES

        return ", ".join(NAMES)
    return _readable(types)


def _readable(types: str) -> str:
    """A type in words: ``int``, ``linear, cosine, constant``, ``int or null``, ``a whole number from 1 up``."""
    if match := re.fullmatch(r"(?:typing\.)?Literal\[([^]]*)\]", types):
        return match[1].replace("'", "")
    types = re.sub(r"(?:typing\.)?Literal\[([^]]*)\]", lambda match: match[1].replace("'", ""), types)
    types = re.sub(r"<class '([^']+)'>", r"\1", types).replace("typing.", "")
    types = types.replace("NoneType", "null").replace("bool", "true or false")
    types = re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", types)
    types = re.sub(r"dict\[[^]]*\]", "keys with values (as {a: 1})", types)
    types = re.sub(r"(?:[Ll]ist|Iterable)\[(?:Union\[)?([^]]*)\]+", _list_in_words, types).replace(", ", " or ")
    return re.sub(r"\w+", lambda match: _NUMBERS.get(match[0], match[0]), types)
