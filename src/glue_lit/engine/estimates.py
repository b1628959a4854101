"""How long the trainings of a suite may take, as far as earlier runs tell."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glue_lit.runs.run import LOGS, find_runs
from glue_lit.system.files import read_json
from glue_lit.tasks.glue import TASKS


def measured_speeds(root: Path) -> dict[tuple[str, str], float]:
    """Samples a second of finished runs by model and task, and by model alone."""
    found: dict[tuple[str, str], float] = {}
    places = [root / LOGS, *(root / LOGS).glob(f"suite/*/*/*/*/{LOGS}")]
    for run in (run for place in places for run in find_runs(place)):
        try:
            record = read_json(run.metrics)
            speed, model, task = float(record["train_samples_per_second"]), str(record["model"]), str(record["task"])
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            continue
        if 0 < speed < math.inf:
            found[model, task] = found[model, ""] = speed
    return found


def estimate_seconds(trainings: Mapping[tuple[str, str], Any], root: Path) -> dict[tuple[str, str], float | None]:
    """Seconds that trainings may take; nothing where no run tells a speed.

    Args:
        trainings: Their configurations by model and task.
        root: Where runs are looked for.
    """
    if not (speeds := measured_speeds(root)):
        return {}
    return {(model, task): _estimate(task, settings, speeds) for (model, task), settings in trainings.items()}


def _estimate(name: str, settings: Mapping[str, Any], speeds: Mapping[tuple[str, str], float]) -> float | None:
    """Seconds that a training may take, start and validation left out."""
    model, trainer = settings["model"]["name_or_path"], settings["trainer"]
    speed = speeds.get((model, name)) or speeds.get((model, ""))
    if (task := TASKS.get(settings["data"]["task"])) is None:
        return None  # data of the user's own
    rows, limit = task.files["train"].rows, settings["data"].get("train_limit")
    rows = rows if limit is None else min(rows, round(limit * rows) if limit < 1 else limit)
    rows *= 2 if settings["data"].get("both_orders") else 1
    if speed is None or not trainer.get("max_epochs"):
        return None
    return float(rows * trainer["max_epochs"] / speed)
