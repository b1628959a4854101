"""Names of classes that a data set keeps beside their numbers, in its own order: ``ClassLabel`` of `datasets`."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

ClassNames = Mapping[str, tuple[str, ...]]


def names_in_features(features: Mapping[str, Any]) -> ClassNames:
    """The names of the classes of each column that has any.

    Args:
        features: Those of a ``datasets.Dataset``.
    """
    names = {column: getattr(feature, "names", None) for column, feature in features.items()}
    return {column: tuple(found) for column, found in names.items() if found}


def names_in_schema(metadata: Mapping[bytes, bytes] | None) -> ClassNames:
    """The same from what `datasets` writes into the schema of a Parquet file; nothing from what is none of its own."""
    try:
        features = json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"].items()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
    found = {}
    for column, feature in features:
        names = feature.get("names") if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" else None
        if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
            found[column] = tuple(names)
    return found


def name_of_class(value: Any, names: Sequence[str] | None) -> Any:
    """The name of a class number; ``None`` for -1, which marks a hidden label; what is no class stays as it is."""
    if not names or not isinstance(value, int) or isinstance(value, bool):
        return value
    return None if value == -1 else names[value] if 0 <= value < len(names) else value


def are_numbers(labels: Sequence[str] | None, names: Sequence[str]) -> bool:
    """Whether a task's labels are the numbers of classes in place of their names."""
    numbers = {str(number) for number in range(len(names))}
    return bool(labels) and set(labels or ()) <= numbers and not set(labels or ()) <= set(names)
