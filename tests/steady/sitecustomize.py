"""What Python runs at its start where this folder is on PYTHONPATH: every process of a test run finds the same machine.

$TEST_BFLOAT16 (on, off) says whether torch finds instructions for bfloat16, whatever the processor has; `conftest` sets it.
"""

import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "sve_bf16")


def _steady(module: ModuleType) -> None:
    found = getattr(module, "get_capabilities", dict)

    def get_capabilities() -> dict[str, Any]:
        asked = os.environ.get("TEST_BFLOAT16")
        return dict(found()) | ({} if asked is None else dict.fromkeys(_INSTRUCTIONS, asked == "on"))

    module.get_capabilities = get_capabilities  # type: ignore[attr-defined]


class _Finder(MetaPathFinder):
    """Finds ``torch.cpu``, and has it changed once it is loaded: most processes never import torch."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path) if fullname == "torch.cpu" else None
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            _steady(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if "torch.cpu" in sys.modules:
    _steady(sys.modules["torch.cpu"])
else:
    sys.meta_path.insert(0, _Finder())
