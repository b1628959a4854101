"""The calibration of a run: fitted on its dev predictions, kept beside it, put to files of predictions."""

import hashlib
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from glue_lit.calibration import Array, Calibration, calibrate, log_softmax
from glue_lit.errors import RunError, UsageError
from glue_lit.runs import Run, whole_file, write_metrics
from glue_lit.tasks import TaskSpec

_FILE = "calibration.json"


def calibration_of(run: Run | None, checkpoint: Path, task: TaskSpec) -> Calibration:
    """The calibration of a checkpoint, fitted unless its run has one that is of the same weights; said.

    Raises:
        UsageError: The task has no probabilities, or nothing to fit them on.
        RunError: The dev rows cannot be predicted.
    """
    if task.is_regression or task.monitored_split is None:
        raise UsageError(
            f"--calibrate: task {task.name} has no {'probabilities' if task.is_regression else 'dev rows'}."
        )
    place = (run.path if run is not None else checkpoint.parent) / _FILE
    with checkpoint.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    calibration = _kept(place, digest)
    if calibration is None:
        calibration = calibrate(*_dev_predictions(run, checkpoint, task))
        write_metrics(place, {"checkpoint": digest, "split": task.monitored_split} | asdict(calibration))
    print(
        f"Fitted on {calibration.rows:,} rows of {task.monitored_split}: temperature {calibration.temperature:.4f}, "
        f"expected calibration error {calibration.ece_before:.4f} before, {calibration.ece_after:.4f} after",
        file=sys.stderr,
    )
    return calibration


def _kept(place: Path, digest: str) -> Calibration | None:
    try:
        values = json.loads(place.read_text(encoding="utf-8"))
        if values.pop("checkpoint") != digest:
            return None
        values.pop("split")
        return Calibration(**values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _dev_predictions(run: Run | None, checkpoint: Path, task: TaskSpec) -> tuple[Array, Any]:
    """Logarithms of the probabilities, which differ from the logits by a constant a row, and gold labels."""
    folder = run.predictions if run is not None else checkpoint.parent / "predictions"
    named = ["--run", str(run.path)] if run is not None else []
    done = subprocess.run(
        [sys.executable, "-m", "glue_lit", "predict", *named, "--ckpt_path", str(checkpoint),
         f"--data.predict_split={task.monitored_split}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["nothing was said"]
        reason = said[-1].removeprefix("glue-lit: error: ")
        raise RunError(f"--calibrate: the dev rows cannot be predicted. {reason}")
    lines = _read(folder / f"{task.monitored_split}.jsonl")
    known = [line for line in lines if "gold" in line]
    if not known:
        raise UsageError(f"--calibrate: {task.monitored_split} has no labels to fit a temperature on.")
    gold = np.array([task.labels.index(line["gold"]) for line in known])
    return _logarithms(known), gold


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _logarithms(lines: list[dict[str, Any]]) -> Array:
    probabilities = np.array([list(line["probabilities"].values()) for line in lines], dtype=np.float64)
    smallest = np.finfo(np.float64).tiny  # 0 has no logarithm
    logarithms: Array = np.log(np.maximum(probabilities, smallest))
    return logarithms


def rewrite(path: Path, temperature: float) -> None:
    """Scale the probabilities in a file of predictions."""
    lines = _read(path)
    scaled = np.exp(log_softmax(_logarithms(lines) / temperature))
    with whole_file(path) as file:
        for line, row in zip(lines, scaled.tolist(), strict=True):
            line["probabilities"] = dict(zip(line["probabilities"], row, strict=True))
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
