"""Names of classes that a data set stores beside their numbers, as ``ClassLabel`` of `datasets` does."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

ClassNames = Mapping[str, tuple[str, ...]]


def names_in_features(features: Mapping[str, Any]) -> ClassNames:
    """The class names of each column that has some, from the features of a ``datasets.Dataset``."""
    names = {
        column: getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)
        for column, feature in features.items()
    }
    return {column: tuple(found) for column, found in names.items() if found}


def names_in_schema(metadata: Mapping[bytes, bytes] | None) -> ClassNames:
    """The class names that `datasets` writes into the schema of a Parquet file; other metadata are ignored."""
    try:
        features = json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"].items()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
    items = {column: _of_items(feature) for column, feature in features}
    names = {
        column: feature.get("names")
        for column, feature in items.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    }
    return {
        column: tuple(found)
        for column, found in names.items()
        if isinstance(found, list) and found and all(isinstance(name, str) for name in found)
    }


def _of_items(feature: Any) -> Any:
    """What a list holds; any other feature unchanged."""
    return feature.get("feature", feature) if isinstance(feature, dict) else feature


def name_class(value: Any, names: Sequence[str] | None) -> Any:
    """The name of a class number; ``None`` for -1, a hidden label; any other value unchanged."""
    if not names or type(value) is not int:
        return value
    return None if value == -1 else names[value] if 0 <= value < len(names) else value


def are_class_numbers(labels: Sequence[str] | None, names: Sequence[str]) -> bool:
    """Whether a task's labels are the numbers of a column's classes instead of their names."""
    numbers = {str(number) for number in range(len(names))}
    return bool(labels) and set(labels or ()) <= numbers and not set(labels or ()) <= set(names)
