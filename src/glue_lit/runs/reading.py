"""Files of a run that may be half written, cut off or edited by hand: what is wrong with one is said, not raised."""

import json
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from glue_lit.runs import config_values
from glue_lit.runs.run import Run

_DEEP = 1000  # brackets, or characters in a line
_DEEPEST, _MOST = 100, 100_000  # levels and values of a file that is believed


def read_record(run: Run) -> tuple[Mapping[str, Any], str]:
    """Content of ``metrics.json``, and what is wrong with it; both empty where there is none."""
    found, problem = _read(run.metrics, json.loads)
    if found is not None and not isinstance(found.get("metrics"), dict):
        problem = f"damaged {run.metrics.name}"
    return found or {}, problem


def read_config(run: Run) -> tuple[Mapping[str, Any], str]:
    """The configuration of a run, and what is wrong with it."""
    found, problem = _read(run.config, _parse_yaml)
    return found or {}, problem or ("" if found else f"damaged {run.config.name}")


def _parse_yaml(text: str) -> Any:
    """The value of a YAML text, by the parser in C where PyYAML has one: it is ten times as fast.

    It ends the whole process, though, where values are nested ten thousand deep. That takes as many brackets, or a line
    as long; such a text is for the other parser, which raises an error.
    """
    deep = text.count("[") + text.count("{") > _DEEP or any(len(line) > _DEEP for line in text.splitlines())
    return config_values.read_config(text, yaml.SafeLoader if deep else getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _read(path: Path, parse: Callable[[str], Any]) -> tuple[dict[str, Any] | None, str]:
    """The mapping in a file, ``None`` without one, and what is wrong with it."""
    try:
        # To open a pipe would mean to wait for its writer.
        found = parse(path.read_text(encoding="utf-8")) if stat.S_ISREG(path.stat().st_mode) else None
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, f"unreadable {path.name} ({error.strerror})"
    except Exception:  # no UTF-8, cut off, nested a thousand deep, the 99th of January: parsers have an error for each
        found = None
    return (found, "") if isinstance(found, dict) and _is_finite(found) else (None, f"damaged {path.name}")


def _is_finite(value: Any) -> bool:
    """Whether it is as small as it looks: a few lines of YAML can mean a list of billions, or one that holds itself."""
    left, count = [(value, 0)], 1
    while left:
        item, depth = left.pop()
        inner = item.values() if isinstance(item, dict) else item if isinstance(item, list | tuple) else ()
        count += len(inner)
        if count > _MOST or depth > _DEEPEST:
            return False
        left.extend((part, depth + 1) for part in inner)
    return True
