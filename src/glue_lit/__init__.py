"""Fine-tune any Hugging Face encoder on the GLUE benchmark."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from glue_lit.data.datamodule import GLUEDataModule
    from glue_lit.keepers import BestCheckpoint, LastCheckpoint
    from glue_lit.model import SequenceClassifier
    from glue_lit.tasks import TASKS, TaskSpec, get_task

__all__ = [
    "TASKS",
    "BestCheckpoint",
    "GLUEDataModule",
    "LastCheckpoint",
    "SequenceClassifier",
    "TaskSpec",
    "get_task",
]

_HOMES = {
    "BestCheckpoint": "glue_lit.keepers",
    "GLUEDataModule": "glue_lit.data.datamodule",
    "LastCheckpoint": "glue_lit.keepers",
    "SequenceClassifier": "glue_lit.model",
    "TASKS": "glue_lit.tasks",
    "TaskSpec": "glue_lit.tasks",
    "get_task": "glue_lit.tasks",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for, so that `glue-lit --help` does not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
