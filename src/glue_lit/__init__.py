"""Fine-tune any Hugging Face encoder on the GLUE benchmark."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from glue_lit.system.version import __version__

if TYPE_CHECKING:
    from glue_lit.cli.api import fit, tune
    from glue_lit.data.datamodule import GLUEDataModule
    from glue_lit.engine.tune_result import TuneResult
    from glue_lit.outputs.predictor import Predictor
    from glue_lit.system.hardware import fast_precision, keep_freed_memory
    from glue_lit.tasks.glue import TASKS, TaskSpec, get_task
    from glue_lit.training.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
    from glue_lit.training.classifier import SequenceClassifier
    from glue_lit.training.fitting import FitResult

__all__ = [
    "TASKS",
    "BestCheckpoint",
    "FitResult",
    "GLUEDataModule",
    "LastCheckpoint",
    "Predictor",
    "SequenceClassifier",
    "TaskSpec",
    "TuneResult",
    "__version__",
    "fast_precision",
    "fit",
    "get_task",
    "keep_freed_memory",
    "tune",
]

_MODULES = {
    "BestCheckpoint": "glue_lit.training.callbacks.checkpoints",
    "FitResult": "glue_lit.training.fitting",
    "GLUEDataModule": "glue_lit.data.datamodule",
    "LastCheckpoint": "glue_lit.training.callbacks.checkpoints",
    "Predictor": "glue_lit.outputs.predictor",
    "SequenceClassifier": "glue_lit.training.classifier",
    "TASKS": "glue_lit.tasks.glue",
    "TaskSpec": "glue_lit.tasks.glue",
    "TuneResult": "glue_lit.engine.tune_result",
    "fast_precision": "glue_lit.system.hardware",
    "fit": "glue_lit.cli.api",
    "get_task": "glue_lit.tasks.glue",
    "keep_freed_memory": "glue_lit.system.hardware",
    "tune": "glue_lit.cli.api",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `glue-lit --help` does not wait for torch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
