"""The hyperparameters of a run as TensorBoard's page HParams takes them: in an event file of their own."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from glue_lit.system.files import open_atomic_binary

# TensorBoard keeps the first that it reads of each run, and reads the files of a folder by their names. So a fit that
# is resumed with other settings replaces this file, and what older versions wrote into the others no longer counts.
HPARAMS_FILE = "events.out.tfevents.0.hparams"


def write_hparams(folder: Path, settings: Mapping[str, Any], metrics: Iterable[str]) -> None:
    """Write the file, replacing an earlier one.

    Args:
        folder: Of the run's event files.
        settings: Each a number, a truth value or a text.
        metrics: Names of the curves that runs are compared by.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter
    from torch.utils.tensorboard.summary import hparams

    parts = hparams(dict(settings), dict.fromkeys(metrics, 0.0))  # type: ignore[no-untyped-call]
    events = [Event(file_version="brain.Event:2"), *(Event(summary=part) for part in parts)]
    with open_atomic_binary(folder / HPARAMS_FILE) as file:
        writer = RecordWriter(file)
        for event in events:
            event.wall_time = time.time()
            writer.write(event.SerializeToString())
