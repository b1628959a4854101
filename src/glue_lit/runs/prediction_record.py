"""Where a file of predictions is from: which rows and which checkpoint, in a record beside it.

A file of predictions itself says neither, and the demo corpus has as many test rows of WNLI as GLUE has.
"""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glue_lit.system.files import read_json, write_text


def prediction_record_path(predictions: Path) -> Path:
    """The record of a file of predictions: ``test.provenance.json`` of ``test.jsonl``."""
    return predictions.with_suffix(".provenance.json")


def write_prediction_record(predictions: Path, source: str, rows: int, checkpoint: Path | None, **more: Any) -> None:
    """Say where a file is from that has just been written.

    Args:
        predictions: The file.
        source: ``data.source``.
        rows: How many rows it has.
        checkpoint: What predicted them, if that was a checkpoint.
        more: What else is worth knowing.

    Raises:
        RunError: It cannot be written.
    """
    record = {
        "predictions": _sha256(predictions),
        "source": source,
        "rows": rows,
        "checkpoint": None if checkpoint is None else checkpoint.name,
        "checkpoint_fingerprint": None if checkpoint is None else checkpoint_fingerprint(checkpoint),
    }
    write_text(prediction_record_path(predictions), json.dumps(record | more, indent=2) + "\n")


def update_prediction_record(predictions: Path, **more: Any) -> None:
    """Say of a file that has a record how we have changed it since.

    Raises:
        RunError: It cannot be written.
    """
    record = read_prediction_record(predictions)
    if record is not None:
        new = {key: value for key, value in record.items() if key != "changed"} | more
        new["predictions"] = _sha256(predictions)
        write_text(prediction_record_path(predictions), json.dumps(new, indent=2) + "\n")


def read_prediction_record(predictions: Path) -> Mapping[str, Any] | None:
    """What the record of a file says; nothing if it has none.

    ``changed`` is added: whether the file is another one than the record speaks of.
    """
    try:
        record = read_json(prediction_record_path(predictions))
        return {**record, "changed": record["predictions"] != _sha256(predictions)}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def checkpoint_fingerprint(path: Path) -> str:
    """Changes whenever a checkpoint's content does; its own checksums are read, not its weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = [(member.CRC, member.file_size) for member in archive.infolist()]
    except zipfile.BadZipFile:
        return _sha256(path)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
