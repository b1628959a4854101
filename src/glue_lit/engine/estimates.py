"""Estimates of trainings: time, from the speed of earlier runs, and memory, from the size of the models."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from glue_lit.encoder.pretrained import weights_size
from glue_lit.runs.reading import read_record
from glue_lit.runs.run import LOGS, find_runs
from glue_lit.tasks.glue import TASKS

_GIB = 2**30
_LARGE = 1_340_000_000  # bytes, the weights of BERT-large, for models that are still to be downloaded


def measured_speeds(root: Path) -> dict[tuple[str, str], float]:
    """Samples per second of finished runs, by model and task; with an empty task, of the model on any task."""
    speeds: dict[tuple[str, str], float] = {}
    folders = [root / LOGS, *(root / LOGS).glob(f"suite/*/*/*/*/{LOGS}")]
    for run in (run for folder in folders for run in find_runs(folder)):
        try:
            record = read_record(run)
            speed, model, task = float(record["train_samples_per_second"]), str(record["model"]), str(record["task"])
        except (ValueError, KeyError, TypeError, OverflowError):
            continue
        if 0 < speed < math.inf:
            speeds[model, task] = speeds[model, ""] = speed
    return speeds


def estimate_seconds(trainings: Mapping[tuple[str, str], Any], root: Path) -> dict[tuple[str, str], float | None]:
    """Estimate the seconds that trainings take; empty if no run has finished yet.

    Args:
        trainings: Configurations by model and task.
        root: Folder whose runs give the speeds.
    """
    if not (speeds := measured_speeds(root)):
        return {}
    return {(model, task): _estimate(task, settings, speeds) for (model, task), settings in trainings.items()}


def _estimate(name: str, settings: Mapping[str, Any], speeds: Mapping[tuple[str, str], float]) -> float | None:
    """Seconds of a training without its start and validations; ``None`` if its speed or size is unknown."""
    model, data, epochs = settings["model"]["name_or_path"], settings["data"], settings["trainer"].get("max_epochs")
    speed = speeds.get((model, name)) or speeds.get((model, ""))
    task = TASKS.get(data["task"])  # none for a user's own data
    if task is None or speed is None or not epochs:
        return None
    rows, limit = task.files["train"].rows, data.get("train_limit")
    rows = rows if limit is None else min(rows, round(limit * rows) if limit < 1 else limit)
    if (shots := data.get("shots")) is not None:
        rows = min(rows, shots * len(task.labels))
    return float(rows * (2 if data.get("both_orders") else 1) * epochs / speed)


def estimate_memory(models: Iterable[tuple[str, str]]) -> int:
    """Bytes that a training of the largest of some models may need, given as names with their revisions.

    Beside the libraries, a fit has the weights, their gradients, AdamW's two moments, and activations.
    """
    sizes = [weights_size(name, revision) or _LARGE for name, revision in models]
    return _GIB + 8 * max(sizes, default=_LARGE)
