"""Parse errors about a class that a setting names (a callback, a logger, an adapter), in the user's terms."""

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from inspect import isfunction

from glue_lit.cli.group_errors import wrong_group
from glue_lit.errors import did_you_mean
from glue_lit.runs.command_line import CommandLine

_CLASS_PATH = r"""class_path['"]?[=:]\s*['"]([^'"]+)['"]"""
_ELSEWHERE = {  # settings of a class that have a flag of their own
    "model.optimizer": {"lr": "model.learning_rate", "weight_decay": "model.weight_decay"},
    "model.loss": {"gamma": "model.focal_gamma"},
}
_EXAMPLES = {"model.optimizer": "torch.optim.SGD", "model.loss": "torch.nn.CrossEntropyLoss"}
_NESTED = r"NestedArg\(key='([^']+)', val=(.*)\)"  # jsonargparse's own class for the value of --trainer.logger.NAME


def nested_key(key: str, detail: str, line: CommandLine) -> str:
    """The key of a class's own setting, if its value on the command line is wrong; else ``key``."""
    found = re.search(_NESTED, detail)
    names = (f"{key}.init_args.{found[1]}", f"{key}.{found[1]}") if found else ()
    return next((name for name in names if line.has(f"--{name}")), key)


def given_value(detail: str) -> str:
    """The value that a message quotes, without jsonargparse's own classes."""
    if match := re.search(r"Not a valid subclass of \w+\. Got value: (.*)", detail):  # one of several
        return match[1].strip()
    value = detail.rpartition("Given value: ")[2].strip()
    if match := re.fullmatch(_NESTED, value, re.DOTALL):
        return str(_literal(match[2]))
    return ", ".join(re.findall(_CLASS_PATH, value)) or value


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def unknown_class(detail: str, types: str) -> str:
    """The closest name, or how a class is named, if a message is about one that is not known; else an empty string.

    Args:
        detail: The message.
        types: The allowed types, with their import paths.
    """
    if (match := re.search(r"Expected a dot import path string: (.*)", detail)) is None:
        return ""
    name = match[1].strip()
    known = [path for kind in _classes(types) for path in _known_names(kind, name)]
    return did_you_mean(name, known) or " A class is named with its package: PACKAGE.CLASS."


def _classes(types: str) -> Iterator[type]:
    for path in re.findall(r"(?:\w+\.)+\w+", types):
        module, _, name = path.rpartition(".")
        if isinstance(kind := getattr(sys.modules.get(module), name, None), type):
            yield kind


def _known_names(kind: type, name: str) -> Iterator[str]:
    """Names of a class's subclasses but ours, and ``name`` with the package that the class says they come from."""
    subclasses: list[type] = kind.__subclasses__()
    for below in subclasses:
        if not below.__module__.startswith("glue_lit."):
            yield below.__name__
        yield from _known_names(below, name)
    package = getattr(kind, "package", "")
    if package and find_spec(package) is not None:
        of_package = {each.casefold(): each for each in dir(import_module(package))}
        yield from (f"{package}.{of_package[each]}" for each in [name.casefold()] if each in of_package)


def wrong_class(key: str, detail: str, line: CommandLine) -> str:
    """What is wrong with a class that a setting names, or with one of its own settings; empty if neither."""
    command = f"glue-lit {line.command or 'fit'}"
    if said := wrong_group(key, detail, given_value(detail)):
        return said
    if key == "model.loss" and (said := _wrong_loss(detail)):
        return said
    if match := re.search(r"the following arguments are required: ([^\n]+)", detail):
        return _lacking(key, re.split(r",\s*", match[1].strip()), detail, line)
    if match := re.search(r"- Option '([^']+)' is not accepted", detail):
        if (flag := _ELSEWHERE.get(key, {}).get(match[1])) is not None:
            return f"set it with --{flag}."
        return f"the class has no setting {match[1]}. `{command} --{key}.help CLASS` lists all."
    if match := re.search(r"Problem with given class_path '([^']+)':\s*([^\n]+)", detail):
        package = match[1].partition(".")[0]
        missing = f" `pip install {package}` if the package has that name." if "No module named" in match[2] else ""
        return f"there is no class {match[1]} ({match[2]}).{missing}"
    if match := re.search(r"expects a function or a callable class: ([^\n]+)", detail):
        reason = f" ({match[1]})" if "No module named" in match[1] else ""
        return f"got {given_value(detail)!r}{reason}, allowed: a class such as {_EXAMPLES.get(key, 'PACKAGE.CLASS')}."
    if match := re.search(r"- Import path (\S+) does not correspond to a subclass of (\w+)", detail):
        return _unnamed(key) if match[1].endswith(f".{match[2]}") else f"{match[1]} is not a {match[2]}."
    return _unnamed(key) if re.search(r"- Expected an instantiatable class, but \S+ is abstract", detail) else ""


def _wrong_loss(detail: str) -> str:
    """What is wrong with settings of a loss that is no class; empty if it is one."""
    given = detail.rpartition("Given value:")[2]
    if match := re.search(r"- Expected a dot import path string: (\w+)", detail):
        gamma = " Its gamma is --model.focal_gamma." if match[1] == "focal" else ""
        return f"{match[1]} is no class, which alone has init_args.{gamma}"
    path = match[1] if (match := re.search(_CLASS_PATH, given)) else ""
    module, _, name = path.rpartition(".")
    if isfunction(getattr(sys.modules.get(module), name, None)):
        return f"{path} is a function, which takes no settings. Name it alone: `--model.loss {path}`."
    return ""


def _unnamed(key: str) -> str:
    return f"no class is named. Name it first: `--{key}.class_path PACKAGE.CLASS`."


def _lacking(key: str, names: Sequence[str], detail: str, line: CommandLine) -> str:
    """Which class lacks which of its settings, and how to give the first of them."""
    given = detail.rpartition("Given value:")[2]
    starts = [*re.finditer(_CLASS_PATH, given)]
    ends = [start.start() for start in starts[1:]] + [len(given)]
    settings = {start[1].rpartition(".")[2]: given[start.end() : end] for start, end in zip(starts, ends, strict=True)}
    unset = re.compile(rf"""\b{re.escape(names[0])}['"]?[=:]\s*None""")
    lacks = [kind for kind, said in settings.items() if unset.search(said)] or [*settings][-1:]
    said = " and ".join(f"`{name}`" for name in names)
    is_flag = any(argument.flag.rstrip("+") == f"--{key}" for argument in line.arguments)
    how = f"`--{key}.{names[0]} VALUE` after the class's name" if is_flag else f"`init_args: {{{names[0]}: VALUE}}`"
    return f"{lacks[0] if lacks else 'the class'} needs {said}: {how}."


def explain_refused_settings(message: str) -> str | None:
    """The error of a class that refuses its settings, such as a Timer with ``duration: soon``; else ``None``.

    Args:
        message: jsonargparse's message, which lists every type that the value could have had.
    """
    if not message.startswith("Does not validate against any of the Union subtypes"):
        return None
    errors, _, given = message.partition("Given value type:")
    if match := re.search(r"- Problem with given class_path '([^']+)':\s*((?:(?!\n  - ).)+)", errors, re.DOTALL):
        return _refusal(match[1].rpartition(".")[2], " ".join(match[2].split()))
    reasons = re.findall(
        r"^\s*- (?!Expected a|Not a valid subclass|a class path|a dict with)(.+)$", errors, re.MULTILINE
    )
    kinds = [path.rpartition(".")[2] for path in re.findall(_CLASS_PATH, given)]
    return f"{' or '.join(dict.fromkeys(kinds))}: {reasons[0]}" if reasons and kinds else None


def _refusal(kind: str, reason: str) -> str:
    """What a class says of its settings, or of a package that it needs."""
    if match := re.match(r"Requirement '([^']+)' not met", reason):
        return f"{kind} needs a package that is not installed: `pip install '{match[1]}'`."
    return f"{kind}: {reason}"
