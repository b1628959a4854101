"""Command lines of `tune` and `suite`: their own settings, and those of `fit` that they pass on."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonargparse import ArgumentParser, Namespace

from glue_lit.cli.lists import join_lists
from glue_lit.cli.parse_errors import explain
from glue_lit.engine.settings import Engine
from glue_lit.errors import UsageError
from glue_lit.runs.command_line import CommandLine
from glue_lit.runs.config_file import check_config
from glue_lit.runs.config_paths import text_to_copy
from glue_lit.system.environment import setting_variable

_ENGINE = "engine"
CONFIG_HELP = "Configuration file, or the name of one that glue-lit ships; may be repeated, then later ones win."


def parse(command: str, settings: type, arguments: Sequence[str]) -> tuple[Any, Engine, list[str]]:
    """Read the command line.

    Args:
        command: ``tune`` or ``suite``; also the section of its own settings.
        settings: Class of its own settings.
        arguments: All arguments after the command.

    Returns:
        Its own settings, those of the engine, and the arguments of `fit`.

    Raises:
        UsageError: Something is wrong with them.
    """

    class Parser(ArgumentParser):
        def error(self, message: str, ex: Exception | None = None) -> NoReturn:
            raise UsageError(explain(self, message, CommandLine(arguments, command))) from ex

    also = "All other flags and configuration keys are those of `glue-lit fit`, and apply to every training."
    parser = Parser(prog=f"glue-lit {command}", description=also, allow_abbrev=False)
    parser.add_argument("--config", action="config", help=CONFIG_HELP)
    parser.add_class_arguments(settings, command)
    parser.add_class_arguments(Engine, _ENGINE)
    sections = (command, _ENGINE)
    line = CommandLine(arguments).with_found_configs()
    own, rest = line.divide(lambda flag: flag.removeprefix("--").split(".")[0] in sections)
    flags = ["--help"] if rest.has("-h", "--help") else own.words
    with tempfile.TemporaryDirectory() as folder:
        configs, of_fit = list[str](), dict[str, str | None]()
        for number, file in enumerate(rest.config_files):
            check_config(file)
            ours, theirs = _split(Path(file), sections, Path(folder, str(number)))
            configs += [] if ours is None else ["--config", str(ours)]
            of_fit[file] = None if theirs is None else str(theirs)
        found: Namespace = parser.instantiate(parser.parse_args([*configs, *join_lists(parser, flags)]))
        arguments = list(rest.with_config_files(of_fit).words)
        name = f"{command}.name, the name of all its runs together. --name is for a single run; leave it out."
        check_contradictions(arguments, {"name": name})
        return found[command], found[_ENGINE], arguments


def check_contradictions(arguments: Sequence[str], decided: Mapping[str, str], in_files: bool = False) -> None:
    """Stop at a setting of `fit` that `tune` or `suite` sets for each training.

    Args:
        arguments: The arguments of `fit` that all trainings share.
        decided: By dotted key, the text of the message on what sets it and what to do.
        in_files: Whether configuration files count, too; most hold defaults that a search is meant to replace.

    Raises:
        UsageError: A flag, a variable or a file gives one; the message names both.
    """
    line = CommandLine(arguments)
    flags = [argument.flag.removeprefix("--") for argument in line.arguments]
    for key, by in decided.items():
        given = [f"--{flag}" for flag in flags if flag == key or flag.startswith(f"{key}.")]
        variable = setting_variable("fit", key)
        given += [f"${variable}"] if variable in os.environ else []
        if in_files and (place := line.where_set(key)) != key:
            given.append(place)
        if given:
            raise UsageError(f"{given[0]} contradicts {by}")


def _split(file: Path, sections: tuple[str, ...], folder: Path) -> tuple[Path | None, Path | None]:
    """Split a configuration file into our sections and those of `fit`; all lines keep their numbers.

    The name of the run that the file may come from is left out.
    """
    text = text_to_copy(str(file))
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    lines = text.splitlines()
    ours = [""] * len(lines)
    has_rest = False
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value not in (*sections, "name"):
            has_rest = True
            continue
        end = value.end_mark.line + (1 if value.end_mark.column else 0)
        for number in range(key.start_mark.line, max(end, key.start_mark.line + 1)):
            ours[number], lines[number] = lines[number] if key.value in sections else "", ""
    theirs = None
    if has_rest or not any(ours):
        is_whole = lines == file.read_text(encoding="utf-8").splitlines()
        theirs = file if is_whole else _kept(file, "\n".join(lines) + "\n")
    if not any(ours):
        return None, theirs
    folder.mkdir()
    (folder / file.name).write_text("\n".join(ours) + "\n", encoding="utf-8")
    return folder / file.name, theirs


_KEPT: list[tempfile.TemporaryDirectory[str]] = []  # until this process ends: `fit` reads them later


def _kept(file: Path, text: str) -> Path:
    _KEPT.append(tempfile.TemporaryDirectory())
    path = Path(_KEPT[-1].name) / file.name
    path.write_text(text, encoding="utf-8")
    return path


def full_configurations(arguments: Sequence[Sequence[str]]) -> list[str]:
    """The configurations that `fit` builds from several lists of arguments, as YAML.

    One process reads them all, since starting it takes longer than reading ten.

    Raises:
        UsageError: `fit` refuses one of them.
    """
    command = [sys.executable, "-m", "glue_lit.cli.print_configurations"]
    done = subprocess.run(command, input=json.dumps(arguments), capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["nothing was said"]
        raise UsageError(said[-1].removeprefix("glue-lit: error: "))
    found: list[str] = json.loads(done.stdout)
    return found
