"""Read files of a run that may be truncated or edited by hand: a problem is returned as text, not raised."""

import json
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from glue_lit.runs import config_values
from glue_lit.runs.config_file import DEEPEST, MOST_VALUES
from glue_lit.runs.run import Run

_DEEP = 1000  # brackets, or characters in a line


def read_record(run: Run) -> tuple[Mapping[str, Any], str]:
    """Content of ``metrics.json``, and what is wrong with it; both empty without the file."""
    found, problem = _read(run.metrics, json.loads)
    if found is not None and not isinstance(found.get("metrics"), dict):
        problem = f"damaged {run.metrics.name}"
    return found or {}, problem


def read_config(run: Run) -> tuple[Mapping[str, Any], str]:
    """The configuration of a run, and what is wrong with it."""
    found, problem = _read(run.config, _parse_yaml)
    return found or {}, problem or ("" if found else f"damaged {run.config.name}")


def _parse_yaml(text: str) -> Any:
    """Parse YAML with PyYAML's parser in C where there is one, which is ten times as fast.

    That parser crashes the process at values nested ten thousand deep. This takes as many brackets, or a line as long:
    the parser in Python gets such a text, and raises an error.
    """
    deep = text.count("[") + text.count("{") > _DEEP or any(len(line) > _DEEP for line in text.splitlines())
    return config_values.read_config(text, yaml.SafeLoader if deep else getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _read(path: Path, parse: Callable[[str], Any]) -> tuple[dict[str, Any] | None, str]:
    """The mapping in a file, ``None`` without a valid one, and what is wrong with the file."""
    try:
        # Opening a pipe would wait for its writer.
        found = parse(path.read_text(encoding="utf-8")) if stat.S_ISREG(path.stat().st_mode) else None
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, f"unreadable {path.name} ({error.strerror})"
    except Exception:  # parsers raise many classes: for bad UTF-8, deep nesting, the 99th of January
        found = None
    return (found, "") if isinstance(found, dict) and _has_sane_size(found) else (None, f"damaged {path.name}")


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
