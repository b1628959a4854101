"""A command line, split into flags with their values, and where it gives a setting."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from glue_lit.errors import UsageError
from glue_lit.runs.config_file import find_key
from glue_lit.runs.config_paths import PATHS, paths_beside
from glue_lit.runs.config_values import NULLS
from glue_lit.runs.run import CONFIG
from glue_lit.runs.shipped_configs import find_config
from glue_lit.system.environment import setting_variable

_FLAG = re.compile(r"--.*|-[A-Za-z](=.*)?", re.DOTALL)
_CONFIG = ("--config", "-c")
_SHOWS_ONLY = ("-h", "--help", "--print_config")
_WITHOUT_VALUE = (*_SHOWS_ONLY, "--json", "--calibrate", "--overwrite", "--private")


@dataclass(frozen=True)
class Argument:
    """A flag with its values, or words without a flag.

    Attributes:
        flag: The flag with its dashes; empty for words without one.
        values: The value of ``--flag=value``, or all words between ``--flag`` and the next flag.
        is_inline: Whether the value was written with an equals sign.
    """

    flag: str
    values: tuple[str, ...] = ()
    is_inline: bool = False

    @property
    def words(self) -> list[str]:
        """The words of the command line that it was made from."""
        if self.is_inline:
            return [f"{self.flag}={self.values[0]}"]
        return [*([self.flag] if self.flag else []), *self.values]


def arguments_of(words: Iterable[str]) -> Iterator[Argument]:
    """Split a command line into arguments; no word is lost."""
    flag, values = "", list[str]()
    for word in words:
        if not _FLAG.fullmatch(word):
            values.append(word)
            continue
        if flag or values:
            yield Argument(flag, tuple(values))
        flag, equals, value = word.partition("=")
        values = []
        if equals:
            yield Argument(flag, (value,), is_inline=True)
            flag = ""
    if flag or values:
        yield Argument(flag, tuple(values))


def _here() -> str:
    """The working directory; empty if it was deleted."""
    try:
        return os.getcwd()
    except OSError:
        return ""


@dataclass(frozen=True)
class CommandLine:
    """The command line of a command.

    Attributes:
        words: The words after the command.
        command: Name of the command, for the environment variables that give its settings.
        folder: The working directory, since jsonargparse changes it while it reads a file.
    """

    words: Sequence[str]
    command: str = ""
    folder: str = field(default_factory=_here, compare=False, repr=False)

    @cached_property
    def arguments(self) -> tuple[Argument, ...]:
        """The flags with their values."""
        return tuple(arguments_of(self.words))

    def has(self, *flags: str) -> bool:
        """Whether one of the flags is given."""
        return any(argument.flag in flags for argument in self.arguments)

    @property
    def only_shows(self) -> bool:
        """Whether the command only prints help or its configuration."""
        return self.has(*_SHOWS_ONLY)

    @property
    def asks_for_json(self) -> bool:
        """Whether the result is printed as JSON."""
        return self.has("--json") and not self.only_shows

    def without(self, flag: str) -> "CommandLine":
        """The line without ``flag``, which takes no value."""
        return self._of([Argument("", a.values) if a.flag == flag else a for a in self.arguments])

    def take(self, flag: str) -> tuple[str | None, "CommandLine"]:
        """The last value of a flag, and the line without the flag.

        Raises:
            UsageError: The flag has no value.
        """
        taken = [argument.values for argument in self.arguments if argument.flag == flag]
        if not all(taken):
            raise UsageError(f"{flag} needs a value.")
        kept = [Argument("", a.values[1:]) if a.flag == flag else a for a in self.arguments]
        return taken[-1][0] if taken else None, self._of(kept)

    def with_run_flag(self, first_word: bool) -> "CommandLine":
        """The line with ``--run`` before a run directory that stands without a flag.

        Args:
            first_word: Whether a word before all flags is one, even if there is no such directory.

        Raises:
            UsageError: ``--run`` is given, too.
        """
        found, kept = list[str](), list[Argument]()
        for number, argument in enumerate(self.arguments):
            own = 0 if argument.flag in ("", *_WITHOUT_VALUE) else 1
            others = () if argument.is_inline else argument.values[own:]
            runs = [word for word in others if (Path(word) / CONFIG).is_file()]
            if first_word and number == 0 and not argument.flag:
                runs = [*others[:1]]
            found += runs
            left = tuple(word for word in argument.values if word not in runs)
            kept.append(replace(argument, values=left) if runs else argument)
        if not found:
            return self
        if len(found) > 1 or self.has("--run"):
            given = self.take("--run")[0] if self.has("--run") else found[1]
            raise UsageError(f"{self.command}: got the runs {found[0]} and {given}. Name one.")
        return replace(self, words=["--run", found[0], *self._of(kept).words])

    def divide(self, is_first: Callable[[str], bool]) -> tuple["CommandLine", "CommandLine"]:
        """Split the line into the arguments whose flag satisfies a condition, and the others."""
        first = [argument for argument in self.arguments if argument.flag and is_first(argument.flag)]
        return self._of(first), self._of([argument for argument in self.arguments if argument not in first])

    def _of(self, arguments: Iterable[Argument]) -> "CommandLine":
        return replace(self, words=[word for argument in arguments for word in argument.words])

    @property
    def config_files(self) -> list[str]:
        """The files that ``--config`` (``-c``) names, in order."""
        return [argument.values[0] for argument in self.arguments if argument.flag in _CONFIG and argument.values]

    def with_found_configs(self) -> "CommandLine":
        """The line with the files of the configurations that it names, of which glue-lit ships some."""
        return self.with_config_files({name: find_config(name) for name in self.config_files})

    def with_config_files(self, files: Mapping[str, str | None]) -> "CommandLine":
        """The line with configuration files replaced by others; ``None`` removes one."""
        replaced = list[Argument]()
        for argument in self.arguments:
            if argument.flag not in _CONFIG or not argument.values:
                replaced.append(argument)
                continue
            name, *rest = argument.values
            if (file := files.get(name, name)) is not None:
                replaced.append(Argument("--config", (file,)))
            replaced.append(Argument("", tuple(rest)))
        return self._of(replaced)

    def setting(self, key: str) -> str | None:
        """Value of a dotted key: from its flag, else from the last configuration file with a text for it.

        A path that exists only beside that file is absolute.
        """
        value, _ = self.take(f"--{key}")
        if value is not None:
            return None if value in NULLS else value
        for file in reversed(self.config_files):
            found = self._find(file, key)
            if found is not None and isinstance(found[1], str):
                return paths_beside(file).get(key, found[1]) if key in PATHS else found[1]
        return None

    def folder_of(self, key: str) -> Path | None:
        """Folder of the last configuration file that gives a dotted key; ``None`` if a flag or no file does."""
        files = [] if self.has(f"--{key}") else reversed(self.config_files)
        return next((Path(file).parent for file in files if self._find(file, key) is not None), None)

    def setting_or_variable(self, key: str) -> str | None:
        """Value of a dotted key from `setting`, else from the command's environment variable."""
        return self.setting(key) or os.environ.get(setting_variable(self.command, key)) or None

    def where_set(self, key: str) -> str:
        """Where a setting was given, for messages: ``--data.task`` or ``data.task (configs/cola.yaml, line 2)``."""
        if self.has(f"--{key}"):
            return f"--{key}"
        for file in reversed(self.config_files):
            if (found := self._find(file, key)) is not None:
                return f"{key} ({file}, line {found[0]})"
        return key

    def _find(self, file: str, key: str) -> tuple[int, Any] | None:
        return find_key(os.path.join(self.folder, file), key)
