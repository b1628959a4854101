"""Learning curves from TensorBoard's event files, without TensorFlow or torch.

The files are TFRecords (https://www.tensorflow.org/tutorials/load_data/tfrecord, "TFRecords format details"): length
(8 bytes, little endian), its checksum (4), that many bytes, their checksum (4).

TensorBoard's `EventAccumulator` starts just as fast, but imports TensorFlow if that is installed, takes 0.5 s to check
each MB of images, and reads a damaged file as one that ends early.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from glue_lit.system.files import check_regular

_HEAD, _TAIL = 12, 4  # bytes around a record's content


@dataclass(frozen=True)
class Curve:
    """Values by optimizer step; steps ascend, each once."""

    steps: list[int]
    values: list[float]


class DamagedError(ValueError):
    """Bytes that are not a record."""


def read_curves(folder: Path) -> tuple[dict[str, Curve], list[str]]:
    """Return a run's curves by name, and a message for each file that is damaged or cannot be read.

    A resumed run has several files. Where two have the same step, the later file counts: the fit resumed before it.
    """
    points: dict[str, dict[int, float]] = {}
    problems = []
    for path in sorted(folder.glob("*.tfevents.*"), key=_start_time):
        try:
            check_regular(path)
            for tag, step, value in _scalars(path.read_bytes()):
                points.setdefault(tag, {})[step] = value
        except DamagedError as error:
            problems.append(f"{path.name} is damaged ({error}); the curves end there.")
        except OSError as error:
            problems.append(f"{path.name} cannot be read ({error.strerror}).")
    curves = {tag: Curve(sorted(values), [values[step] for step in sorted(values)]) for tag, values in points.items()}
    return curves, problems


def _start_time(path: Path) -> tuple[int, str]:
    match = re.search(r"tfevents\.(\d+)", path.name)
    return int(match[1]) if match else 0, path.name


def _scalars(content: bytes) -> Iterator[tuple[str, int, float]]:
    for record in _records(content):
        event = Event()
        try:
            event.ParseFromString(record)
        except Exception as error:  # protobuf's class of error depends on its version and build
            raise DamagedError("a record is not an event") from error
        for value in event.summary.value:
            if value.HasField("simple_value"):
                yield value.tag, event.step, value.simple_value


def _records(content: bytes) -> Iterator[bytes]:
    """Yield the complete records; a killed fit leaves an incomplete one at the end."""
    position = 0
    while position + _HEAD <= len(content):
        length, checksum = struct.unpack_from("<QI", content, position)
        if masked_crc32c(content[position : position + 8]) != checksum:
            raise DamagedError(f"at byte {position:,}")
        end = position + _HEAD + length
        if end + _TAIL > len(content):
            return
        yield content[position + _HEAD : end]
        position = end + _TAIL
