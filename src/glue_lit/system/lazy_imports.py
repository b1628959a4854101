"""Leave out an import of a library that nothing here needs."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_NAME = "scipy.signal"


@contextmanager
def defer_scipy_signal() -> Iterator[None]:
    """While imports run, keep torchmetrics from importing ``scipy.signal``, whose old name ``hamming`` it restores.

    Lightning imports torchmetrics in every command that needs torch, and ``scipy.signal`` imports much of SciPy: 40 MiB
    of memory. Whoever asks for anything else of it gets it.
    """
    if _NAME in sys.modules:
        yield
        return
    module = ModuleType(_NAME)
    vars(module).update(hamming=None, __getattr__=_of_real_module)
    sys.modules[_NAME] = module
    try:
        yield
    finally:
        if sys.modules.get(_NAME) is module:
            del sys.modules[_NAME]


def _of_real_module(name: str) -> Any:
    """An attribute of ``scipy.signal``, which is imported now."""
    if name.startswith("__"):  # asked for by the import system
        raise AttributeError(name)
    sys.modules.pop(_NAME, None)
    return getattr(importlib.import_module(_NAME), name)
