"""Parse errors in the user's terms: the flag or key and where it was set, what it got, what is allowed."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

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
        near = did_you_mean(match[1], known_keys(parser))
        return f"{line.where_set(match[1])}: there is no such key.{near} {help_hint}"
    if match := re.match(r'Linked "([^"]+)" must be given via "([^"]+)"', message):
        return f"{line.where_set(match[1])}: set {match[2]} instead, which sets both."
    if match := re.match(r"argument (\S+): expected one argument", message):
        return f"{match[1]} needs a value."
    if match := re.match(r'Parser key "([^"]+)":\s*(.*)', message, re.DOTALL):
        return _wrong_value(match[1], match[2], line)
    return " ".join(message.split())


def _unknown_flag(parser: Any, argument: str, help_hint: str) -> str:
    if not argument.startswith("-"):
        return f"got {argument!r}, which belongs to no flag; settings are given as `--data.task cola`. {help_hint}"
    flag = argument.partition("=")[0]
    near = did_you_mean(flag, (f"--{key}" for key in known_keys(parser)))
    return f"{flag}: there is no such flag.{near} {help_hint}"


def _wrong_value(key: str, detail: str, line: CommandLine) -> str:
    where = line.where_set(_nested(key, detail, line))
    if match := re.search(r"- (\w+): (got .*, allowed: .*)", detail):  # a class's own setting
        return f"{where}: {match[2] if where.endswith(f'.{match[1]}') else f'{match[1]} {match[2]}'}"
    if said := _wrong_class(key, detail, line):
        return f"{where}: {said}"
    if match := re.match(r"Expected a (.+?)\. Got value: (.*)", detail, re.DOTALL):
        return f"{where}: got {match[2].strip()!r}, allowed: {_allowed(key, match[1])}."
    if "Subtypes:" in detail:
        value = re.search(r"Given value: (.*)", detail, re.DOTALL)
        subtypes = re.search(r"Subtypes: \[(.*)\]\s*$", detail, re.MULTILINE)
        if value and subtypes:
            how = " A class is named with its package: PACKAGE.CLASS." if "dot import path" in detail else ""
            return f"{where}: got {value[1].strip()!r}, allowed: {_allowed(key, subtypes[1])}.{how}"
    return f"{where}: {' '.join(detail.split())}"


def _nested(key: str, detail: str, line: CommandLine) -> str:
    """The key of a class's own setting, if its value on the command line is wrong; else ``key``."""
    found = re.search(r"NestedArg\(key='([^']+)'", detail)
    names = (f"{key}.init_args.{found[1]}", f"{key}.{found[1]}") if found else ()
    return next((name for name in names if line.has(f"--{name}")), key)


def _wrong_class(key: str, detail: str, line: CommandLine) -> str:
    """What is wrong with a class that a setting names, or with one of its own settings; empty if neither."""
    command = f"glue-lit {line.command or 'fit'}"
    if match := re.search(r"the following arguments are required: ([^\n]+)", detail):
        return _lacking(key, re.split(r",\s*", match[1].strip()), detail)
    if match := re.search(r"- Option '([^']+)' is not accepted", detail):
        return f"the class has no setting {match[1]}. `{command} --{key}.help CLASS` lists all."
    if match := re.search(r"Problem with given class_path '([^']+)':\s*([^\n]+)", detail):
        package = match[1].partition(".")[0]
        missing = f" `pip install {package}` if the package has that name." if "No module named" in match[2] else ""
        return f"there is no class {match[1]} ({match[2]}).{missing}"
    if match := re.search(r"- Import path (\S+) does not correspond to a subclass of (\w+)", detail):
        if match[1].endswith(f".{match[2]}"):
            return f"no class is named. Name it first: `--{key}.class_path PACKAGE.CLASS`."
        return f"{match[1]} is not a {match[2]}."
    return ""


def explain_refused_settings(message: str) -> str | None:
    """The error of a class that refuses its settings, such as a Timer with ``duration: soon``; else ``None``.

    Args:
        message: jsonargparse's message, which lists every type that the value could have had.
    """
    if not message.startswith("Does not validate against any of the Union subtypes"):
        return None
    errors, _, given = message.partition("Given value type:")
    reasons = re.findall(
        r"^\s*- (?!Expected a|Not a valid subclass|a class path|a dict with)(.+)$", errors, re.MULTILINE
    )
    kinds = [path.rpartition(".")[2] for path in re.findall(_CLASS_PATH, given)]
    return f"{' or '.join(dict.fromkeys(kinds))}: {reasons[0]}" if reasons and kinds else None


_CLASS_PATH = r"""class_path['"]?[=:]\s*['"]([^'"]+)['"]"""


def _lacking(key: str, names: Sequence[str], detail: str) -> str:
    """Which class lacks which of its settings, and how to give the first of them."""
    given = detail.rpartition("Given value:")[2]
    starts = [*re.finditer(_CLASS_PATH, given)]
    ends = [start.start() for start in starts[1:]] + [len(given)]
    settings = {start[1].rpartition(".")[2]: given[start.end() : end] for start, end in zip(starts, ends, strict=True)}
    unset = re.compile(rf"""\b{re.escape(names[0])}['"]?[=:]\s*None""")
    lacks = [kind for kind, said in settings.items() if unset.search(said)] or [*settings][-1:]
    said = " and ".join(f"`{name}`" for name in names)
    return f"{lacks[0] if lacks else 'the class'} needs {said}: `--{key}.{names[0]} VALUE` after the class's name."


_NUMBERS = {
    "PositiveInt": "a whole number from 1 up",
    "NonNegativeInt": "a whole number from 0 up",
    "PositiveFloat": "a number above 0",
    "NonNegativeFloat": "a number from 0 up",
    "ClosedUnitInterval": "a number from 0 to 1",
}


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
    types = re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", types).replace(", ", " or ")
    return re.sub(r"\w+", lambda match: _NUMBERS.get(match[0], match[0]), types)
