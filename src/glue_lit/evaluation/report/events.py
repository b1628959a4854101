"""Learning curves out of TensorBoard's event files, read without TensorFlow and torch.

The files are TFRecords (https://www.tensorflow.org/tutorials/load_data/tfrecord, "TFRecords format details"): length
(8 bytes, little endian), its checksum (4), that many bytes, their checksum (4). TensorBoard's own reader does more
than is needed here, and imports TensorFlow wherever that is installed.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from glue_lit.system.files import check_regular

_HEAD, _TAIL = 12, 4  # bytes before and after a record's own


@dataclass(frozen=True)
class Curve:
    """A value against optimizer steps.

    Attributes:
        steps: Ascending, each once.
        values: One for each step.
    """

    steps: list[int]
    values: list[float]


class DamagedError(ValueError):
    """Bytes that are no record."""


def read_curves(folder: Path) -> tuple[dict[str, Curve], list[str]]:
    """All curves of a run by name, and what could not be read.

    A run that was continued has several files; where two have the same step, the later one is right, since the fit
    went on from before it.
    """
    points: dict[str, dict[int, float]] = {}
    problems = []
    for path in sorted(folder.glob("*.tfevents.*"), key=_when):
        try:
            check_regular(path)
            for tag, step, value in _scalars(path.read_bytes()):
                points.setdefault(tag, {})[step] = value
        except DamagedError as error:
            problems.append(f"{path.name} is damaged ({error}); the curves end there.")
        except OSError as error:
            problems.append(f"{path.name} cannot be read ({error.strerror}).")
    return {tag: Curve(sorted(of), [of[step] for step in sorted(of)]) for tag, of in points.items()}, problems


def _when(path: Path) -> tuple[int, str]:
    """When a file was begun, which its name says."""
    match = re.search(r"tfevents\.(\d+)", path.name)
    return int(match[1]) if match else 0, path.name


def _scalars(content: bytes) -> Iterator[tuple[str, int, float]]:
    for record in _records(content):
        event = Event()
        try:
            event.ParseFromString(record)
        except Exception as error:  # protobuf's own kind depends on its version and on how it was built
            raise DamagedError("a record is no event") from error
        for value in event.summary.value:
            if value.HasField("simple_value"):
                yield value.tag, event.step, value.simple_value


def _records(content: bytes) -> Iterator[bytes]:
    """The records; an unfinished one at the end is left out, as a fit leaves it that was killed."""
    place = 0
    while place + _HEAD <= len(content):
        length, checksum = struct.unpack_from("<QI", content, place)
        if masked_crc32c(content[place : place + 8]) != checksum:
            raise DamagedError(f"at byte {place:,}")
        end = place + _HEAD + length
        if end + _TAIL > len(content):
            return
        yield content[place + _HEAD : end]
        place = end + _TAIL
