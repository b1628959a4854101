"""Epoch and step of ``last.ckpt``, in ``last.json`` beside it, so that listing runs needs neither torch nor pickle."""

import contextlib
import json
import re
import zipfile
from pathlib import Path

from glue_lit.errors import RunError
from glue_lit.runs.prediction_record import checkpoint_fingerprint
from glue_lit.system.files import read_json, write_text

# The first two entries of a pickled checkpoint, each an integer of one, two or four bytes.
_FIRST_ENTRIES = re.compile(rb"epochq.(?:K(.)|M(..)|J(.{4}))X\x0b\0\0\0global_stepq.(?:K(.)|M(..)|J(.{4}))", re.DOTALL)


def write_last_position(checkpoint: Path, epoch: int, step: int) -> None:
    """Write epoch (from 1) and step of a new checkpoint beside it; ignore errors, as the checkpoint has both."""
    with contextlib.suppress(OSError, RunError):
        position = {"epoch": epoch, "step": step, "checkpoint": checkpoint_fingerprint(checkpoint)}
        write_text(checkpoint.with_suffix(".json"), json.dumps(position) + "\n")


def read_last_position(checkpoint: Path) -> tuple[int | None, int | None]:
    """Epoch (from 1) and step of a checkpoint; ``None`` for both if they are unknown.

    ``last.json`` may belong to another checkpoint: a fit can be killed between the two writes, and a user can replace
    the checkpoint. Then, and in runs of earlier versions, the numbers are parsed from the first bytes of the
    checkpoint's pickle, without executing it.
    """
    try:
        if not checkpoint.is_file():
            return None, None
        position = _position_in_json(checkpoint)
        if position is None:
            with checkpoint.open("rb") as file:
                position = _position_in_pickle(file.read(512))
    except OSError:
        return None, None
    return position or (None, None)


def _position_in_json(checkpoint: Path) -> tuple[int, int] | None:
    try:
        saved = read_json(checkpoint.with_suffix(".json"))
        epoch, step = saved["epoch"], saved["step"]
        is_current = zipfile.is_zipfile(checkpoint) and saved["checkpoint"] == checkpoint_fingerprint(checkpoint)
    except Exception:  # zipfile raises many classes for a damaged archive
        return None
    return (epoch, step) if is_current and type(epoch) is int and type(step) is int else None


def _position_in_pickle(start: bytes) -> tuple[int, int] | None:
    found = _FIRST_ENTRIES.search(start)
    if found is None:
        return None
    epoch, step = (int.from_bytes(digits, "little", signed=len(digits) == 4) for digits in found.groups() if digits)
    return epoch + 1, step
