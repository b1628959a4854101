"""Convert configuration text to values and back, keeping texts that look like another type.

``labels: [no, 1e5, 2024-01-01]`` is a list of three texts. YAML 1.1, YAML 1.2, JSON and jsonargparse disagree on what
is a number or a boolean. So the writer quotes a text that any of them would convert, and the reader takes the value of
a key that holds texts literally.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from enum import Enum
from pathlib import PurePath
from typing import Any, get_args, get_type_hints

import yaml

from glue_lit.tasks.custom import CustomTask

_CUSTOM = {name: {hint, *get_args(hint)} for name, hint in get_type_hints(CustomTask).items()}
_OTHERS = (
    "data.task", "data.source", "data.tokenizer", "data.revision", "data.cache_dir", "data.predict_split", "model.task",
    "model.name_or_path", "model.revision", "model.init_from", "checkpoint.monitor", "trainer.default_root_dir",
    "ckpt_path", "name",
)  # fmt: skip
CUSTOM_TEXTS = tuple(f"data.custom.{key}" for key, types in _CUSTOM.items() if types & {str, list[str]})
_TEXTS = frozenset({*CUSTOM_TEXTS, *_OTHERS})
FORMER_NAMES = {"model.frozen_dtype": "model.dtype"}  # of settings, which configurations of before have
SECTIONS = {"data", "model", "trainer", "checkpoint"}
_OF_DATA = {key.split(".")[1] for key in _TEXTS if key.startswith("data.")}
NULLS = ("null", "~", "")
_PLAIN_TAG = re.compile(r"tag:yaml\.org,2002:\w+")
_STR, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
# Words and numbers of YAML 1.1, YAML 1.2, JSON and Python, and texts that look like them.
_ANOTHER_MEANING = re.compile(
    r"[-+]?[0-9.][-+0-9_.,:eET]*[zZ]?|[-+]?0[xob][0-9a-f_]*|[-+]?\.?(?:inf|infinity|nan)"
    r"|y|n|yes|no|on|off|true|false|null|none|[-~=?|>@`%!&*]|<<|",
    re.IGNORECASE,
)
_CONTROL = re.compile("[\x00-\x1f\x7f-\xa0\u2028\u2029\ufeff]")


class Text(str):
    """A text that jsonargparse does not parse as YAML."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Quotes texts that a reader would convert, and writes defaults that YAML has no type for."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    if _CONTROL.search(text):  # PyYAML would fold some line separators
        return dumper.represent_scalar(_STR, str(text), style='"')
    return dumper.represent_scalar(_STR, str(text), style="'" if _ANOTHER_MEANING.fullmatch(text) else None)


def _represent_default(dumper: yaml.SafeDumper, value: Any) -> yaml.Node:
    """Write a default that is not of its argument's type, such as Lightning's ``Timer(interval=Interval.step)``."""
    if isinstance(value, Enum):
        return dumper.represent_data(value.value if isinstance(value, str | int | float) else value.name)
    if isinstance(value, str):
        return _represent_text(dumper, str.__str__(value))
    for kind in (int, float):
        if isinstance(value, kind):
            return dumper.represent_data(kind(value))
    if isinstance(value, Mapping):
        return dumper.represent_data(dict(value))
    if isinstance(value, set | frozenset):
        return dumper.represent_data(sorted(value, key=repr))
    if isinstance(value, Collection) and not isinstance(value, bytearray):
        return dumper.represent_data([*value])
    if isinstance(value, PurePath | timedelta) or type(value).__module__ == "torch":  # a device, a dtype
        return dumper.represent_data(str(value))
    if "<" not in (name := getattr(value, "__qualname__", "<")):  # a class or a function
        return dumper.represent_data(f"{value.__module__}.{name}")
    return dumper.represent_undefined(value)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(Text, _represent_text)
_Dumper.add_representer(set, _represent_default)
_Dumper.add_multi_representer(object, _represent_default)


def dump_config(values: Any) -> str:
    """Values as YAML that every reader converts back to the same values."""
    return str(yaml.dump(values, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False))


def to_flag(values: Any) -> str:
    """A list or mapping as YAML on one line, for the command line."""
    return str(yaml.dump(values, Dumper=_Dumper, default_flow_style=True, sort_keys=False, width=2**30)).strip()


def texts_in_list(value: str) -> list[str] | None:
    """The texts of a list in brackets, such as ``[a, b]``; ``None`` for another value, or a list of lists."""
    try:
        root = yaml.compose(value, Loader=yaml.SafeLoader) if value.lstrip().startswith("[") else None
    except yaml.YAMLError:
        return None
    if not isinstance(root, yaml.SequenceNode) or not all(isinstance(part, yaml.ScalarNode) for part in root.value):
        return None
    return [str(part.value) for part in root.value]


def mark_texts(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with their texts marked as `Text`."""
    return {key: Text(value) if isinstance(value, str) else value for key, value in values.items()}


def read_config(text: str, loader: Any = yaml.SafeLoader) -> Any:
    """Parse a configuration, taking texts literally.

    Raises:
        yaml.YAMLError: It is not YAML.
    """
    root = yaml.compose(text, Loader=loader)
    if root is None:
        return None
    rename_settings(root)
    tag_texts(root)
    return yaml.constructor.SafeConstructor().construct_document(root)


def rename_settings(root: Any) -> bool:
    """Give settings that had another name their present one, in place; whether there are any.

    Args:
        root: YAML node of a whole configuration.
    """
    found = False
    for section, settings in root.value if isinstance(root, yaml.MappingNode) else ():
        for key, _ in settings.value if isinstance(settings, yaml.MappingNode) else ():
            if (name := FORMER_NAMES.get(f"{section.value}.{key.value}")) is not None:
                key.value, found = name.partition(".")[2], True
    return found


def tag_texts(root: Any) -> list[tuple[tuple[str, ...], bool]]:
    """Tag, in place, the values of keys that hold texts as texts.

    Args:
        root: YAML node of a whole configuration, or of its section ``data`` or ``data.custom``.

    Returns:
        The path of each such key from the root, and whether it belongs to ``data.custom``.
    """
    keys = {str(key.value) for key, _ in root.value} if isinstance(root, yaml.MappingNode) else set()
    if not keys:
        return []
    start = () if keys & SECTIONS else ("data", "custom") if keys <= _CUSTOM.keys() else ("data",)
    if start == ("data",) and not keys & {*_OF_DATA, "custom"}:
        start = ()
    found: list[tuple[tuple[str, ...], bool]] = []
    for path, node in _find_texts(root, start):
        parts = node.value if isinstance(node, yaml.SequenceNode) else [] if is_null(node) else [node]
        texts = [part for part in parts if isinstance(part, yaml.ScalarNode) and _PLAIN_TAG.fullmatch(part.tag)]
        for part in texts:
            part.tag, part.style = _STR, '"'
        if texts:
            found.append((path[len(start) :], path[1:2] == ("custom",)))
    return found


def _find_texts(node: Any, path: tuple[str, ...], above: tuple[int, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Path and value node of every key that holds texts."""
    if not isinstance(node, yaml.MappingNode) or id(node) in above or len(path) > 2:
        return
    for key, value in node.value:
        if key.tag == _MERGE:
            for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                yield from _find_texts(part, path, (*above, id(node)))
            continue
        here = (*path, str(key.value))
        if ".".join(here) in _TEXTS:
            yield here, value
        else:
            yield from _find_texts(value, here, (*above, id(node)))


def is_null(node: yaml.Node) -> bool:
    """Whether a YAML node is empty or ``null``."""
    is_bare = isinstance(node, yaml.ScalarNode) and not node.style
    return is_bare and str(node.value) in (*NULLS, "Null", "NULL")
