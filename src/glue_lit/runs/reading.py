"""Read the files of a run, which may be truncated or edited by hand, with one error for all that is wrong with one."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from glue_lit.errors import RunError
from glue_lit.runs.config_file import DEEPEST, MOST_VALUES
from glue_lit.runs.config_values import read_config
from glue_lit.runs.run import Run

_DEEP = 1000  # brackets, or characters in a line


def read_record(run: Run) -> dict[str, Any]:
    """Read ``metrics.json``; empty before the run has finished.

    Raises:
        RunError: It is damaged or cannot be read.
    """
    found = _read(run.metrics, json.loads)
    if found is not None and not isinstance(found.get("metrics"), dict):
        raise RunError(f"damaged {run.metrics.name}")
    return found or {}


def read_run_config(run: Run) -> dict[str, Any]:
    """Read the configuration of a run.

    Raises:
        RunError: It is missing, damaged or cannot be read.
    """
    found = _read(run.config, _parse_yaml)
    if not found:
        raise RunError(f"damaged {run.config.name}")
    return found


def _parse_yaml(text: str) -> Any:
    """Parse YAML with PyYAML's parser in C where there is one, which is ten times as fast.

    That parser crashes the process at values nested ten thousand deep. This takes as many brackets, or a line as long:
    the parser in Python gets such a text, and raises an error.
    """
    deep = text.count("[") + text.count("{") > _DEEP or any(len(line) > _DEEP for line in text.splitlines())
    return read_config(text, yaml.SafeLoader if deep else getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _read(path: Path, parse: Callable[[str], Any]) -> dict[str, Any] | None:
    """The mapping in a file, ``None`` without the file."""
    try:
        # Opening a pipe would wait for its writer.
        found = parse(path.read_text(encoding="utf-8")) if stat.S_ISREG(path.stat().st_mode) else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(f"unreadable {path.name} ({error.strerror})") from None
    except Exception:  # parsers raise many classes: for bad UTF-8, deep nesting, the 99th of January
        found = None
    if isinstance(found, dict) and _has_sane_size(found):
        return found
    raise RunError(f"damaged {path.name}")


def _has_sane_size(value: Any) -> bool:
    """Whether a value has a sane size: with aliases, a few lines of YAML make a list of billions, or an endless one."""
    left, count = [(value, 0)], 1
    while left:
        item, depth = left.pop()
        inner = item.values() if isinstance(item, dict) else item if isinstance(item, list | tuple) else ()
        count += len(inner)
        if count > MOST_VALUES or depth > DEEPEST:
            return False
        left.extend((part, depth + 1) for part in inner)
    return True
