"""Configuration files as the user wrote them: errors with line numbers, and the line of a key."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from glue_lit.errors import UsageError, did_you_mean
from glue_lit.runs.config_values import SECTIONS, is_null, tag_texts
from glue_lit.runs.shipped_configs import list_shipped

MOST_VALUES = 100_000  # a full configuration has some 200
DEEPEST = 100  # nested sections; a full configuration has 5. The parser's time grows with the square of it.


class _Loader(yaml.SafeLoader):
    """Raises a RecursionError at a depth that Python itself would still allow."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > DEEPEST:
            raise RecursionError
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def check_config(file: str) -> None:
    """Refuse a configuration file that is not valid.

    Raises:
        UsageError: It is missing, not UTF-8, not YAML, not a mapping, has a key twice, or is larger than a
            configuration can be.
    """
    root = compose(file)
    if root is not None:
        _check_size(file, root)
    if not isinstance(root, yaml.MappingNode):
        what = "is empty" if root is None else "does not start with a section"
        raise UsageError(
            f"--config {file}: the file {what}. It needs sections as in `data:` with `task: cola` indented below."
        )
    _check_duplicate_keys(file, root)
    for key, value, line in _entries(root):
        if key in SECTIONS and not (isinstance(value, yaml.MappingNode) or is_null(value)):
            raise UsageError(f"--config {file}, line {line}: {key} is not a section. It needs keys, indented below it.")
    tag_texts(root)
    try:
        yaml.constructor.SafeConstructor().construct_document(root)  # tags, merges, dates
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as error:
        raise _explain_yaml_error(file, error) from None


def _explain_yaml_error(file: str, error: Exception) -> UsageError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = "" if mark is None else f", line {mark.line + 1}"
    problem = getattr(error, "problem", None) or " ".join(str(error).split())
    return UsageError(f"--config {file}{line}: not YAML ({problem}).")


def compose(file: str) -> Any:
    """The YAML node of a configuration file; ``None`` for an empty one.

    Raises:
        UsageError: It cannot be read, or is not YAML.
    """
    path = Path(file)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UsageError(f"--config {file}: a pipe or a device, not a file.")
    if not path.is_file():
        there = sorted(str(other) for other in path.parent.glob("*.yaml"))
        hint = f"{did_you_mean(file, there)} There are {', '.join(there)}." if there else ""
        hint += list_shipped(file) if not there or not path.suffix else ""
        raise UsageError(f"--config: there is no file {file!r}.{hint}")
    try:
        return yaml.compose(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise UsageError(f"--config {file}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        line = path.read_bytes().count(b"\n", 0, error.start) + 1
        raise UsageError(f"--config {file}, line {line}: not UTF-8.") from None
    except RecursionError:
        raise UsageError(f"--config {file}: it is nested too deeply for a configuration.") from None
    except yaml.YAMLError as error:
        raise _explain_yaml_error(file, error) from None


def _check_size(file: str, root: Any) -> None:
    """Refuse aliases (``*name``) that turn a small file into gigabytes, or a value that contains itself."""
    sizes: dict[int, int] = {}
    above: set[int] = set()

    def size(node: Any) -> int:
        if id(node) in above:
            raise UsageError(f"--config {file}, line {node.start_mark.line + 1}: a value contains itself.")
        if id(node) not in sizes:
            above.add(id(node))
            parts = node.value if isinstance(node, yaml.CollectionNode) else ()
            sizes[id(node)] = 1 + sum(sum(map(size, part)) if isinstance(part, tuple) else size(part) for part in parts)
            above.discard(id(node))
        return sizes[id(node)]

    if (values := size(root)) > MOST_VALUES:
        raise UsageError(
            f"--config {file}: with its aliases written out it has {values:,} values, allowed: {MOST_VALUES:,}."
        )


def _check_duplicate_keys(file: str, node: Any, prefix: str = "") -> None:
    seen: dict[str, int] = {}
    for key, value, line in _entries(node):
        if key in seen:
            raise UsageError(
                f"--config {file}, line {line}: {prefix}{key} is given twice, first on line {seen[key]}; keep one."
            )
        seen[key] = line
        _check_duplicate_keys(file, value, f"{prefix}{key}.")


def _entries(node: Any) -> Iterator[tuple[str, Any, int]]:
    """Key, value node and line (from 1) of each entry of a mapping node; nothing for other nodes."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield str(key.value), value, key.start_mark.line + 1


def find_key(file: str, dotted: str) -> tuple[int, Any] | None:
    """Line and text of a dotted key in a file; ``None`` if the key is missing or the file is not valid."""
    try:
        found = find_node(compose(file), dotted)
    except UsageError:
        return None
    if found is None:
        return None
    line, node = found
    is_text = isinstance(node, yaml.ScalarNode) and node.tag != "tag:yaml.org,2002:null"
    return line, node.value if is_text else None


def find_node(root: Any, dotted: str) -> tuple[int, Any] | None:
    """Line and value node of a dotted key below a node; ``None`` without one."""
    node, line = root, 0
    for part in dotted.split("."):
        found = [(value, at) for key, value, at in _entries(node) if key == part]
        if not found:
            return None
        node, line = found[-1]
    return line, node
