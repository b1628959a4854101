"""Classes and functions that a setting names by their import path."""

from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any

from glue_lit.errors import UsageError


def plain_class(given: Any, short: Sequence[str]) -> dict[str, Any] | None:
    """A class and its settings as plain values, for a checkpoint; ``None`` if no class is given.

    Args:
        given: A class, a ``functools.partial`` of one, or a mapping with ``class_path`` and ``init_args``.
        short: Modules whose classes are named by them, wherever they are defined, such as ``torch.optim``.
    """
    settings: Mapping[str, Any] = {}
    if isinstance(given, partial):  # jsonargparse's calls its own function with the class
        given, settings = next((each for each in given.args if isinstance(each, type)), given.func), given.keywords
    if isinstance(given, type):
        name = given.__qualname__
        module = next((each for each in short if getattr(import_module(each), name, None) is given), given.__module__)
        given = {"class_path": f"{module}.{name}", "init_args": settings}
    if not isinstance(given, Mapping) or not isinstance(given.get("class_path"), str):
        return None
    return {"class_path": given["class_path"], "init_args": dict(given.get("init_args") or {})}


def import_named(setting: str, path: str, kind: str) -> Any:
    """Import what a setting names.

    Args:
        setting: Its name, for messages.
        path: The import path: ``PACKAGE.NAME``.
        kind: What it is, for messages.

    Raises:
        UsageError: It cannot be imported.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError, OSError, RuntimeError) as error:
        package = module.partition(".")[0]
        raise UsageError(
            f"{setting}: there is no {kind} {path} ({' '.join(str(error).split())[:200]}). Install its package, "
            f"e.g. `pip install {package}`."
        ) from None
