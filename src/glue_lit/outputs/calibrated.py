"""The calibration of a run: fitted on its dev predictions, kept beside it, put to files of predictions."""

import hashlib
import json
import math
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glue_lit.data.splits import TaskSplits
from glue_lit.errors import GlueLitError, RunError, UsageError
from glue_lit.evaluation.calibration import Array, Calibration, calibrate, log_softmax
from glue_lit.outputs.predictor import Predictor
from glue_lit.runs.checkpoints import read_checkpoint
from glue_lit.runs.config_file import find_key
from glue_lit.runs.prediction_record import update_prediction_record
from glue_lit.runs.run import Run
from glue_lit.system.files import open_atomic, read_json, write_json
from glue_lit.tasks.glue import TaskSpec

_FILE = "calibration.json"


def calibration_of(
    run: Run | None, checkpoint: Path, task: TaskSpec, predictor: Callable[[], Predictor]
) -> Calibration:
    """The calibration of a checkpoint, fitted unless its run has one that is of the same weights; said.

    Args:
        run: Keeps it; without one, the checkpoint's folder does.
        checkpoint: The file.
        task: What it was trained for.
        predictor: Gives the checkpoint at work, where it is needed.

    Raises:
        UsageError: The task has no probabilities, or nothing to fit them on.
        RunError: The dev rows cannot be read.
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
        calibration = calibrate(*_dev_logits(run, checkpoint, predictor()))
        write_json(place, {"checkpoint": digest, "split": task.monitored_split} | asdict(calibration))
    print(
        f"Fitted on {calibration.rows:,} rows of {task.monitored_split}: temperature {calibration.temperature:.4f}, "
        f"expected calibration error {calibration.ece_before:.4f} before, {calibration.ece_after:.4f} after",
        file=sys.stderr,
    )
    return calibration


def _kept(place: Path, digest: str) -> Calibration | None:
    try:
        values = read_json(place)
        if values.pop("checkpoint") != digest:
            return None
        values.pop("split")
        kept = Calibration(**values)
        return kept if all(math.isfinite(value) for value in values.values()) and kept.temperature > 0 else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _dev_logits(run: Run | None, checkpoint: Path, predictor: Predictor) -> tuple[Array, NDArray[np.int64]]:
    """Logits and gold labels of the dev rows that have one, from the data that the run names."""
    saved, split = read_checkpoint(checkpoint), str(predictor.task.monitored_split)
    if not saved.get("datamodule_hyper_parameters"):
        raise RunError(f"--calibrate: {checkpoint} does not say which data it was trained on.")
    named = find_key(str(run.config), "data.source") if run is not None else None
    # The run's configuration may have been changed, where the data have moved.
    moved = {"source": named[1]} if named is not None and isinstance(named[1], str) else {}
    try:
        dataset = TaskSplits.from_checkpoint(saved, **moved).dataset(split)
    except GlueLitError as error:
        where = f" The run's data.source is in {run.config}." if run is not None else ""
        raise RunError(f"--calibrate: the dev rows cannot be read. {error}{where}") from error
    gold = dataset.store.labels[dataset.examples]
    known = gold >= 0
    if not known.any():
        raise UsageError(f"--calibrate: {split} has no labels to fit a temperature on.")
    return predictor.of_dataset(dataset)[known].double().numpy(), gold[known].numpy()


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def _logarithms(lines: list[dict[str, Any]]) -> Array:
    probabilities = np.array([list(line["probabilities"].values()) for line in lines], dtype=np.float64)
    smallest = np.finfo(np.float64).tiny  # 0 has no logarithm
    logarithms: Array = np.log(np.maximum(probabilities, smallest))
    return logarithms


def rewrite(path: Path, temperature: float) -> None:
    """Scale the probabilities in a file of predictions."""
    lines = _read(path)
    scaled = np.exp(log_softmax(_logarithms(lines) / temperature))
    with open_atomic(path) as file:
        for line, row in zip(lines, scaled.tolist(), strict=True):
            line["probabilities"] = dict(zip(line["probabilities"], row, strict=True))
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    update_prediction_record(path, temperature=temperature)
