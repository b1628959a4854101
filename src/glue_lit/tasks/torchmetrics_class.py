"""Build the torchmetrics metric that a setting names."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from glue_lit.errors import UsageError

# A configuration or a checkpoint may come from anybody, so it can name nothing else; other metrics download models.
_PACKAGES = ("torchmetrics.classification", "torchmetrics.regression", "torchmetrics.nominal")


def build_torchmetric(path: str, arguments: Mapping[str, Any]) -> Any:
    """Build the metric, which takes no part in communication between devices.

    Args:
        path: The class.
        arguments: Its arguments.

    Raises:
        UsageError: It is not a metric of torchmetrics for labels or scores, or refuses its arguments.
    """
    from torchmetrics import Metric

    module, _, name = path.rpartition(".")
    found = getattr(import_module(module), name, None) if module in ("torchmetrics", *_PACKAGES) else None
    if not (isinstance(found, type) and issubclass(found, Metric) and found.__module__.startswith(_PACKAGES)):
        raise UsageError(
            f"metrics: class_path is {path!r}, allowed: a metric of {', '.join(_PACKAGES)}, such as "
            "torchmetrics.classification.BinaryCalibrationError."
        )
    try:
        built: Any = found(**arguments)
    except Exception as error:  # each class checks its arguments in its own way
        raise UsageError(f"metrics: {path} refuses init_args {dict(arguments)}: {_first_line(error)}") from None
    built.distributed_available_fn = lambda: False
    return built


def compares_labels(path: str) -> bool:
    """Whether a class compares labels; those of ``torchmetrics.regression`` compare scores."""
    module, _, name = path.rpartition(".")
    if module == "torchmetrics":
        module = getattr(getattr(import_module(module), name, None), "__module__", "")
    return module.startswith(("torchmetrics.classification", "torchmetrics.nominal"))


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
