"""Read the files of a run, which may be truncated or edited by hand; every problem becomes a `RunError`."""

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
    """Parse YAML with PyYAML's C parser if it is installed, which is ten times as fast.

    The C parser crashes the process on values nested ten thousand deep. That takes many brackets or a long line, so
    text with either goes to the Python parser, which raises an error.
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
    except Exception:  # parsers raise many classes, e.g. for bad UTF-8, deep nesting, January 99
        found = None
    if isinstance(found, dict) and _has_sane_size(found):
        return found
    raise RunError(f"damaged {path.name}")


def _has_sane_size(value: Any) -> bool:
    """Whether a value has a sane size: YAML aliases can turn a few lines into a list of billions, or an endless one."""
    left, count = [(value, 0)], 1
    while left:
        item, depth = left.pop()
        inner = item.values() if isinstance(item, dict) else item if isinstance(item, list | tuple) else ()
        count += len(inner)
        if count > MOST_VALUES or depth > DEEPEST:
            return False
        left.extend((part, depth + 1) for part in inner)
    return True
