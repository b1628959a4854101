"""Where a score comes from: code, data, machine, versions."""

import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from glue_lit.data.datamodule import GLUEDataModule
from glue_lit.data.splits import TaskSplits
from glue_lit.encoder.trained_embedding import parameter_counts
from glue_lit.runs.config_values import read_config
from glue_lit.runs.recipe import describe_recipe
from glue_lit.runs.run import Run
from glue_lit.system.version import __version__
from glue_lit.training.callbacks.checkpoints import BestCheckpoint
from glue_lit.training.callbacks.speed import TrainingSpeed
from glue_lit.training.classifier import SequenceClassifier

_LIBRARIES = ("torch", "lightning", "transformers", "tokenizers", "datasets", "torchmetrics", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python, of glue-lit, and of the libraries that a score can depend on."""
    used = (*_LIBRARIES, *(name for name in ("peft", "bitsandbytes") if name in sys.modules))
    return {"python": platform.python_version(), "glue-lit": __version__} | {name: version(name) for name in used}


def git_revision() -> dict[str, Any] | None:
    """Commit of the working directory and number of changed files; ``None`` outside a repository."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return None
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "changed_files": None if changes is None else len(changes.splitlines())}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def device(trainer: Trainer) -> dict[str, Any]:
    """The device and the processes of a run."""
    root = trainer.strategy.root_device
    named = getattr(torch.get_device_module(root), "get_device_name", None) if root.type != "cpu" else None
    name = named(root) if named is not None else _processor()
    return {
        "type": root.type,
        "name": name,
        "processes": trainer.world_size,
        "threads": torch.get_num_threads(),
        "precision": str(trainer.precision),
        "host": platform.node(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def describe_data(data: TaskSplits, stage: str) -> dict[str, Any]:
    """The source of the rows, and each split's origin, content and number of rows.

    ``hash`` covers texts and labels, so it is the same for the same rows from any source. ``commit`` is that of the
    data set on the Hub, null for a file. ``fingerprint`` changes with the file or data set.
    """

    def describe(name: str) -> dict[str, Any]:
        split, rows = data.split(name), data.dataset(name, stage)
        return {
            "origin": split.origin,
            "fingerprint": split.fingerprint,
            "hash": rows.store.digest,
            "commit": split.commit,
            "rows": len(rows.examples),
        }

    splits = {name: describe(name) for name in data.names_for(stage)}
    findings = [asdict(found) for found in data.findings(stage)]
    return {"source": data.source, "max_length": data.max_length, "splits": splits, "findings": findings}


def _describe_model(model: SequenceClassifier) -> dict[str, Any]:
    return {
        "model": model.hparams["name_or_path"],
        "model_commit": model.builder.commit,
        "init_from": model.hparams["init_from"],
        "parameters": dict(zip(("total", "trained"), parameter_counts(model), strict=True)),
    }


def run_record(
    run: Run, trainer: Trainer, model: SequenceClassifier, data: TaskSplits, best: dict[str, Any], speed: TrainingSpeed
) -> dict[str, Any]:
    """The content of ``metrics.json`` after a fit: the scores, and everything needed to reproduce them.

    Args:
        run: The run directory.
        trainer: After the fit.
        model: With the scores of the best checkpoint.
        data: The data that it was trained on.
        best: Content of the best checkpoint.
        speed: Has measured the training.
    """
    config = read_config(run.config.read_text(encoding="utf-8"))
    return {
        "task": data.task.name,
        "source": data.source,
        **_describe_model(model),
        "metrics": model.scores,
        "positive": data.task.f1_label,
        **({"thresholds": dict(zip(data.task.labels, model.thresholds, strict=True))} if model.thresholds else {}),
        **({"cut_points": list(model.task.cut_points)} if model.task.levels else {}),
        "predicted": model.predicted,
        "best": {"checkpoint": "checkpoints/best.ckpt", "epoch": best["epoch"] + 1, "step": best["global_step"]},
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "skipped_steps": model.parts.guard.skipped,
        **speed.record(trainer),
        "wall_seconds": speed.wall_seconds,
        "processor_seconds": speed.processor_seconds,
        "device": device(trainer),
        "versions": versions(),
        "git": git_revision(),
        "data": describe_data(data, "fit"),
        "recipe": recipe_of(config, type(model), type(trainer.datamodule)),  # type: ignore[attr-defined]
        "config": config,
    }


def recipe_of(
    config: Mapping[str, Any], model_class: type = SequenceClassifier, datamodule_class: type = GLUEDataModule
) -> dict[str, str]:
    """The recipe of a run in words, from the settings of its model, data and checkpoint; see `describe_recipe`."""
    return describe_recipe(config, {"model": model_class, "data": datamodule_class, "checkpoint": BestCheckpoint})
