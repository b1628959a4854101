"""Paths in configuration files: looked up in the working directory, then beside the file that names them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from glue_lit.errors import UsageError
from glue_lit.runs.config_file import compose, find_node

PATHS = (
    "data.source",
    "data.custom.validation_file",
    "data.custom.test_file",
    "data.tokenizer",
    "model.name_or_path",
    "model.init_from",
)
_MODELS = ("data.tokenizer", "model.name_or_path")
NO_PATHS = ("hub", "demo")  # sources of data


def find_beside(value: str, folder: Path, key: str = "") -> str:
    """The absolute path of what a configuration file names, if that exists beside the file only; else ``value``.

    Args:
        value: A path, or a name of something that is not a file.
        folder: Folder of the configuration file.
        key: The setting, by dotted key. Only a folder that holds a model counts as one, since names of models on the
            Hub are common names of folders.
    """
    if not value or value in NO_PATHS or Path(value).expanduser().exists():
        return value
    path = folder.absolute() / value
    is_there = (path / "config.json").is_file() if key in _MODELS else path.exists()
    return str(path) if is_there else value


def paths_beside(file: str) -> dict[str, str]:
    """The settings of `fit` in a configuration file that name something beside it, as absolute paths by dotted key."""
    return {key: path for key, _, path in _paths_beside(file)}


def _paths_beside(file: str) -> Iterator[tuple[str, Any, str]]:
    try:
        root = compose(file)
    except UsageError:
        return
    for key in PATHS:
        _, node = find_node(root, key) or (0, None)
        value = node.value if isinstance(node, yaml.ScalarNode) else ""
        if (path := find_beside(value, Path(file).parent, key)) != value:
            yield key, node, path


def text_to_copy(file: str) -> str:
    """The text of a configuration file for a copy elsewhere: what the file names beside it has an absolute path."""
    text = Path(file).read_text(encoding="utf-8")
    for _, node, path in sorted(_paths_beside(file), key=lambda found: -found[1].start_mark.index):
        text = text[: node.start_mark.index] + json.dumps(path, ensure_ascii=False) + text[node.end_mark.index :]
    return text
