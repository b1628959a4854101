"""The record beside a predictions file: the source of its rows, and the checkpoint.

The predictions file has neither, and the number of rows does not tell sources apart: WNLI has as many test rows in the
demo as in GLUE.
"""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glue_lit.system.files import read_json, write_text


def prediction_record_path(predictions: Path) -> Path:
    """Path of the record of a predictions file: ``test.provenance.json`` for ``test.jsonl``."""
    return predictions.with_suffix(".provenance.json")


def write_prediction_record(predictions: Path, source: str, rows: int, checkpoint: Path | None, **more: Any) -> None:
    """Write the record of a new predictions file: source and number of its rows, checkpoint, and further entries.

    Raises:
        RunError: It cannot be written.
    """
    name, fingerprint = (None, None) if checkpoint is None else (checkpoint.name, checkpoint_fingerprint(checkpoint))
    record = {"predictions": _sha256(predictions), "source": source, "rows": rows}
    record |= {"checkpoint": name, "checkpoint_fingerprint": fingerprint}
    write_text(prediction_record_path(predictions), json.dumps(record | more, indent=2) + "\n")


def update_prediction_record(predictions: Path, **more: Any) -> None:
    """Add entries to a record after this program has changed the predictions file.

    Raises:
        RunError: It cannot be written.
    """
    record = read_prediction_record(predictions)
    if record is not None:
        new = {key: value for key, value in record.items() if key != "changed"} | more
        new["predictions"] = _sha256(predictions)
        write_text(prediction_record_path(predictions), json.dumps(new, indent=2) + "\n")


def read_prediction_record(predictions: Path) -> Mapping[str, Any] | None:
    """Read the record of a predictions file; ``None`` without a valid one.

    The entry ``changed`` is added: whether the file has changed since the record was written.
    """
    try:
        record = read_json(prediction_record_path(predictions))
        return {**record, "changed": record["predictions"] != _sha256(predictions)}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def checkpoint_fingerprint(path: Path) -> str:
    """A hash of a checkpoint's content, computed from the checksums in the file without reading its weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = [(member.CRC, member.file_size) for member in archive.infolist()]
    except zipfile.BadZipFile:
        return _sha256(path)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
