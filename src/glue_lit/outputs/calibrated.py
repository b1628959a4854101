"""Calibration of a run: fitted on its dev rows, stored in its directory, applied to predictions files."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glue_lit.data.label_tensors import dense_labels
from glue_lit.data.splits import TaskSplits
from glue_lit.errors import GlueLitError, RunError, UsageError
from glue_lit.evaluation.calibration import (
    Array,
    Calibration,
    calibrate,
    log_sigmoid,
    log_softmax,
    measure_calibration,
)
from glue_lit.evaluation.thresholds import scaled_thresholds
from glue_lit.outputs.predictor import Predictor
from glue_lit.runs.checkpoints import read_checkpoint
from glue_lit.runs.config_file import find_key
from glue_lit.runs.prediction_record import read_prediction_record, update_prediction_record
from glue_lit.runs.run import Run
from glue_lit.system.console import note
from glue_lit.system.files import open_atomic, read_json, write_json
from glue_lit.tasks.glue import TaskSpec

_FILE = "calibration.json"


def calibration_of(
    run: Run | None, checkpoint: Path, task: TaskSpec, predictor: Callable[[], Predictor]
) -> Calibration:
    """Read or fit the calibration of a checkpoint, and print it.

    Args:
        run: The run whose directory stores the calibration; without one, the checkpoint's folder does.
        checkpoint: The checkpoint file; a stored calibration of another file is ignored.
        task: The task that it was trained on.
        predictor: Loads the checkpoint; called only to fit.

    Raises:
        UsageError: The task has no probabilities, or no labels to calibrate them with.
        RunError: The dev rows cannot be read.
    """
    if task.is_regression or task.monitored_split is None:
        raise UsageError(
            f"--calibrate: task {task.name} has no {'probabilities' if task.is_regression else 'dev rows'}."
        )
    place = (run.path if run is not None else checkpoint.parent) / _FILE
    with checkpoint.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    calibration = _read_calibration(place, digest)
    if calibration is None:
        calibration = calibrate(*_dev_logits(run, checkpoint, predictor()))
        write_json(place, {"checkpoint": digest, "split": task.monitored_split} | asdict(calibration))
    fitted = f"Fitted on {calibration.rows:,} rows of {task.monitored_split}"
    note(f"{fitted}: temperature {calibration.temperature:.4f}, {calibration}")
    return calibration


def _read_calibration(place: Path, digest: str) -> Calibration | None:
    try:
        values = read_json(place)
        if values.pop("checkpoint") != digest:
            return None
        values.pop("split")
        found = Calibration(**values)
        return found if all(map(math.isfinite, values.values())) and found.temperature > 0 else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _dev_logits(run: Run | None, checkpoint: Path, predictor: Predictor) -> tuple[Array, NDArray[np.int64]]:
    """Logits and gold labels of the labelled dev rows, from the data that the run names."""
    saved, split = read_checkpoint(checkpoint), str(predictor.task.monitored_split)
    if not saved.get("datamodule_hyper_parameters"):
        raise RunError(f"--calibrate: {checkpoint} does not say which data it was trained on.")
    named = find_key(str(run.config), "data.source") if run is not None else None
    # If the data have moved, the user edits the run's configuration.
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
    if predictor.task.is_multi_label:
        store, rows = dataset.store, dataset.examples[known]
        labels = len(predictor.task.labels)
        gold = dense_labels(rows, gold[known], store.label_indices, store.label_offsets, labels).long()
        return predictor.of_dataset(dataset)[known].double().numpy(), gold.numpy()
    return predictor.of_dataset(dataset)[known].double().numpy(), gold[known].numpy()


def rescale_probabilities(path: Path, temperature: float) -> Calibration | None:
    """Scale the probabilities in a predictions file by a temperature; returns the effect if rows have gold labels."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    probabilities = np.array([list(line["probabilities"].values()) for line in lines], dtype=np.float64)
    is_multi_label = "labels" in lines[0] if lines else False
    logarithms = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))  # 0 has no logarithm
    if is_multi_label:
        logarithms -= np.log(np.maximum(1 - probabilities, np.finfo(np.float64).eps / 2))
    scaled = np.exp((log_sigmoid if is_multi_label else log_softmax)(logarithms / temperature))
    with open_atomic(path) as file:
        for line, row in zip(lines, scaled.tolist(), strict=True):
            line["probabilities"] = dict(zip(line["probabilities"], row, strict=True))
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    of_labels = (read_prediction_record(path) or {}).get("thresholds")
    more = {"thresholds": scaled_thresholds(of_labels, temperature)} if of_labels else {}
    update_prediction_record(path, temperature=temperature, **more)
    known = [at for at, line in enumerate(lines) if "gold" in line]
    gold = np.array([_gold(lines[at]) for at in known], dtype=np.int64)
    return measure_calibration(logarithms[known], gold, temperature) if known else None


def _gold(line: Mapping[str, Any]) -> int | list[int]:
    """The gold class of a prediction; of a multi-label task 0 or 1 for each label."""
    labels = list(line["probabilities"])
    if "labels" not in line:
        return labels.index(line["gold"])
    return [int(label in line["gold"]) for label in labels]
