"""Short names of classes: ``SGD`` is PyTorch's, also where another package that has been imported defines one.

jsonargparse refuses a short name that two imported packages have, and peft imports bitsandbytes if that is installed.
"""

from dataclasses import replace
from importlib import import_module
from typing import Any

import yaml

from glue_lit.runs.command_line import Argument

_PACKAGES = {"model.optimizer": "torch.optim", "model.loss": "torch.nn"}
_ENDS = (".class_path", ".help")


def full_name(key: str, name: str) -> str:
    """The import path of a class that a setting names; other values as they are.

    Args:
        key: The setting, such as ``model.optimizer``.
        name: Its value, such as ``SGD``.
    """
    package = _PACKAGES.get(key)
    is_class = package is not None and isinstance(getattr(import_module(package), name, None), type)
    return f"{package}.{name}" if is_class else name


def name_class_in_full(argument: Argument) -> Argument:
    """A flag with the import path of the class that it names, if it names one."""
    key = argument.flag.removeprefix("--")
    for end in _ENDS:
        key = key.removesuffix(end)
    if key not in _PACKAGES or len(argument.values) != 1:
        return argument
    return replace(argument, values=(full_name(key, argument.values[0]),))


def name_classes_in_full(root: Any) -> bool:
    """Name classes by their import paths, in place; whether any had a short name.

    Args:
        root: YAML node of a whole configuration.
    """
    found = False
    for key in _PACKAGES:
        node = root
        for name in key.split("."):
            node = _inner(node, name)
        node = node if isinstance(node, yaml.ScalarNode) else _inner(node, "class_path")
        if isinstance(node, yaml.ScalarNode) and (name := full_name(key, node.value)) != node.value:
            node.value, found = name, True
    return found


def _inner(node: Any, name: str) -> Any:
    """The node at a key of a mapping; ``None`` without it."""
    parts = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for key, value in parts if key.value == name), None)
